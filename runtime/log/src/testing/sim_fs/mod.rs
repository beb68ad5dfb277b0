//! A file system in memory that behaves as a disk does when its power is cut, and fails on demand.
//!
//! What no sync has covered may be lost in any part: each 512-byte sector keeps the content of the
//! last sync or gets any later one, whatever happens to its neighbours; a file's length likewise; a
//! name that was created, renamed or removed without a sync of its directory may be there or not.

mod content;
mod disk;
mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use self::content::Content;
use self::disk::{Disk, Inode};
use self::file::SimFile;
use super::Random;
use crate::clock::Clock;
use crate::fs::{DirEntry, File, FileLock, FileSystem, Metadata, OpenMode};

/// The calls that a [`Fault`] can make fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultyCall {
    /// `write_at`: a part of the bytes, of any length, is written before it fails.
    Write,
    /// `sync_data`, `sync_all`: a part reaches the disk, the rest never will.
    Sync,
    /// `remove_file`: nothing is done.
    Remove,
    /// `rename`, by the former name: nothing is done.
    Rename,
}

/// One failure to come.
#[derive(Debug, Clone)]
pub struct Fault {
    pub call: FaultyCall,
    /// Only calls on paths that contain this text count.
    pub path_contains: String,
    /// The how-manieth such call fails, from now on; 1 is the next.
    pub nth: u64,
    pub kind: io::ErrorKind,
}

/// Reads of files that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reads {
    pub calls: u64,
    pub bytes: u64,
    /// Most bytes of one call.
    pub largest: usize,
}

/// A simulated file system. Clones are handles to the same disk.
#[derive(Clone)]
pub struct SimFs {
    machine: Arc<Mutex<Machine>>,
    released: Arc<Condvar>,
}

/// Lets the syncs that wait go on when it is dropped.
#[derive(Debug)]
pub struct HeldSyncs {
    fs: SimFs,
}

impl Drop for HeldSyncs {
    fn drop(&mut self) {
        self.fs.machine.lock().holds_syncs = false;
        self.fs.released.notify_all();
    }
}

struct Machine {
    disk: Disk,
    /// Dates the files that are written; without one they are of 1970.
    clock: Option<Arc<dyn Clock>>,
    random: Random,
    faults: Vec<Fault>,
    /// Bytes that fit; no limit when `None`.
    capacity: Option<u64>,
    /// Calls that change something, counted.
    operations: u64,
    reads: Reads,
    /// The power goes off when so many operations are done.
    off_after: Option<u64>,
    off: bool,
    /// Syncs wait while this is set.
    holds_syncs: bool,
    /// Syncs of files that succeeded.
    syncs: u64,
    /// Reads and writes past the page cache fail, as on a disk with larger sectors.
    refuses_direct: bool,
    locks: BTreeSet<PathBuf>,
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.machine.lock();
        f.debug_struct("SimFs")
            .field("operations", &machine.operations)
            .field("off", &machine.off)
            .finish_non_exhaustive()
    }
}

impl Default for SimFs {
    fn default() -> Self {
        Self::new(0)
    }
}

impl SimFs {
    /// An empty disk; the seed decides how failing calls fail.
    pub fn new(seed: u64) -> Self {
        Self::from_disk(Disk::new(), seed, None, None)
    }

    fn from_disk(
        disk: Disk,
        seed: u64,
        capacity: Option<u64>,
        clock: Option<Arc<dyn Clock>>,
    ) -> Self {
        let machine = Machine {
            disk,
            clock,
            random: Random::new(seed),
            faults: Vec::new(),
            capacity,
            operations: 0,
            reads: Reads::default(),
            off_after: None,
            off: false,
            holds_syncs: false,
            syncs: 0,
            refuses_direct: false,
            locks: BTreeSet::new(),
        };
        Self {
            machine: Arc::new(Mutex::new(machine)),
            released: Arc::new(Condvar::new()),
        }
    }

    /// Makes a call to come fail.
    pub fn inject(&self, fault: Fault) {
        self.machine.lock().faults.push(fault);
    }

    /// Reads and writes past the page cache fail, as on a disk with larger sectors.
    pub fn refuse_direct_access(&self) {
        self.machine.lock().refuses_direct = true;
    }

    /// Files that are written from now on are dated by this clock.
    pub fn set_clock(&self, clock: Arc<dyn Clock>) {
        self.machine.lock().clock = Some(clock);
    }

