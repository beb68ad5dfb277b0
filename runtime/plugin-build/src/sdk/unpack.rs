//! Unpacks the SDK so that other processes, which may build from it at this moment, see it whole or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{SdkError, SdkFile, files};

/// Nobody writes into an unpacked SDK, by mistake either.
const FILE_MODE: u32 = 0o444;

/// Makes sure that `root` holds the SDK, byte for byte. Nothing is written when it does already.
pub fn unpack(root: &Path) -> Result<(), SdkError> {
    if is_whole(root) {
        return Ok(());
    }
    let failed = |source| SdkError::Unpack {
        path: root.to_owned(),
        source,
    };
    let beside = temporary(root);
    let unpacked = write_all(&beside).and_then(|()| put_in_place(&beside, root));
    // What is left there is half an SDK, or the damaged one that was replaced.
    unpacked.and(remove(&beside)).map_err(failed)
}

/// Removes what is at `path`, if there is anything.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether every file is there with its content.
fn is_whole(root: &Path) -> bool {
    let is_there = |file: &SdkFile| {
        fs::read(root.join(file.path)).is_ok_and(|found| found == file.bytes.as_ref())
    };
    files().iter().all(is_there)
}

/// A name beside `root` that no other process and no other thread uses.
fn temporary(root: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    root.with_file_name(format!(".{name}.{}.{next}", std::process::id()))
}

fn write_all(folder: &Path) -> io::Result<()> {
    // One of a process that had our id and was killed.
    remove(folder)?;
    for file in files() {
        let path = folder.join(file.path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(FILE_MODE);
        options.open(&path)?.write_all(&file.bytes)?;
    }
    Ok(())
}

/// Gives the whole SDK its name. What had that name before is beside it afterwards, or was whole in the end: another
/// process may have been faster.
fn put_in_place(beside: &Path, root: &Path) -> io::Result<()> {
    match renameat_with(CWD, beside, CWD, root, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        // A file system without this flag: a plain rename replaces nothing but an empty folder.
        Err(Errno::INVAL) => match fs::rename(beside, root) {
            Ok(()) => return Ok(()),
            Err(error) if is_there_already(&error) => {}
            Err(error) => return Err(error),
        },
        Err(error) => return Err(error.into()),
    }
    if is_whole(root) {
        return Ok(());
    }
    match renameat_with(CWD, beside, CWD, root, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL) => {
            let damaged = temporary(root);
            fs::rename(root, &damaged)?;
            fs::rename(beside, root)?;
            remove(&damaged)
        }
        other => Ok(other?),
    }
}

fn is_there_already(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::sdk::Sdk;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn an_unpacked_sdk_is_whole_and_is_not_written_again() {
        let cache = tempfile::tempdir().unwrap();
        let sdk = Sdk::unpacked(cache.path()).unwrap();
        assert!(sdk.crate_dir().join("Cargo.toml").is_file());
        let inode = |sdk: &Sdk| {
            let file = fs::metadata(sdk.crate_dir().join("src/lib.rs")).unwrap();
            (file.ino(), file.mtime_nsec(), file.mode() & 0o777)
        };
        let before = inode(&sdk);
        assert_eq!(before.2, FILE_MODE);
        assert_eq!(Sdk::unpacked(cache.path()).unwrap(), sdk);
        assert_eq!(inode(&sdk), before);
        assert_eq!(names(&cache.path().join("sdk")), [crate::sdk::version()]);
    }

    #[test]
    fn a_damaged_or_half_unpacked_sdk_is_made_again() {
        type Damage = fn(&Path);
        let damages: [Damage; 5] = [
            |root| fs::remove_file(root.join("rust/src/lib.rs")).unwrap(),
            |root| fs::remove_dir_all(root.join("frames")).unwrap(),
            |root| replace(&root.join("wit/plugin.wit"), b""),
            |root| {
                let path = root.join("rust/Cargo.toml");
                let mut bytes = fs::read(&path).unwrap();
                bytes[9] ^= 1;
                replace(&path, &bytes);
            },
            |root| {
                fs::remove_dir_all(root).unwrap();
                fs::write(root, "no folder").unwrap();
            },
        ];
        for damage in damages {
            let cache = tempfile::tempdir().unwrap();
            let sdk = Sdk::unpacked(cache.path()).unwrap();
            let root = cache.path().join("sdk").join(crate::sdk::version());
            damage(&root);
            assert!(!is_whole(&root));
            assert_eq!(Sdk::unpacked(cache.path()).unwrap(), sdk);
            assert!(is_whole(&root));
            assert_eq!(names(&cache.path().join("sdk")), [crate::sdk::version()]);
        }
    }

    fn replace(path: &Path, bytes: &[u8]) {
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn many_at_once_all_find_it_whole() {
        let cache = tempfile::tempdir().unwrap();
        for round in 0..20 {
            if round % 2 == 1 {
                // They all see the same damage and mend it at the same time.
                let root = cache.path().join("sdk").join(crate::sdk::version());
                replace(&root.join("rust/src/lib.rs"), b"torn");
            } else {
                let _ = fs::remove_dir_all(cache.path().join("sdk"));
            }
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        Sdk::unpacked(cache.path()).unwrap();
                        let root = cache.path().join("sdk").join(crate::sdk::version());
                        assert!(is_whole(&root));
                    });
                }
            });
            assert_eq!(names(&cache.path().join("sdk")), [crate::sdk::version()]);
        }
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_named() {
        let cache = tempfile::tempdir().unwrap();
        fs::write(cache.path().join("sdk"), "a file").unwrap();
        let error = Sdk::unpacked(cache.path()).unwrap_err().to_string();
        assert!(
            error.contains(&cache.path().join("sdk").display().to_string()),
            "{error}"
        );
    }
}
