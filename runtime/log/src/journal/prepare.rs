//! Making the next file ready, ahead of its use: a spare under a new generation, or a new file that
//! is filled with zeros.
//!
//! A file gets its name only after a *reservation* is durable in its first sector: a header with its
//! number and its new generation, and no entry (see [`FileHeader`]). Whatever else the sectors of a
//! spare still hold belongs to another generation, so it can neither be read as current nor be
//! mistaken for proof that something is missing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::files::{Files, Spare, file_name, new_name};
use super::format::FileHeader;
use crate::fs::{File, OpenMode};

const ZEROS: &[u8] = &[0; 256 << 10];

/// A file that is ready for use, durable with its name.
#[derive(Debug)]
pub(super) struct Prepared {
    pub file: Arc<dyn File>,
    pub path: PathBuf,
    pub sequence: u64,
    pub generation: u64,
    pub capacity: u64,
}

impl Prepared {
    /// Makes the file with the given number, of at least this capacity. On failure nothing is left
    /// behind, as far as the disk allows.
    pub fn make(files: &Files, sequence: u64, capacity: u64) -> io::Result<Prepared> {
        while let Some(spare) = files.take_spare(capacity) {
            match Self::reuse(files, &spare, sequence) {
                // Somebody took it away; it is not needed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => {
                    return result.inspect_err(|_| {
                        let _ = files.fs.remove_file(&spare.path);
                    });
                }
            }
        }
        let path = files.dir.join(new_name(sequence));
        let made = Self::make_new(files, &path, sequence, capacity);
        made.inspect_err(|_| {
            let _ = files.fs.remove_file(&path);
        })
    }

    fn make_new(files: &Files, path: &Path, sequence: u64, capacity: u64) -> io::Result<Prepared> {
        let file = files.fs.open(path, OpenMode::Create)?;
        // A failed attempt before this one may have left something.
        file.set_len(0)?;
        // All the room at once: blocks in one piece, and a full disk is met before anything is written.
        file.allocate(capacity)?;
        fill_with_zeros(&*file, 0, capacity)?;
        Self::reserve(files, &*file, path, sequence, capacity)
    }

    fn reuse(files: &Files, spare: &Spare, sequence: u64) -> io::Result<Prepared> {
        let file = files.fs.open(&spare.path, OpenMode::ReadWrite)?;
        // A write of less than a page would otherwise have to wait for the rest of the page.
        file.will_need(spare.bytes);
        Self::reserve(files, &*file, &spare.path, sequence, spare.bytes)
    }

    /// Writes the reservation and gives the file its name.
    fn reserve(
        files: &Files,
        file: &dyn File,
        path: &Path,
        sequence: u64,
        capacity: u64,
    ) -> io::Result<Prepared> {
        let generation = Uuid::new_v4().as_u64_pair().0;
        let reservation = FileHeader::reservation(sequence, generation);
        file.write_at(&reservation.encode(), 0)?;
        file.sync_all()?;
        let named = files.dir.join(file_name(sequence));
        files.fs.rename(path, &named)?;
        let opened = files
            .fs
            .sync_dir(&files.dir)
            .and_then(|()| files.fs.open(&named, OpenMode::ReadWrite));
        let file = opened.inspect_err(|_| {
            let _ = files.fs.remove_file(&named);
        })?;
        Ok(Prepared {
            file,
            path: named,
            sequence,
            generation,
            capacity,
        })
    }

    /// Makes room for a group that is larger than the file was planned.
    pub fn extend(&mut self, capacity: u64) -> io::Result<()> {
        if capacity > self.capacity {
            self.file.allocate(capacity)?;
            fill_with_zeros(&*self.file, self.capacity, capacity)?;
            self.file.sync_all()?;
            self.capacity = capacity;
        }
        Ok(())
    }
}

fn fill_with_zeros(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let chunk = ZEROS
            .len()
            .min(usize::try_from(to - at).unwrap_or(usize::MAX));
        file.write_at(&ZEROS[..chunk], at)?;
        at += chunk as u64;
    }
    Ok(())
}
