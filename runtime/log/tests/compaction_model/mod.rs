//! What was appended to a compacted log, and what must be left of it.

pub mod batch;
pub mod beside;
pub mod live;
pub mod panics;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use millstream_log::testing::{ManualClock, Random, SimFs};
use millstream_log::{
    AbortedTxn, CleanerOptions, CleanupPolicy, FlushMode, Isolation, Log, LogConfig, LogId,
    LogStore, ReadError, StoreOptions,
};
use millstream_records::{BatchHeader, BatchView, Compression, ControlRecord, Marker, batches};
use uuid::Uuid;

pub const NOW_MS: i64 = 1_700_000_000_000;
pub const DELETE_RETENTION_MS: i64 = 60_000;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Open,
    Ended(Marker),
}

/// A record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub key: String,
    pub value: Option<String>,
    pub timestamp: i64,
    pub transaction: Option<usize>,
    /// When the first pass began that may have met it.
    pub first_pass_ms: Option<i64>,
}

/// What no pass may change of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlace {
    pub last_offset: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub leader_epoch: i32,
    pub codec: Compression,
    pub is_control: bool,
}

impl BatchPlace {
    pub fn of_marker(offset: i64, producer_id: i64) -> Self {
        Self {
            last_offset: offset,
            producer_id,
            producer_epoch: 0,
            base_sequence: -1,
            leader_epoch: 0,
            codec: Compression::None,
            is_control: true,
        }
    }

    fn of(header: &BatchHeader) -> Self {
        Self {
            last_offset: header.last_offset(),
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            leader_epoch: header.leader_epoch,
            codec: header.compression(),
            is_control: header.is_control(),
        }
    }
}

/// What happened, so that a test can tell that something did.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    pub passes: u64,
    /// Crashes within a pass, by the fail point that they happened at.
    pub crashes: BTreeMap<&'static str, u64>,
    /// Crashes at an operation of the disk, within a pass or just behind it.
    pub cuts: u64,
    pub aborted: u64,
    pub committed: u64,
    pub dropped: u64,
    pub dropped_tombstones: u64,
    /// Appends that were acknowledged while a pass ran.
    pub appended_beside: u64,
    /// Appends that nobody had acknowledged when a crash came.
    pub unacknowledged: u64,
}

impl Seen {
    pub fn add(&mut self, other: &Seen) {
        self.passes += other.passes;
        for (name, count) in &other.crashes {
            *self.crashes.entry(name).or_default() += count;
        }
        self.cuts += other.cuts;
        self.aborted += other.aborted;
        self.committed += other.committed;
        self.dropped += other.dropped;
        self.dropped_tombstones += other.dropped_tombstones;
        self.appended_beside += other.appended_beside;
        self.unacknowledged += other.unacknowledged;
    }

    pub fn all_crashes(&self) -> u64 {
        self.crashes.values().sum()
    }

    /// Of all transactions, those that were aborted.
    pub fn aborted_percent(&self) -> u64 {
        100 * self.aborted / (self.aborted + self.committed).max(1)
    }
}

#[derive(Debug)]
pub struct Model {
    pub seed: u64,
    pub clock: Arc<ManualClock>,
    pub fs: SimFs,
    pub records: BTreeMap<i64, Stored>,
    pub batches: BTreeMap<i64, BatchPlace>,
    pub transactions: Vec<Outcome>,
    /// Up to where the last pass that came to its end has compacted.
    pub cleaned_to: i64,
    pub log_end: i64,
    pub journal_file_bytes: u64,
    pub seen: Seen,
}

pub fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1800,
        index_interval_bytes: 200,
        cleanup: CleanupPolicy {
            delete: false,
            compact: true,
        },
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: DELETE_RETENTION_MS,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

