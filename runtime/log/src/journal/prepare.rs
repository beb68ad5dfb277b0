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
use super::format::{FILE_HEADER_LEN, FileHeader};
use crate::fs::{File, OpenMode, SECTOR, SectorBuffer};

const FILLED_AT_ONCE: usize = 256 << 10;

/// A file that is ready for use, durable with its name, and noted.
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
        let capacity = capacity.next_multiple_of(SECTOR as u64);
        let file = files.fs.open(path, OpenMode::Create)?;
        // A failed attempt before this one may have left something.
        file.set_len(0)?;
        // All the room at once: blocks in one piece, and a full disk is met before anything is written.
        file.allocate(capacity)?;
        drop(file);
        let reserved = Reserved::write(files, path, sequence)?;
        fill_with_zeros(&*reserved.file, FILE_HEADER_LEN as u64, capacity)?;
        reserved.finish(files, path, sequence, capacity)
    }

    fn reuse(files: &Files, spare: &Spare, sequence: u64) -> io::Result<Prepared> {
        let reserved = Reserved::write(files, &spare.path, sequence)?;
        let capacity = spare.bytes - spare.bytes % SECTOR as u64;
        reserved.finish(files, &spare.path, sequence, capacity)
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

/// A file whose first sector holds its reservation, not yet durable.
struct Reserved {
    file: Arc<dyn File>,
    mode: OpenMode,
    generation: u64,
}

impl Reserved {
    /// Opens the file as its groups are to be written: past the page cache, which saves a copy and the
    /// pages' way to the disk, unless the file system or the disk cannot.
    fn write(files: &Files, path: &Path, sequence: u64) -> io::Result<Self> {
        let generation = Uuid::new_v4().as_u64_pair().0;
        let mut sector = SectorBuffer::of(&FileHeader::reservation(sequence, generation).encode());
        let mut write = |mode| -> io::Result<Self> {
            let file = files.fs.open(path, mode)?;
            file.write_at(sector.whole_sectors(), 0)?;
            Ok(Self {
                file,
                mode,
                generation,
            })
        };
        match write(OpenMode::Direct) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => write(OpenMode::ReadWrite),
            result => result,
        }
    }

    /// Makes the file durable and gives it its name.
    fn finish(
        self,
        files: &Files,
        path: &Path,
        sequence: u64,
        capacity: u64,
    ) -> io::Result<Prepared> {
        self.file.sync_all()?;
        let named = files.dir.join(file_name(sequence));
        files.fs.rename(path, &named)?;
        let opened = files
            .fs
            .sync_dir(&files.dir)
            .and_then(|()| files.fs.open(&named, self.mode));
        let file = opened.inspect_err(|_| {
            let _ = files.fs.remove_file(&named);
        })?;
        // After an error the note may have it, so it stays; the next attempt replaces it, the next start deletes it.
        files.note(sequence)?;
        if self.mode != OpenMode::Direct {
            // A write of less than a page would otherwise have to wait for the rest of the page.
            file.will_need(capacity);
        }
        Ok(Prepared {
            file,
            path: named,
            sequence,
            generation: self.generation,
            capacity,
        })
    }
}

/// From one sector's begin to another's.
fn fill_with_zeros(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut zeros = SectorBuffer::of(&[0; FILLED_AT_ONCE]);
    let zeros = zeros.whole_sectors();
    let mut at = from;
    while at < to {
        let left = usize::try_from(to - at).unwrap_or(usize::MAX);
        let chunk = zeros.len().min(left);
        file.write_at(&zeros[..chunk], at)?;
        at += chunk as u64;
    }
    Ok(())
}
