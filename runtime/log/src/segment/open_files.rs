//! The bounded cache of open files: an idle partition owns no file descriptor.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::fs::{File, FileSystem, OpenMode};

/// All open files of segments and indexes of a store, at most `max` at once (a thread that is using a file
/// keeps it a moment longer). Which one is closed is decided by a clock: used since the hand passed last, or not.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    fs: Arc<dyn FileSystem>,
    max: usize,
    ring: Mutex<VecDeque<Weak<Slot>>>,
}

#[derive(Debug)]
struct Slot {
    state: Mutex<SlotState>,
    used: AtomicBool,
}

#[derive(Debug)]
struct SlotState {
    /// Where the file is opened; it changes with a rename, under the same lock.
    path: PathBuf,
    open: Option<Arc<dyn File>>,
}

/// A file that is opened when it is used.
#[derive(Debug)]
pub(crate) struct CachedFile {
    files: Arc<OpenFiles>,
    slot: Arc<Slot>,
}

impl OpenFiles {
    pub(crate) fn new(fs: Arc<dyn FileSystem>, max: usize) -> Arc<Self> {
        Arc::new(Self {
            fs,
            max: max.max(1),
            ring: Mutex::new(VecDeque::new()),
        })
    }

    pub(crate) fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    pub(crate) fn file(self: &Arc<Self>, path: PathBuf) -> CachedFile {
        CachedFile {
            files: Arc::clone(self),
            slot: Arc::new(Slot {
                state: Mutex::new(SlotState { path, open: None }),
                used: AtomicBool::new(false),
            }),
        }
    }

    /// Closes what was not used since the last call.
    pub(crate) fn close_idle(&self) {
        self.ring.lock().retain(|slot| {
            let Some(slot) = slot.upgrade() else {
                return false;
            };
            slot.used.swap(false, Ordering::Relaxed) || !slot.close()
        });
    }

    fn opened(&self, slot: &Arc<Slot>) {
        let mut ring = self.ring.lock();
        ring.push_back(Arc::downgrade(slot));
        // Each round clears a mark or removes an entry, so two rounds are the most there can be.
        for _ in 0..2 * ring.len() {
            if ring.len() <= self.max {
                break;
            }
            let Some(oldest) = ring.pop_front() else {
                break;
            };
            let Some(slot) = oldest.upgrade() else {
                continue;
            };
            if slot.used.swap(false, Ordering::Relaxed) || !slot.close() {
                ring.push_back(oldest);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn open_count(&self) -> usize {
        let ring = self.ring.lock();
        ring.iter()
            .filter_map(Weak::upgrade)
            .filter(|slot| slot.state.lock().open.is_some())
            .count()
    }
}

impl Slot {
    /// False when another thread is just opening or taking it.
    fn close(&self) -> bool {
        match self.state.try_lock() {
            Some(mut state) => {
                state.open = None;
                true
            }
            None => false,
        }
    }
}

impl CachedFile {
    /// The name that the file has now.
    pub(crate) fn path(&self) -> PathBuf {
        self.slot.state.lock().path.clone()
    }

    /// Gives the file another name; one that was never made will be made under that name. Whoever opens it waits, so
    /// nobody looks for it under the former name.
    pub(crate) fn rename(&self, to: PathBuf) -> io::Result<()> {
        let mut state = self.slot.state.lock();
        if state.path == to {
            return Ok(());
        }
        match self.files.fs.rename(&state.path, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        state.path = to;
        Ok(())
    }

    pub(crate) fn fs(&self) -> &dyn FileSystem {
        &*self.files.fs
    }

    /// The open file, which must exist.
    pub(crate) fn get(&self) -> io::Result<Arc<dyn File>> {
        self.get_with(OpenMode::ReadWrite)
    }

    /// The open file, made when it is missing.
    pub(crate) fn get_or_create(&self) -> io::Result<Arc<dyn File>> {
        self.get_with(OpenMode::Create)
    }

    fn get_with(&self, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.slot.state.lock();
        self.slot.used.store(true, Ordering::Relaxed);
        if let Some(file) = &state.open {
            return Ok(Arc::clone(file));
        }
        let file = self.files.fs.open(&state.path, mode)?;
        state.open = Some(Arc::clone(&file));
        drop(state);
        self.files.opened(&self.slot);
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    #[test]
    fn no_more_files_are_open_than_allowed_and_all_stay_usable() {
        let dir = tempfile::tempdir().unwrap();
        let open_files = OpenFiles::new(Arc::new(RealFs), 3);
        let files: Vec<_> = (0..10)
            .map(|index| open_files.file(dir.path().join(format!("{index}"))))
            .collect();
        for round in 0..3_u8 {
            for file in &files {
                file.get_or_create().unwrap().write_at(&[round], 0).unwrap();
                assert!(open_files.open_count() <= 3);
            }
        }
        open_files.close_idle();
        open_files.close_idle();
        assert_eq!(open_files.open_count(), 0, "idle files are closed");
        for file in &files {
            let mut byte = [0];
            file.get().unwrap().read_exact_at(&mut byte, 0).unwrap();
            assert_eq!(byte, [2]);
        }
    }

    #[test]
    fn a_renamed_file_is_opened_under_its_new_name() {
        let dir = tempfile::tempdir().unwrap();
        let open_files = OpenFiles::new(Arc::new(RealFs), 1);
        let file = open_files.file(dir.path().join("before"));
        file.get_or_create().unwrap().write_at(b"x", 0).unwrap();
        for renamed in ["once", "twice"] {
            file.rename(dir.path().join(renamed)).unwrap();
            open_files.close_idle();
            open_files.close_idle();
            assert_eq!(open_files.open_count(), 0);
            assert_eq!(file.get().unwrap().len().unwrap(), 1);
        }
        let never_made = open_files.file(dir.path().join("index"));
        never_made.rename(dir.path().join("other")).unwrap();
        never_made.get_or_create().unwrap();
        assert!(dir.path().join("other").exists() && !dir.path().join("index").exists());
    }

    #[test]
    fn a_file_that_must_exist_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let open_files = OpenFiles::new(Arc::new(RealFs), 3);
        let missing = open_files.file(dir.path().join("missing"));
        assert_eq!(missing.get().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!missing.path().exists());
    }
}