impl Model {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            clock: Arc::new(ManualClock::new(NOW_MS)),
            fs: SimFs::new(seed),
            records: BTreeMap::new(),
            batches: BTreeMap::new(),
            transactions: Vec::new(),
            cleaned_to: 0,
            log_end: 0,
            journal_file_bytes: 16 << 10,
            seen: Seen::default(),
        }
    }

    pub fn open(&self) -> (Arc<LogStore>, Arc<Log>) {
        let options = StoreOptions {
            fs: Arc::new(self.fs.clone()),
            clock: Arc::clone(&self.clock) as _,
            journal_file_bytes_max: self.journal_file_bytes,
            cleaner: CleanerOptions {
                enabled: false,
                ..CleanerOptions::default()
            },
            ..StoreOptions::new(Path::new("/data"), FlushMode::Journal)
        };
        let (store, report) =
            LogStore::open(options).unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        assert!(
            report.problems.is_empty(),
            "seed {}: {:?}",
            self.seed,
            report.problems
        );
        let id = LogId {
            topic_id: Uuid::from_u128(7),
            topic: "flights".into(),
            partition: 0,
        };
        let log = store.create_log(id, config()).unwrap();
        (store, log)
    }

    fn outcome(&self, record: &Stored) -> Option<Marker> {
        match record.transaction.map(|number| self.transactions[number]) {
            None => Some(Marker::Commit),
            Some(Outcome::Ended(marker)) => Some(marker),
            Some(Outcome::Open) => None,
        }
    }

    /// One pass over the log on this thread, if it is due. True when there was one.
    pub fn pass(&mut self, store: &LogStore) -> bool {
        let began_ms = self.now_ms();
        let report = store.clean_dirtiest();
        let report = report.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        if let Some(report) = report {
            self.seen.passes += 1;
            self.pass_ended(began_ms, report.cleaned_to);
        }
        report.is_some()
    }

    /// A pass that began at that time has compacted up to here.
    pub fn pass_ended(&mut self, began_ms: i64, cleaned_to: i64) {
        self.was_met(began_ms, cleaned_to);
        self.cleaned_to = self.cleaned_to.max(cleaned_to);
    }

    /// A pass that began at that time may have met what lies below.
    pub fn was_met(&mut self, began_ms: i64, below: i64) {
        for (_, record) in self.records.range_mut(..below) {
            record.first_pass_ms.get_or_insert(began_ms);
        }
    }

    /// The machine after its crash.
    pub fn restart_machine(&mut self, random: &mut Random) {
        self.fs = match random.chance(40) {
            true => self.fs.kill(random.next_u64()),
            false => self.fs.power_cut(random.next_u64()),
        };
    }

    pub fn count(&self, marker: Marker) -> u64 {
        let is_such = |outcome: &&Outcome| **outcome == Outcome::Ended(marker);
        self.transactions.iter().filter(is_such).count() as u64
    }

    /// The log is what it may be at this moment.
    pub fn compare(&mut self, log: &Log) {
        let seed = self.seed;
        let offsets = log.offsets();
        assert_eq!(offsets.log_end, self.log_end, "seed {seed}");
        assert_eq!(offsets.high_watermark, self.log_end, "seed {seed}");
        let stored = read_batches(log);
        self.compare_batches(&stored);
        let seen = read_committed(log);
        let present: BTreeSet<i64> = seen.iter().map(|record| record.0).collect();
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        let mut newest_clean: BTreeMap<&str, i64> = BTreeMap::new();
        for (offset, record) in self.records.range(..offsets.last_stable) {
            if self.outcome(record) == Some(Marker::Commit) {
                newest.insert(&record.key, *offset);
                if *offset < self.cleaned_to {
                    newest_clean.insert(&record.key, *offset);
                }
            }
        }
        for (offset, key, value, timestamp) in &seen {
            let record = &self.records[offset];
            assert_eq!((key, value), (&record.key, &record.value), "seed {seed}");
            assert_eq!(*timestamp, record.timestamp, "seed {seed}");
            assert_eq!(
                self.outcome(record),
                Some(Marker::Commit),
                "seed {seed}: offset {offset} is no committed record"
            );
            let clean = newest_clean.get(key.as_str());
            assert!(
                clean.is_none_or(|newest| offset >= newest),
                "seed {seed}: {key} at {offset} was replaced at {clean:?}, compacted to {}",
                self.cleaned_to
            );
        }
        for (key, offset) in newest {
            let record = &self.records[&offset];
            if present.contains(&offset) {
                continue;
            }
            assert!(
                record.value.is_none(),
                "seed {seed}: the value of {key} at {offset} is lost"
            );
            let may_go_ms = record.first_pass_ms.map(|met| met + DELETE_RETENTION_MS);
            let now_ms = self.now_ms();
            assert!(
                may_go_ms.is_some_and(|time| time <= now_ms),
                "seed {seed}: the tombstone of {key} at {offset} is gone at {now_ms}, allowed from {may_go_ms:?}"
            );
            self.seen.dropped_tombstones += 1;
        }
        for (batch, _) in &stored {
            let header = BatchHeader::parse(batch).unwrap();
            if header.is_control() || header.next_offset() > self.cleaned_to {
                continue;
            }
            for offset in offsets_of(batch) {
                let outcome = self.outcome(&self.records[&offset]);
                assert_ne!(
                    outcome,
                    Some(Marker::Abort),
                    "seed {seed}: {offset} was aborted"
                );
            }
        }
        self.seen.dropped = self
            .seen
            .dropped
            .max((self.records.len() - seen.len()) as u64);
    }

    /// Every batch that is left has its place, and a read from any offset finds the batch that holds it or the next.
    fn compare_batches(&self, stored: &[(Vec<u8>, i64)]) {
        let seed = self.seed;
        let mut next = 0;
        for (bytes, position) in stored {
            let view = BatchView::parse(bytes).unwrap();
            view.validate(1 << 20).unwrap();
            let header = view.header();
            assert!(
                header.base_offset >= next,
                "seed {seed}: the order has changed"
            );
            next = header.next_offset();
            let expected = self.batches[&header.base_offset];
            let found = BatchPlace::of(header);
            assert_eq!(
                found.last_offset, expected.last_offset,
                "seed {seed} at {position}"
            );
            let is_placeholder = header.record_count == 0 && !header.has_producer_id();
            if !is_placeholder {
                let codec = if header.record_count == 0 {
                    expected.codec
                } else {
                    found.codec
                };
                assert_eq!(BatchPlace { codec, ..found }, expected, "seed {seed}");
            }
        }
        assert_eq!(
            next, self.log_end,
            "seed {seed}: the end of the log is not there"
        );
    }

    pub fn now_ms(&self) -> i64 {
        use millstream_log::clock::Clock;
        self.clock.now_ms()
    }
}

