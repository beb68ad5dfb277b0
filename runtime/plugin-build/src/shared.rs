//! What plugins share that stand alone: a folder with what they are built of, compiled once for all of them.
//!
//! Cargo names what it compiles of a crate by the crate's path in its workspace, so that two plugins of one name, in two
//! folders, are one and the same to it there: the second would be taken for built. So the plugin's own part is taken
//! away before each build, and nobody else builds meanwhile.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::toolchain::WASM_TARGET;

/// The folder, in the cache of builds.
const FOLDER: &str = "shared";
const LOCK: &str = "millstream.lock";

/// The shared folder, while nobody else builds in it.
#[derive(Debug)]
pub struct Shared {
    folder: PathBuf,
    /// Released when it is closed.
    _lock: File,
}

impl Shared {
    /// Waits until it is ours. `report` gets a line when that takes time.
    pub fn take(cache_dir: &Path, report: &mut dyn FnMut(&str)) -> io::Result<Self> {
        let folder = std::path::absolute(cache_dir)?.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => {
                report("(another plugin is being built; this one comes next)");
                lock.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes away what was built of a plugin whose library has that name: this one's, or another one's.
    pub fn forget(&self, library: &str) -> io::Result<()> {
        let directory = self.folder.join(WASM_TARGET).join("release/deps");
        for file in [format!("{library}.wasm"), format!("lib{library}.rlib")] {
            match fs::remove_file(directory.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => (),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_builds_at_a_time_and_forgets_what_was_built_under_its_name() {
        let cache = tempfile::tempdir().unwrap();
        let nobody_waits = &mut |line: &str| panic!("{line}");
        let shared = Shared::take(cache.path(), nobody_waits).unwrap();
        let deps = shared.folder().join("wasm32-unknown-unknown/release/deps");
        fs::create_dir_all(&deps).unwrap();
        for file in ["words.wasm", "libwords.rlib", "libserde-1.rlib"] {
            fs::write(deps.join(file), "").unwrap();
        }
        shared.forget("words").unwrap();
        shared.forget("words").unwrap();
        let left: Vec<_> = fs::read_dir(&deps)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["libserde-1.rlib"]);

        let (told, waits) = std::sync::mpsc::channel();
        let path = cache.path().to_owned();
        let second = std::thread::spawn(move || {
            Shared::take(&path, &mut |line| told.send(line.to_owned()).unwrap()).unwrap();
        });
        assert!(waits.recv().unwrap().contains("another plugin"));
        drop(shared);
        second.join().unwrap();
    }
}
