//! The thread that makes entries durable: take all that waits, write it, sync once, tell everybody,
//! and begin again as soon as that is done; block when there is nothing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::files::{Files, Prepared};
use super::format::{
    FILE_HEADER_LEN, FileHeader, GROUP_HEADER_LEN, GroupHeader, PAYLOAD_BYTES_MAX,
};
use super::{EntryRef, FlushListener, JournalError, JournalOptions, Lsn};
use crate::failpoint;
use crate::fs::{File, FileSystem};

/// How long a full journal waits before it tries again to make its next file.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// A group's buffer is given back to the system when it grew beyond this.
const BUFFER_BYTES_KEPT: usize = 4 << 20;
/// How many of the last listeners of a group are looked through for one that is there already.
const LISTENERS_COMPARED: usize = 8;

#[derive(Debug, Clone)]
pub(super) enum Condition {
    Ok,
    Full(Arc<str>),
    Poisoned(Arc<str>),
}

/// What waiting callers watch.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    flushed: Lsn,
    condition: Condition,
    closed: bool,
}

impl Progress {
    /// How a wait for this entry ends; `None` while it does not.
    pub fn outcome(&self, lsn: Lsn) -> Option<Result<(), JournalError>> {
        if self.flushed >= lsn {
            return Some(Ok(()));
        }
        match &self.condition {
            Condition::Poisoned(reason) => Some(Err(JournalError::Poisoned {
                reason: reason.clone(),
            })),
            Condition::Full(reason) => Some(Err(JournalError::Full {
                reason: reason.clone(),
            })),
            Condition::Ok if self.closed => Some(Err(JournalError::Closed)),
            Condition::Ok => None,
        }
    }
}

/// Who is to be told of a group.
struct Told {
    listener: Arc<dyn FlushListener>,
    end_offset: i64,
    lsn: Lsn,
}

/// Entries that become durable together.
#[derive(Default)]
pub(super) struct Group {
    /// Room for the head, then the encoded entries.
    bytes: Vec<u8>,
    entries: u32,
    first_lsn: Lsn,
    told: Vec<Told>,
}

impl Group {
    fn push(
        &mut self,
        entry: &EntryRef<'_>,
        lsn: Lsn,
        listener: &Arc<dyn FlushListener>,
        end_offset: i64,
    ) {
        if self.entries == 0 {
            self.first_lsn = lsn;
            self.bytes.resize(GROUP_HEADER_LEN, 0);
        }
        entry.encode(&mut self.bytes);
        self.entries += 1;
        let recent = self.told.iter_mut().rev().take(LISTENERS_COMPARED);
        for told in recent {
            if Arc::ptr_eq(&told.listener, listener) {
                (told.end_offset, told.lsn) = (end_offset, lsn);
                return;
            }
        }
        self.told.push(Told {
            listener: listener.clone(),
            end_offset,
            lsn,
        });
    }

    fn last_lsn(&self) -> Lsn {
        Lsn(self.first_lsn.0 + u64::from(self.entries) - 1)
    }

    fn clear(&mut self) {
        self.entries = 0;
        self.told.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BUFFER_BYTES_KEPT);
    }
}

/// When the flusher should take the open group.
#[derive(Debug, Clone, Copy)]
enum Demand {
    Now,
    By(Instant),
    Nobody,
}

struct State {
    open: Group,
    demand: Demand,
    next_lsn: Lsn,
    /// Bytes in the open group and in the one that is being written.
    unflushed_bytes: usize,
    condition: Condition,
    closing: bool,
}

impl State {
    fn check(&self) -> Result<(), JournalError> {
        match &self.condition {
            Condition::Poisoned(reason) => Err(JournalError::Poisoned {
                reason: reason.clone(),
            }),
            _ if self.closing => Err(JournalError::Closed),
            Condition::Full(reason) => Err(JournalError::Full {
                reason: reason.clone(),
            }),
            Condition::Ok => Ok(()),
        }
    }
}

/// What the journal's callers and its thread share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// The flusher waits here.
    work: Condvar,
    /// Appends that found too much unflushed, and blocking waits, wait here.
    room: Condvar,
    flushed: AtomicU64,
    progress: watch::Sender<Progress>,
    unflushed_bytes_max: usize,
    pub files: Files,
}