fn offsets_of(batch: &[u8]) -> Vec<i64> {
    let view = BatchView::parse(batch).unwrap();
    let records = view.records(1 << 20).unwrap();
    records
        .iter()
        .map(|record| record.unwrap().offset)
        .collect()
}

/// All batches with the offsets at which they were asked for.
pub fn read_batches(log: &Log) -> Vec<(Vec<u8>, i64)> {
    let mut found = Vec::new();
    let mut next = log.offsets().log_start;
    loop {
        let result = log.read(next, 500, Isolation::LogEnd, true).unwrap();
        if result.bytes.is_empty() {
            return found;
        }
        for batch in batches(&result.bytes) {
            let batch = batch.unwrap();
            found.push((batch.bytes().to_vec(), next));
            next = batch.header().next_offset();
        }
    }
}

type Record = (i64, String, Option<String>, i64);

/// What a `read_committed` consumer sees from the start.
pub fn read_committed(log: &Log) -> Vec<Record> {
    try_read_committed(log).unwrap()
}

/// The same where a read may fail.
pub fn try_read_committed(log: &Log) -> Result<Vec<Record>, ReadError> {
    let mut found = Vec::new();
    let mut next = log.offsets().log_start;
    loop {
        let result = log.read(next, 700, Isolation::Committed, true)?;
        if result.bytes.is_empty() {
            return Ok(found);
        }
        let mut waiting: Vec<AbortedTxn> = result.aborted;
        waiting.sort_unstable_by_key(|aborted| aborted.first_offset);
        let mut aborted = BTreeSet::new();
        for batch in batches(&result.bytes) {
            let batch = batch.unwrap();
            let header = *batch.header();
            next = header.next_offset();
            while waiting
                .first()
                .is_some_and(|one| one.first_offset <= header.last_offset())
            {
                aborted.insert(waiting.remove(0).producer_id);
            }
            let records = batch.records(1 << 20).unwrap();
            if header.is_control() {
                for record in records.iter() {
                    let control = ControlRecord::parse(&record.unwrap()).unwrap();
                    if control.marker() == Some(Marker::Abort) {
                        aborted.remove(&header.producer_id);
                    }
                }
                continue;
            }
            if header.is_transactional() && aborted.contains(&header.producer_id) {
                continue;
            }
            for record in records.iter() {
                let record = record.unwrap();
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let key = text(record.key.unwrap());
                found.push((record.offset, key, record.value.map(text), record.timestamp));
            }
        }
    }
}
