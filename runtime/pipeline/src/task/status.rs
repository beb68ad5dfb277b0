//! What a task tells about itself while it runs. Counts are of committed work only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::failure::TaskFailure;
use crate::ports::TaskId;
use crate::run::Histogram;

/// Where a task is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// Acquiring the task, reading offsets, or waiting to try again after an error that passes.
    Starting,
    Running,
    /// A source has read its whole file, and all of it is committed.
    Done,
    /// Stopped because it was asked to.
    Stopped,
    /// A newer owner took over; nothing of this task was committed since.
    Fenced(TaskFailure),
    Failed(TaskFailure),
}

/// Committed work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub records_in: u64,
    /// Of these by input, in the order of the stage's inputs; a source has none.
    pub by_input: Vec<u64>,
    /// By output, in the order of the stage's outputs (a source has one).
    pub records_out: Vec<u64>,
    pub dead_letters: u64,
    pub skipped: u64,
    pub transactions: u64,
}

impl Counts {
    /// No work, of so many inputs and outputs.
    pub fn none(inputs: usize, outputs: usize) -> Counts {
        Counts {
            by_input: vec![0; inputs],
            records_out: vec![0; outputs],
            ..Counts::default()
        }
    }

    /// Takes what was counted, and begins anew.
    pub fn take(&mut self) -> Counts {
        let none = Counts::none(self.by_input.len(), self.records_out.len());
        std::mem::replace(self, none)
    }

    pub fn add(&mut self, other: &Counts) {
        self.records_in += other.records_in;
        add_each(&mut self.by_input, &other.by_input);
        add_each(&mut self.records_out, &other.records_out);
        self.dead_letters += other.dead_letters;
        self.skipped += other.skipped;
        self.transactions += other.transactions;
    }
}

fn add_each(mine: &mut Vec<u64>, theirs: &[u64]) {
    if mine.len() < theirs.len() {
        mine.resize(theirs.len(), 0);
    }
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine += theirs;
    }
}

/// An input partition as its task knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputStatus {
    pub topic: String,
    pub partition: i32,
    /// The next offset to read, as committed; `None` before the task has started.
    pub committed: Option<i64>,
    /// The last stable offset as the task saw it last.
    pub last_stable: i64,
    /// Offsets that were gone when the task, which had not committed, began at the earliest record behind them: at most
    /// so many records it never sees.
    pub gone: u64,
}

/// How far a source's file is read, in bytes of the file itself (compressed, where it is).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStatus {
    pub read: u64,
    pub bytes: u64,
}

/// A moment of a task.
#[derive(Debug, Clone)]
pub struct TaskSnapshot {
    pub task: TaskId,
    pub state: TaskState,
    pub counts: Counts,
    pub inputs: Vec<InputStatus>,
    /// Of a source that has begun to read.
    pub file: Option<FileStatus>,
    /// Transactions that were given up and done again.
    pub retries: u64,
    /// The newest error that passed or is being waited for.
    pub last_error: Option<String>,
    /// CPU that the plugin has used, for work that was given up too.
    pub guest_cpu: Duration,
}

/// Shared between a task and those who watch it.
#[derive(Debug)]
pub struct TaskStatus {
    task: TaskId,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: TaskState,
    counts: Counts,
    inputs: Vec<InputStatus>,
    /// The counter of the reading thread, and the length of the file.
    file: Option<(Arc<AtomicU64>, u64)>,
    retries: u64,
    last_error: Option<String>,
    guest_cpu: Duration,
    delays: Histogram,
}

impl TaskStatus {
    pub fn new(task: TaskId, inputs: Vec<(String, i32)>) -> Self {
        let inputs = inputs
            .into_iter()
            .map(|(topic, partition)| InputStatus {
                topic,
                partition,
                ..InputStatus::default()
            })
            .collect();
        TaskStatus {
            task,
            inner: Mutex::new(Inner {
                state: TaskState::Starting,
                counts: Counts::default(),
                inputs,
                file: None,
                retries: 0,
                last_error: None,
                guest_cpu: Duration::ZERO,
                delays: Histogram::default(),
            }),
        }
    }

    pub fn snapshot(&self) -> TaskSnapshot {
        let inner = self.inner.lock();
        TaskSnapshot {
            task: self.task.clone(),
            state: inner.state.clone(),
            counts: inner.counts.clone(),
            inputs: inner.inputs.clone(),
            file: inner.file.as_ref().map(|(read, bytes)| FileStatus {
                read: read.load(Ordering::Relaxed),
                bytes: *bytes,
            }),
            retries: inner.retries,
            last_error: inner.last_error.clone(),
            guest_cpu: inner.guest_cpu,
        }
    }

    pub fn task(&self) -> &TaskId {
        &self.task
    }

    pub fn state(&self) -> TaskState {
        self.inner.lock().state.clone()
    }

    /// Adds the task's delays to `into`.
    pub fn delays(&self, into: &mut Histogram) {
        into.merge(&self.inner.lock().delays);
    }

    pub(crate) fn set_state(&self, state: TaskState) {
        self.inner.lock().state = state;
    }

    /// A source begins to read a file of that length; `read` counts on while it does.
    pub(crate) fn reading(&self, read: Arc<AtomicU64>, bytes: u64) {
        self.inner.lock().file = Some((read, bytes));
    }

    pub(crate) fn retrying(&self, error: String) {
        let mut inner = self.inner.lock();
        inner.retries += 1;
        inner.last_error = Some(error);
        inner.state = TaskState::Starting;
    }

    /// The plugin has worked.
    pub(crate) fn spent(&self, guest_cpu: Duration) {
        self.inner.lock().guest_cpu += guest_cpu;
    }

    /// The stable end of an input moved.
    pub(crate) fn saw_end(&self, input: usize, last_stable: i64) {
        let mut inner = self.inner.lock();
        let known = &mut inner.inputs[input].last_stable;
        *known = last_stable.max(*known);
    }

    /// So many offsets were gone in front of where an input began; true when that was not known.
    pub(crate) fn began_behind(&self, input: usize, gone: u64) -> bool {
        let known = &mut self.inner.lock().inputs[input].gone;
        std::mem::replace(known, gone) != gone
    }

    /// Positions after a start: `None` where nothing is committed. What was seen of the inputs before may have been
    /// another topic's.
    pub(crate) fn started(&self, committed: &[Option<i64>]) {
        let mut inner = self.inner.lock();
        for (input, offset) in inner.inputs.iter_mut().zip(committed) {
            input.committed = *offset;
            input.last_stable = 0;
        }
        inner.state = TaskState::Running;
    }

    /// A transaction was committed.
    pub(crate) fn committed(
        &self,
        counts: &Counts,
        positions: &[i64],
        delays: impl FnOnce(&mut Histogram),
    ) {
        let mut inner = self.inner.lock();
        inner.counts.add(counts);
        inner.counts.transactions += 1;
        for (input, offset) in inner.inputs.iter_mut().zip(positions) {
            input.committed = Some(*offset);
        }
        delays(&mut inner.delays);
    }
}
