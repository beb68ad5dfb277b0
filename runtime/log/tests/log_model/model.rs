//! What was done to the logs, in order, and what a log holds after any first part of it.

use std::collections::{BTreeMap, BTreeSet};

use millstream_log::Lsn;
use millstream_records::{BatchHeader, Marker};

/// A batch as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// No other batch has it.
    pub serial: u64,
    pub partition: i32,
    pub base: i64,
    pub next: i64,
    pub bytes: Vec<u8>,
    pub leader_epoch: i32,
    /// Timestamps of its records.
    pub times: Vec<i64>,
    pub producer: Option<i64>,
    /// None for data.
    pub marker: Option<Marker>,
    pub transactional: bool,
}

impl Entry {
    pub fn header(&self) -> BatchHeader {
        BatchHeader::parse(&self.bytes).expect("the model holds whole batches")
    }
}

#[derive(Debug, Clone)]
pub enum Operation {
    Append(Entry),
    /// Everything from this offset on, which begins a batch, was cut.
    Truncate {
        partition: i32,
        to: i64,
    },
}

impl Operation {
    fn partition(&self) -> i32 {
        match self {
            Self::Append(entry) => entry.partition,
            Self::Truncate { partition, .. } => *partition,
        }
    }
}

/// Where a log begins, and where it may begin after a crash.
#[derive(Debug, Clone, Default)]
pub struct Start {
    pub now: i64,
    /// It cannot fall below this one.
    pub durable: i64,
    /// All that it has been since.
    pub seen: BTreeSet<i64>,
}

#[derive(Debug, Default)]
pub struct Model {
    pub operations: Vec<Operation>,
    /// Their numbers in the journal; zero for those that a start has found.
    pub numbers: Vec<Lsn>,
    /// So many of the operations cannot be lost.
    pub durable: usize,
    /// So many are in a checkpoint.
    pub checkpointed: usize,
    /// The last operation failed: it may be there or not.
    pub in_doubt: bool,
    pub starts: BTreeMap<i32, Start>,
    /// A counter, so that no two values are the same.
    pub written: u64,
}

impl Model {
    pub fn push(&mut self, operation: Operation, lsn: Lsn) {
        assert!(!self.in_doubt, "a life ends with what is in doubt");
        self.operations.push(operation);
        self.numbers.push(lsn);
    }

    pub fn next_serial(&mut self) -> u64 {
        self.written += 1;
        self.written
    }

    /// The journal is durable up to this number.
    pub fn flushed(&mut self, lsn: Lsn) {
        let count = self.numbers.iter().rposition(|number| *number <= lsn);
        self.durable = self.durable.max(count.map_or(0, |at| at + 1));
    }

    /// What the log holds, records below its start too, after the first `count` operations on any log.
    pub fn entries_after(&self, partition: i32, count: usize) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = Vec::new();
        for operation in &self.operations[..count] {
            if operation.partition() != partition {
                continue;
            }
            match operation {
                Operation::Append(entry) => entries.push(entry),
                Operation::Truncate { to, .. } => entries.retain(|entry| entry.next <= *to),
            }
        }
        entries
    }

    pub fn entries(&self, partition: i32) -> Vec<&Entry> {
        self.entries_after(partition, self.operations.len())
    }

    pub fn log_end(&self, partition: i32) -> i64 {
        self.entries(partition).last().map_or(0, |last| last.next)
    }

    pub fn start(&mut self, partition: i32) -> &mut Start {
        self.starts.entry(partition).or_default()
    }

    pub fn log_start(&self, partition: i32) -> i64 {
        self.starts.get(&partition).map_or(0, |start| start.now)
    }

    pub fn move_start(&mut self, partition: i32, to: i64) {
        let start = self.start(partition);
        start.now = to;
        start.seen.insert(to);
    }

    pub fn everything_is_durable(&mut self) {
        self.durable = self.operations.len();
        self.starts_are_durable();
    }

    pub fn starts_are_durable(&mut self) {
        for start in self.starts.values_mut() {
            start.durable = start.now;
            start.seen.clear();
        }
    }

    /// First offsets of the open transactions, by producer.
    pub fn open_transactions(&self, partition: i32) -> BTreeMap<i64, i64> {
        let mut open = BTreeMap::new();
        for entry in self.entries(partition) {
            let Some(id) = entry.producer.filter(|_| entry.transactional) else {
                continue;
            };
            if entry.marker.is_some() {
                open.remove(&id);
            } else {
                open.entry(id).or_insert(entry.base);
            }
        }
        open
    }

    /// The sequence that the producer's next batch must have.
    pub fn next_sequence(&self, partition: i32, id: i64) -> i32 {
        let entries = self.entries(partition);
        let mut of_producer = entries
            .iter()
            .filter(|entry| entry.producer == Some(id) && entry.marker.is_none());
        of_producer
            .next_back()
            .map_or(0, |last| last.header().last_sequence() + 1)
    }

    /// Base offsets of the data batches of aborted transactions.
    pub fn aborted(&self, partition: i32) -> BTreeSet<i64> {
        let mut aborted = BTreeSet::new();
        let mut open: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for entry in self.entries(partition) {
            let Some(id) = entry.producer.filter(|_| entry.transactional) else {
                continue;
            };
            match entry.marker {
                None => open.entry(id).or_default().push(entry.base),
                Some(marker) => {
                    let data = open.remove(&id).unwrap_or_default();
                    aborted.extend(data.into_iter().filter(|_| marker == Marker::Abort));
                }
            }
        }
        aborted
    }
}
