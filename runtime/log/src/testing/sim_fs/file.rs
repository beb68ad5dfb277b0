//! What can be done with an open file of the simulated disk.

use std::io;
use std::path::PathBuf;

use super::disk::Inode;
use super::{FaultyCall, Machine, SimFs};
use crate::fs::{File, OpenMode, SECTOR};

/// An open file of a simulated disk.
#[derive(Debug)]
pub(super) struct SimFile {
    pub fs: SimFs,
    pub path: PathBuf,
    pub inode: Inode,
    pub mode: OpenMode,
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        match self.mode {
            OpenMode::Read => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the file is open for reading",
            )),
            _ => Ok(()),
        }
    }

    /// What a disk asks of a read or write past the page cache.
    fn check_direct(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        if self.mode != OpenMode::Direct {
            return Ok(());
        }
        assert_eq!(
            buf.as_ptr().align_offset(SECTOR),
            0,
            "memory of a direct access"
        );
        assert!(
            buf.len().is_multiple_of(SECTOR),
            "length of a direct access"
        );
        assert!(
            offset.is_multiple_of(SECTOR as u64),
            "place of a direct access"
        );
        match self.fs.machine.lock().refuses_direct {
            true => Err(io::ErrorKind::InvalidInput.into()),
            false => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut machine = self.fs.machine.lock();
        while machine.holds_syncs && !machine.off {
            self.fs.released.wait(&mut machine);
        }
        machine.operation()?;
        match machine.fault(FaultyCall::Sync, &self.path) {
            Some(error) => {
                let Machine { disk, random, .. } = &mut *machine;
                disk.file(self.inode)?.fail_sync(random);
                Err(error)
            }
            None => {
                machine.syncs += 1;
                machine.disk.file(self.inode)?.sync();
                Ok(())
            }
        }
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.check_direct(buf, offset)?;
        let mut machine = self.fs.machine.lock();
        machine.check_on()?;
        machine.reads.calls += 1;
        machine.reads.bytes += buf.len() as u64;
        machine.reads.largest = machine.reads.largest.max(buf.len());
        Ok(machine.disk.file(self.inode)?.read(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        self.check_direct(buf, offset)?;
        let mut machine = self.fs.machine.lock();
        machine.operation()?;
        if let Some(error) = machine.fault(FaultyCall::Write, &self.path) {
            // Not all of what it says is there, zeros at its end aside; past the page cache whole sectors are.
            let said = buf.iter().rposition(|byte| *byte != 0).unwrap_or(0);
            let mut part = machine.random.below(said as u64 + 1) as usize;
            if self.mode == OpenMode::Direct {
                part -= part % SECTOR;
            }
            machine.content(self.inode)?.write(&buf[..part], offset);
            return Err(error);
        }
        let len = machine.disk.file(self.inode)?.len();
        let grows = (offset + buf.len() as u64)
            .saturating_sub(len)
            .min(buf.len() as u64);
        let missing = grows - machine.bytes_left(grows);
        let part = buf.len() - missing as usize;
        machine.content(self.inode)?.write(&buf[..part], offset);
        match missing {
            0 => Ok(()),
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn len(&self) -> io::Result<u64> {
        let mut machine = self.fs.machine.lock();
        machine.check_on()?;
        Ok(machine.disk.file(self.inode)?.len())
    }

    fn set_modified(&self, modified_ms: i64) -> io::Result<()> {
        self.check_writable()?;
        let mut machine = self.fs.machine.lock();
        machine.operation()?;
        machine.disk.file(self.inode)?.modified_ms = modified_ms;
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut machine = self.fs.machine.lock();
        machine.operation()?;
        machine.content(self.inode)?.set_len(len);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut machine = self.fs.machine.lock();
        machine.operation()?;
        let old = machine.disk.file(self.inode)?.len();
        let grows = len.saturating_sub(old);
        if machine.bytes_left(grows) < grows {
            return Err(io::ErrorKind::StorageFull.into());
        }
        machine.content(self.inode)?.set_len(len.max(old));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }
}
