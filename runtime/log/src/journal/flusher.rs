//! The thread that makes entries durable: take all that waits, write it, sync once, tell everybody,
//! and begin again as soon as that is done; block when there is nothing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::files::Files;
use super::format::{FILE_HEADER_LEN, FileHeader, GROUP_HEADER_LEN, GroupHeader};
use super::group::Group;
use super::prepare::Prepared;
use super::shared::Shared;
use super::{JournalOptions, Lsn};
use crate::failpoint;
use crate::fs::{File, SectorBuffer};

/// The running thread.
pub(super) struct Flusher {
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Flusher {
    /// Waits for the thread's end (not when called by that thread itself, through a listener).
    pub fn join(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

/// Where a new generation begins.
pub(super) struct Beginning {
    pub next_sequence: u64,
    pub first_lsn: Lsn,
    /// The number after the last entry of the generation before.
    pub follows: Lsn,
    /// Checksum of the last group before.
    pub chain: u32,
}

/// Starts the thread.
pub(super) fn start(
    beginning: Beginning,
    files: Files,
    options: JournalOptions,
) -> io::Result<(Arc<Shared>, Flusher)> {
    let last_lsn = Lsn(beginning.first_lsn.0 - 1);
    let shared = Arc::new(Shared::new(files, last_lsn, options.unflushed_bytes_max));
    let mut writer = Writer {
        shared: shared.clone(),
        next_bytes: options.first_file_bytes,
        next_sequence: beginning.next_sequence,
        chain: beginning.chain,
        flushed: last_lsn,
        follows: beginning.follows,
        options,
        active: None,
        preparing: None,
    };
    let watch = PanicWatch(shared.clone());
    let run = move || {
        let _watch = watch;
        writer.run();
    };
    let thread = thread::Builder::new().name("journal".into()).spawn(run)?;
    Ok((
        shared,
        Flusher {
            thread: Mutex::new(Some(thread)),
        },
    ))
}

/// Poisons the journal when its thread panics: nobody waits for a flush that never comes.
struct PanicWatch(Arc<Shared>);

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison("the journal's thread panicked".into());
        }
    }
}

/// The file in use.
struct Active {
    file: Arc<dyn File>,
    path: PathBuf,
    generation: u64,
    capacity: u64,
    position: u64,
}

/// Why a group cannot be written.
enum Trouble {
    /// Nothing of it is written; trying again later may help.
    NoRoom(String),
    Failed(String),
}

/// The thread's own state.
struct Writer {
    shared: Arc<Shared>,
    options: JournalOptions,
    chain: u32,
    flushed: Lsn,
    /// Where the file to be made continues: behind what is flushed, or less at the very first.
    follows: Lsn,
    next_sequence: u64,
    next_bytes: u64,
    active: Option<Active>,
    preparing: Option<JoinHandle<io::Result<Prepared>>>,
}

impl Writer {
    fn run(&mut self) {
        self.prepare_next();
        let mut spare = Group::default();
        while let Some(mut group) = self.shared.take_group(spare) {
            let written = self.write(&mut group);
            let told = match written {
                Ok(()) => self.shared.group_flushed(&group),
                Err(reason) => {
                    let reason: Arc<str> = reason.into();
                    self.shared.poison(reason.clone());
                    Err(reason)
                }
            };
            if let Err(reason) = told {
                for told in &group.told {
                    told.listener.poisoned(&reason);
                }
            }
            group.clear();
            spare = group;
        }
        self.stop();
    }

