//! Groups as they stand in a file, each judged by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::JournalError;
use super::format::{GROUP_HEADER_LEN, GroupHeader};
use crate::fs::{File, FileSystem, OpenMode, SECTOR, SectorBuffer};

/// Bytes that are read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// A file that is read through a window.
pub(super) struct Reader {
    file: Arc<dyn File>,
    path: PathBuf,
    len: u64,
    window: SectorBuffer,
    window_at: u64,
}

impl Reader {
    pub fn open(fs: &dyn FileSystem, path: &Path, len: u64) -> Result<Reader, JournalError> {
        let file = open_for_reading(fs, path).map_err(JournalError::io("opening", path))?;
        Ok(Reader {
            file,
            path: path.to_owned(),
            len,
            window: SectorBuffer::default(),
            window_at: 0,
        })
    }

    /// `count` bytes at a sector's begin; `None` when the file is shorter.
    pub fn bytes(&mut self, at: u64, count: usize) -> Result<Option<&[u8]>, JournalError> {
        if at
            .checked_add(count as u64)
            .is_none_or(|end| end > self.len)
        {
            return Ok(None);
        }
        let window_end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + count as u64 > window_end {
            let size = (WINDOW_BYTES.max(count) as u64).min(self.len - at);
            self.window_at = at;
            // Bounded by the file's own length.
            if let Err(error) = read_sectors(&*self.file, &mut self.window, size as usize, at) {
                self.window.clear();
                return Err(JournalError::io("reading", &self.path)(error));
            }
        }
        let start = (at - self.window_at) as usize;
        Ok(Some(&self.window.as_mut_slice()[start..start + count]))
    }

    /// The head and checksum of the group at a position, if it is sound in itself.
    pub fn sound_group(&mut self, at: u64) -> Result<Option<(GroupHeader, u32)>, JournalError> {
        let Some(head) = self.bytes(at, GROUP_HEADER_LEN)? else {
            return Ok(None);
        };
        let Some(header) = GroupHeader::decode(head) else {
            return Ok(None);
        };
        let Some(group) = self.bytes(at, header.len_unpadded() as usize)? else {
            return Ok(None);
        };
        Ok(GroupHeader::check(group).map(|crc| (header, crc)))
    }

    /// The first sound group at or after a position, wherever a sector begins.
    pub fn find_sound_group(
        &mut self,
        from: u64,
    ) -> Result<Option<(u64, GroupHeader)>, JournalError> {
        let mut at = from.next_multiple_of(SECTOR as u64);
        while at + GROUP_HEADER_LEN as u64 <= self.len {
            if let Some((header, _)) = self.sound_group(at)? {
                return Ok(Some((at, header)));
            }
            at += SECTOR as u64;
        }
        Ok(None)
    }
}

/// As the file was written: past the page cache, where it would only take the place of what is read again.
fn open_for_reading(fs: &dyn FileSystem, path: &Path) -> io::Result<Arc<dyn File>> {
    let direct = fs.open(path, OpenMode::Direct).and_then(|file| {
        file.read_at(SectorBuffer::default().sectors_to_fill(SECTOR), 0)?;
        Ok(file)
    });
    match direct {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => fs.open(path, OpenMode::Read),
        result => result,
    }
}

/// Reads `count` bytes at least; the rest of the last one's sector comes with them.
fn read_sectors(file: &dyn File, into: &mut SectorBuffer, count: usize, at: u64) -> io::Result<()> {
    let sectors = into.sectors_to_fill(count);
    let mut read = 0;
    while read < count {
        match file.read_at(&mut sectors[read..], at + read as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    Ok(())
}