    /// Files may hold so many bytes together; what exceeds fails with `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.machine.lock().capacity = bytes;
    }

    /// Bytes that all files hold together.
    pub fn used_bytes(&self) -> u64 {
        self.machine.lock().disk.used_bytes()
    }

    /// How many calls have changed something so far (writes, syncs, names).
    pub fn operations(&self) -> u64 {
        self.machine.lock().operations
    }

    /// What was read since the last question.
    pub fn take_reads(&self) -> Reads {
        std::mem::take(&mut self.machine.lock().reads)
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.machine.lock().off
    }

    /// Whether a power cut now would change nothing.
    pub fn all_is_durable(&self) -> bool {
        self.machine.lock().disk.all_is_durable()
    }

    /// How many syncs of files have succeeded.
    pub fn syncs(&self) -> u64 {
        self.machine.lock().syncs
    }

    /// Makes the syncs of files wait, as a slow disk would, until the result is dropped.
    #[must_use]
    pub fn hold_syncs(&self) -> HeldSyncs {
        self.machine.lock().holds_syncs = true;
        HeldSyncs { fs: self.clone() }
    }

    /// Once so many more operations are done, the power is off: every call fails.
    pub fn cut_power_after(&self, operations: u64) {
        let mut machine = self.machine.lock();
        machine.off_after = Some(machine.operations + operations);
    }

    /// The disk as a machine finds it that starts after the power was cut now (or when it went
    /// off). This one is off from now on.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> SimFs {
        let mut machine = self.machine.lock();
        machine.off = true;
        self.released.notify_all();
        let disk = machine.disk.clone().after_power_cut(&mut Random::new(seed));
        Self::from_disk(disk, seed, machine.capacity, machine.clock.clone())
    }

    /// The disk as a process finds it that starts after this one was killed: what was written is
    /// seen, synced or not, and may still be lost. This one is off from now on.
    #[must_use]
    pub fn kill(&self, seed: u64) -> SimFs {
        let mut machine = self.machine.lock();
        machine.off = true;
        self.released.notify_all();
        let disk = machine.disk.clone();
        Self::from_disk(disk, seed, machine.capacity, machine.clock.clone())
    }

    /// Another disk with the same content, durable as far as it is here. This one stays on.
    #[must_use]
    pub fn copy(&self, seed: u64) -> SimFs {
        let machine = self.machine.lock();
        let (disk, clock) = (machine.disk.clone(), machine.clock.clone());
        Self::from_disk(disk, seed, machine.capacity, clock)
    }

    /// The paths of all files at any depth below `dir` that hold something.
    pub fn files_below(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in self.read_dir(dir)? {
            let path = dir.join(&entry.name);
            if entry.is_dir {
                found.extend(self.files_below(&path)?);
            } else if entry.len > 0 {
                found.push(path);
            }
        }
        Ok(found)
    }

    /// Changes bytes on the disk itself, as decay would.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn damage(&self, path: &Path, offset: u64, bytes: &[u8]) {
        let mut machine = self.machine.lock();
        let (inode, _) = machine
            .disk
            .open(path, OpenMode::ReadWrite)
            .expect("the file to damage exists");
        let content = machine.disk.file(inode).expect("it is a file");
        content.write(bytes, offset);
        content.sync();
    }
}

impl Machine {
    fn check_on(&self) -> io::Result<()> {
        match self.off {
            true => Err(io::Error::other("the power is off")),
            false => Ok(()),
        }
    }

    /// The content of a file that is about to change.
    fn content(&mut self, inode: Inode) -> io::Result<&mut Content> {
        let now_ms = self.clock.as_ref().map_or(0, |clock| clock.now_ms());
        let content = self.disk.file(inode)?;
        content.modified_ms = now_ms;
        Ok(content)
    }

    /// Counts a call that changes something.
    fn operation(&mut self) -> io::Result<()> {
        self.check_on()?;
        if self.off_after.is_some_and(|after| self.operations >= after) {
            self.off = true;
        }
        self.check_on()?;
        self.operations += 1;
        Ok(())
    }

    fn fault(&mut self, call: FaultyCall, path: &Path) -> Option<io::Error> {
        let path = path.to_string_lossy();
        let mut due = None;
        for (index, fault) in self.faults.iter_mut().enumerate() {
            if fault.call == call && path.contains(&fault.path_contains) {
                fault.nth = fault.nth.saturating_sub(1);
                if fault.nth == 0 {
                    due = Some(index);
                }
            }
        }
        due.map(|index| self.faults.remove(index).kind.into())
    }

    /// How many of `wanted` more bytes fit.
    fn bytes_left(&self, wanted: u64) -> u64 {
        match self.capacity {
            None => wanted,
            Some(capacity) => wanted.min(capacity.saturating_sub(self.disk.used_bytes())),
        }
    }
}

impl FileSystem for SimFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut machine = self.machine.lock();
        machine.check_on()?;
        let makes = matches!(mode, OpenMode::Create | OpenMode::CreateNew);
        if makes && machine.disk.metadata(path).is_err() {
            machine.operation()?;
        }
        let (inode, _) = machine.disk.open(path, mode)?;
        let file = SimFile {
            fs: self.clone(),
            path: path.to_owned(),
            inode,
            mode,
        };
        Ok(Arc::new(file))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.operation()?;
        machine.disk.create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.operation()?;
        match machine.fault(FaultyCall::Remove, path) {
            Some(error) => Err(error),
            None => machine.disk.remove_file(path),
        }
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.operation()?;
        machine.disk.remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.operation()?;
        match machine.fault(FaultyCall::Rename, from) {
            Some(error) => Err(error),
            None => machine.disk.rename(from, to),
        }
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let machine = self.machine.lock();
        machine.check_on()?;
        machine.disk.read_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let machine = self.machine.lock();
        machine.check_on()?;
        machine.disk.metadata(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.operation()?;
        machine.disk.sync_dir(path)
    }

    fn sync_filesystem(&self, _path: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.operation()?;
        machine.disk.sync_all();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        self.open(path, OpenMode::Create)?;
        let taken = !self.machine.lock().locks.insert(path.to_owned());
        if taken {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock {
            fs: self.clone(),
            path: path.to_owned(),
        }))
    }
}

#[derive(Debug)]
struct SimLock {
    fs: SimFs,
    path: PathBuf,
}

impl FileLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.fs.machine.lock().locks.remove(&self.path);
    }
}