    /// Writes and syncs the group; an error poisons the journal.
    fn write(&mut self, group: &mut Group) -> Result<(), String> {
        let mut header = GroupHeader {
            previous_crc: 0,
            body_len: u32::try_from(group.bytes.len() - GROUP_HEADER_LEN)
                .map_err(|error| error.to_string())?,
            entries: group.entries,
            generation: 0,
            first_lsn: group.first_lsn,
            // Not `flushed`: numbers that were left out before the first group prove nothing.
            flushed_lsn: Lsn(self.follows.0.saturating_sub(1)),
        };
        assert_eq!(
            group.first_lsn,
            self.flushed.next(),
            "entries are numbered without gaps"
        );
        let rolled = self.make_room(header.len_padded())?;
        let active = self.active.as_mut().ok_or("no file is in use")?;
        let failed =
            |what: &str, error: io::Error| format!("{what} {}: {error}", active.path.display());
        failpoint::check("journal.before_write").map_err(|error| failed("writing", error))?;
        if let Some(file_header) = rolled {
            let mut bytes = SectorBuffer::of(&file_header.encode());
            active
                .file
                .write_at(bytes.whole_sectors(), 0)
                .map_err(|error| failed("writing", error))?;
            self.chain = file_header.crc();
        }
        (header.generation, header.previous_crc) = (active.generation, self.chain);
        self.chain = header.seal(group.bytes.as_mut_slice());
        active
            .file
            .write_at(group.bytes.whole_sectors(), active.position)
            .map_err(|error| failed("writing", error))?;
        failpoint::check("journal.before_sync").map_err(|error| failed("syncing", error))?;
        active
            .file
            .sync_data()
            .map_err(|error| failed("syncing", error))?;
        failpoint::hit("journal.after_sync");
        active.position += header.len_padded();
        self.flushed = group.last_lsn();
        self.follows = self.flushed.next();
        if rolled.is_some()
            && let Some(hook) = &self.options.on_roll
        {
            hook(self.shared.files.bytes());
        }
        Ok(())
    }

    /// Sees to it that the file in use has room; waits while there is none. Returns the header that
    /// has to be written first when a new file is begun.
    fn make_room(&mut self, group_bytes: u64) -> Result<Option<FileHeader>, String> {
        if let Some(active) = &self.active
            && active.position + group_bytes <= active.capacity
        {
            return Ok(None);
        }
        let mut was_full = false;
        let prepared = loop {
            match self.next_file(FILE_HEADER_LEN as u64 + group_bytes) {
                Ok(prepared) => break prepared,
                Err(Trouble::Failed(reason)) => return Err(reason),
                Err(Trouble::NoRoom(reason)) => {
                    was_full = true;
                    self.shared.wait_while_full(reason)?;
                }
            }
        };
        if was_full {
            self.shared.found_room();
        }
        self.shared
            .files
            .rolled(prepared.path.clone(), prepared.capacity, self.flushed);
        let header = FileHeader {
            sequence: prepared.sequence,
            generation: prepared.generation,
            first_lsn: self.flushed.next(),
            previous_crc: self.chain,
            follows: self.follows,
            file_bytes: prepared.capacity,
        };
        self.active = Some(Active {
            file: prepared.file,
            path: prepared.path,
            generation: prepared.generation,
            capacity: prepared.capacity,
            position: FILE_HEADER_LEN as u64,
        });
        self.next_sequence += 1;
        self.next_bytes = (self.next_bytes * 2).min(self.options.file_bytes_max);
        self.prepare_next();
        Ok(Some(header))
    }

    /// The next file, with room for `bytes`.
    fn next_file(&mut self, bytes: u64) -> Result<Prepared, Trouble> {
        let size = self.next_bytes.max(bytes);
        let held = self.shared.files.bytes();
        if held > 0 && held.saturating_add(size) > self.options.total_bytes_max {
            return Err(Trouble::NoRoom(format!(
                "{held} bytes wait for a checkpoint, at most {} are allowed",
                self.options.total_bytes_max
            )));
        }
        let prepared = match self.preparing.take() {
            Some(thread) => thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("preparing a file panicked"))),
            None => Prepared::make(&self.shared.files, self.next_sequence, size),
        };
        let extended = prepared.and_then(|mut prepared| {
            prepared.extend(bytes)?;
            Ok(prepared)
        });
        extended.map_err(|error| {
            let dir = self.shared.files.dir.display();
            let reason = format!("preparing a file in {dir}: {error}");
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Trouble::NoRoom(reason)
                }
                _ => Trouble::Failed(reason),
            }
        })
    }

    /// Makes the next file in the background.
    fn prepare_next(&mut self) {
        let shared = self.shared.clone();
        let (sequence, bytes) = (self.next_sequence, self.next_bytes);
        let make = move || Prepared::make(&shared.files, sequence, bytes);
        // When no thread can be had, the file is made when it is needed.
        self.preparing = thread::Builder::new()
            .name("journal-prepare".into())
            .spawn(make)
            .ok();
    }

    /// The last thing the thread does.
    fn stop(&mut self) {
        let unused = self.preparing.take().map(JoinHandle::join);
        if let Some(Ok(Ok(prepared))) = unused {
            // If it stays, the next start deletes it.
            let files = &self.shared.files;
            let _ = files
                .forget(&prepared.path)
                .and_then(|()| files.fs.remove_file(&prepared.path));
        }
        self.shared.thread_ended();
    }
}
