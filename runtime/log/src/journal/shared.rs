//! What the journal's callers and its thread share: the open group, who waits, and the condition.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::files::Files;
use super::format::{GROUP_HEADER_LEN, PAYLOAD_BYTES_MAX};
use super::group::Group;
use super::{EntryRef, FlushListener, JournalError, Lsn};

/// How long a full journal waits before it tries again to make its next file.
const RETRY_AFTER: Duration = Duration::from_millis(200);

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
    /// Somebody wants the open group flushed; whether the flusher has to be told. Nobody can want an empty one: that
    /// would pass for the wish of those whose entries come next, and the flusher would not hear of them.
    fn want(&mut self, demand: Demand) -> bool {
        let is_sooner = match (demand, self.demand) {
            _ if self.open.entries == 0 => false,
            (Demand::Nobody, _) | (_, Demand::Now) => false,
            (Demand::By(by), Demand::By(earlier)) => by < earlier,
            (Demand::Now | Demand::By(_), _) => true,
        };
        if is_sooner {
            self.demand = demand;
        }
        is_sooner
    }

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
    /// Groups that were made durable.
    groups: AtomicU64,
    progress: watch::Sender<Progress>,
    unflushed_bytes_max: usize,
    pub files: Files,
}

impl Shared {
    pub fn new(files: Files, last_lsn: Lsn, unflushed_bytes_max: usize) -> Shared {
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
            groups: AtomicU64::new(0),
            progress: watch::Sender::new(progress),
            // A group's length is a u32.
            unflushed_bytes_max: unflushed_bytes_max.min(PAYLOAD_BYTES_MAX),
            files,
        }
    }

    pub fn flushed(&self) -> Lsn {
        Lsn(self.flushed.load(Ordering::Acquire))
    }

    pub fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
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
            if state.want(Demand::Now) {
                self.work.notify_one();
            }
            self.room.wait(&mut state);
        }
        let lsn = state.next_lsn;
        state.next_lsn = lsn.next();
        state.unflushed_bytes += bytes;
        state.open.push(&entry, lsn, listener, end_offset);
        if state.want(start_by.map_or(Demand::Now, Demand::By)) {
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
        if lsn >= state.open.first_lsn && state.want(Demand::Now) {
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
            Condition::Ok => self.files.finish(last_lsn),
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
    pub fn take_group(&self, spare: Group) -> Option<Group> {
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
    pub fn group_flushed(&self, group: &Group) -> Result<(), Arc<str>> {
        let lsn = group.last_lsn();
        self.groups.fetch_add(1, Ordering::Relaxed);
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

    /// Declares the journal full and returns when it is worth another try; an error when it is not.
    pub fn wait_while_full(&self, reason: String) -> Result<(), String> {
        let mut state = self.state.lock();
        match &state.condition {
            Condition::Poisoned(reason) => return Err(reason.to_string()),
            _ if state.closing => return Err(reason),
            Condition::Full(_) => {}
            Condition::Ok => {
                tracing::warn!(reason, "the journal is full");
                self.set_condition(&mut state, Condition::Full(reason.into()));
            }
        }
        self.work.wait_for(&mut state, RETRY_AFTER);
        Ok(())
    }

    /// The journal is not full any more, if it was.
    pub fn found_room(&self) {
        let mut state = self.state.lock();
        if matches!(state.condition, Condition::Full(_)) {
            tracing::info!("the journal has room again");
            self.set_condition(&mut state, Condition::Ok);
        }
    }

    /// The thread has ended: whoever waits still does so in vain.
    pub fn thread_ended(&self) {
        self.progress.send_modify(|progress| progress.closed = true);
        // The lock is taken so that no blocking wait sits between its look and its sleep.
        drop(self.state.lock());
        self.room.notify_all();
    }
}