impl Shared {
    fn new(files: Files, last_lsn: Lsn, unflushed_bytes_max: usize) -> Shared {
        let state = State {
            open: Group::default(),
            demand: Demand::Nobody,
            next_lsn: last_lsn.next(),
            unflushed_bytes: 0,
            condition: Condition::Ok,
            closing: false,
        };
        let progress = Progress {
            flushed: last_lsn,
            condition: Condition::Ok,
            closed: false,
        };
        Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
            flushed: AtomicU64::new(last_lsn.0),
            progress: watch::Sender::new(progress),
            // A group's length is a u32.
            unflushed_bytes_max: unflushed_bytes_max.min(PAYLOAD_BYTES_MAX),
            files,
        }
    }

    pub fn flushed(&self) -> Lsn {
        Lsn(self.flushed.load(Ordering::Acquire))
    }

    pub fn next_lsn(&self) -> Lsn {
        self.state.lock().next_lsn
    }

    pub fn condition(&self) -> Condition {
        self.state.lock().condition.clone()
    }

    pub fn append(
        &self,
        entry: EntryRef<'_>,
        listener: &Arc<dyn FlushListener>,
        end_offset: i64,
        start_by: Option<Instant>,
    ) -> Result<Lsn, JournalError> {
        let bytes = entry.encoded_len();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(JournalError::TooLarge {
                bytes,
                max: PAYLOAD_BYTES_MAX,
            });
        }
        let mut state = self.state.lock();
        loop {
            state.check()?;
            if state.unflushed_bytes == 0
                || state.unflushed_bytes + bytes <= self.unflushed_bytes_max
            {
                break;
            }
            state.demand = Demand::Now;
            self.work.notify_one();
            self.room.wait(&mut state);
        }
        let lsn = state.next_lsn;
        state.next_lsn = lsn.next();
        state.unflushed_bytes += bytes;
        state.open.push(&entry, lsn, listener, end_offset);
        let sooner = match (start_by, state.demand) {
            (_, Demand::Now) => false,
            (Some(by), Demand::By(earlier)) if earlier <= by => false,
            _ => true,
        };
        if sooner {
            state.demand = start_by.map_or(Demand::Now, Demand::By);
            drop(state);
            self.work.notify_one();
        }
        Ok(lsn)
    }

    /// Somebody waits for this entry: its flush starts at once.
    pub fn demand(&self, lsn: Lsn) -> watch::Receiver<Progress> {
        let mut state = self.state.lock();
        self.demand_locked(&mut state, lsn);
        drop(state);
        self.progress.subscribe()
    }

    fn demand_locked(&self, state: &mut State, lsn: Lsn) {
        assert!(
            lsn < state.next_lsn,
            "a wait for entry {lsn}, the next is {}",
            state.next_lsn
        );
        let open = state.open.entries > 0 && lsn >= state.open.first_lsn;
        if open && !matches!(state.demand, Demand::Now) {
            state.demand = Demand::Now;
            self.work.notify_one();
        }
    }

    pub fn wait_flushed_blocking(&self, lsn: Lsn) -> Result<(), JournalError> {
        if self.flushed() >= lsn {
            return Ok(());
        }
        let mut state = self.state.lock();
        self.demand_locked(&mut state, lsn);
        loop {
            if let Some(outcome) = self.progress.borrow().outcome(lsn) {
                return outcome;
            }
            self.room.wait(&mut state);
        }
    }

    pub fn cut_before(&self, lsn: Lsn) -> Result<(), JournalError> {
        if let Condition::Poisoned(reason) = self.condition() {
            return Err(JournalError::Poisoned { reason });
        }
        let result = self.files.cut_before(lsn);
        // A journal that was full may go on.
        self.work.notify_one();
        result
    }

    pub fn poison(&self, reason: Arc<str>) {
        let told = {
            let mut state = self.state.lock();
            if matches!(state.condition, Condition::Poisoned(_)) {
                return;
            }
            tracing::error!(%reason, "the journal stops: nothing more is acknowledged");
            self.set_condition(&mut state, Condition::Poisoned(reason.clone()));
            std::mem::take(&mut state.open.told)
        };
        for told in told {
            told.listener.poisoned(&reason);
        }
    }

    pub fn begin_close(&self) {
        self.state.lock().closing = true;
        self.work.notify_one();
        self.room.notify_all();
    }

    pub fn finish_close(&self) -> Result<(), JournalError> {
        let (condition, last_lsn) = {
            let state = self.state.lock();
            (state.condition.clone(), Lsn(state.next_lsn.0 - 1))
        };
        match condition {
            Condition::Ok => self.files.delete_all_if_cut(last_lsn),
            Condition::Full(reason) => Err(JournalError::Full { reason }),
            Condition::Poisoned(reason) => Err(JournalError::Poisoned { reason }),
        }
    }

    /// Changes the condition and tells all who wait.
    fn set_condition(&self, state: &mut State, condition: Condition) {
        state.condition = condition.clone();
        self.progress
            .send_modify(|progress| progress.condition = condition);
        self.work.notify_one();
        self.room.notify_all();
    }

    /// Waits for entries and takes them all; `None` when the thread should end.
    fn take_group(&self, spare: Group) -> Option<Group> {
        let mut state = self.state.lock();
        loop {
            if matches!(state.condition, Condition::Poisoned(_)) {
                return None;
            }
            let now_due = match state.demand {
                _ if state.open.entries == 0 => false,
                _ if state.closing => true,
                Demand::Now => true,
                Demand::By(by) => Instant::now() >= by,
                Demand::Nobody => false,
            };
            if now_due {
                state.demand = Demand::Nobody;
                return Some(std::mem::replace(&mut state.open, spare));
            }
            if state.closing {
                return None;
            }
            match state.demand {
                Demand::By(by) => {
                    self.work.wait_until(&mut state, by);
                }
                _ => self.work.wait(&mut state),
            }
        }
    }

    /// The group is durable. Fails when the journal was poisoned meanwhile: then nobody is told.
    fn group_flushed(&self, group: &Group) -> Result<(), Arc<str>> {
        let lsn = group.last_lsn();
        {
            let mut state = self.state.lock();
            if let Condition::Poisoned(reason) = &state.condition {
                return Err(reason.clone());
            }
            state.unflushed_bytes -= group.bytes.len() - GROUP_HEADER_LEN;
            // Before the listeners run, who may want a lock that a blocked append holds.
            self.room.notify_all();
        }
        for told in &group.told {
            told.listener.flushed(told.end_offset, told.lsn);
        }
        self.flushed.store(lsn.0, Ordering::Release);
        self.progress.send_modify(|progress| progress.flushed = lsn);
        // The lock is taken so that no blocking wait sits between its look and its sleep.
        drop(self.state.lock());
        self.room.notify_all();
        Ok(())
    }
}

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
    pub fs: Arc<dyn FileSystem>,
    pub dir: PathBuf,
    pub generation: u64,
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
        generation: beginning.generation,
        chain: beginning.chain,
        flushed: last_lsn,
        follows: beginning.follows,
        fs: beginning.fs,
        dir: beginning.dir,
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
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    options: JournalOptions,
    generation: u64,
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
        let header = GroupHeader {
            previous_crc: 0,
            body_len: u32::try_from(group.bytes.len() - GROUP_HEADER_LEN)
                .map_err(|error| error.to_string())?,
            entries: group.entries,
            generation: self.generation,
            first_lsn: group.first_lsn,
            flushed_lsn: self.flushed,
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
            let bytes = file_header.encode();
            active
                .file
                .write_at(&bytes, 0)
                .map_err(|error| failed("writing", error))?;
            self.chain = file_header.crc();
        }
        self.chain = GroupHeader {
            previous_crc: self.chain,
            ..header
        }
        .seal(&mut group.bytes);
        active
            .file
            .write_at(&group.bytes, active.position)
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
                    self.wait_while_full(reason)?;
                }
            }
        };
        if was_full {
            let mut state = self.shared.state.lock();
            if matches!(state.condition, Condition::Full(_)) {
                tracing::info!("the journal has room again");
                self.shared.set_condition(&mut state, Condition::Ok);
            }
        }
        self.shared
            .files
            .rolled(prepared.path.clone(), prepared.capacity, self.flushed);
        let header = FileHeader {
            sequence: prepared.sequence,
            generation: self.generation,
            first_lsn: self.flushed.next(),
            previous_crc: self.chain,
            follows: self.follows,
        };
        self.active = Some(Active {
            file: prepared.file,
            path: prepared.path,
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
            None => Prepared::make(&*self.fs, &self.dir, self.next_sequence, size),
        };
        let extended = prepared.and_then(|mut prepared| {
            prepared.extend(bytes)?;
            Ok(prepared)
        });
        extended.map_err(|error| {
            let reason = format!("preparing a file in {}: {error}", self.dir.display());
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Trouble::NoRoom(reason)
                }
                _ => Trouble::Failed(reason),
            }
        })
    }

    /// Declares the journal full and returns when it is worth another try.
    fn wait_while_full(&self, reason: String) -> Result<(), String> {
        let shared = &self.shared;
        let mut state = shared.state.lock();
        match &state.condition {
            Condition::Poisoned(reason) => return Err(reason.to_string()),
            _ if state.closing => return Err(reason),
            Condition::Full(_) => {}
            Condition::Ok => {
                tracing::warn!(reason, "the journal is full");
                shared.set_condition(&mut state, Condition::Full(reason.into()));
            }
        }
        shared.work.wait_for(&mut state, RETRY_AFTER);
        Ok(())
    }

    /// Makes the next file in the background.
    fn prepare_next(&mut self) {
        let (fs, dir) = (self.fs.clone(), self.dir.clone());
        let (sequence, bytes) = (self.next_sequence, self.next_bytes);
        let make = move || Prepared::make(&*fs, &dir, sequence, bytes);
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
            let _ = self.fs.remove_file(&prepared.path);
        }
        self.shared
            .progress
            .send_modify(|progress| progress.closed = true);
        drop(self.shared.state.lock());
        self.shared.room.notify_all();
    }
}
