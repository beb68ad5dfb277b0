//! What was appended to a compacted log, and what must be left of it.

mod live;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use millstream_log::testing::{ManualClock, SimFs};
use millstream_log::{
    AbortedTxn, CleanerOptions, CleanupPolicy, FlushMode, Isolation, Log, LogConfig, LogId,
    LogStore, StoreOptions,
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
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub passes: u64,
    pub crashes: u64,
    pub aborted: u64,
    pub committed: u64,
    pub dropped: u64,
    pub dropped_tombstones: u64,
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
            seen: Seen::default(),
        }
    }

    pub fn open(&self) -> (Arc<LogStore>, Arc<Log>) {
        let options = StoreOptions {
            fs: Arc::new(self.fs.clone()),
            clock: Arc::clone(&self.clock) as _,
            journal_file_bytes_max: 16 << 10,
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
    let mut found = Vec::new();
    let mut next = log.offsets().log_start;
    loop {
        let result = log.read(next, 700, Isolation::Committed, true).unwrap();
        if result.bytes.is_empty() {
            return found;
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
