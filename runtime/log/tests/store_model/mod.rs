//! What was appended to a store, in the order of the journal, and what must be there after a crash.

mod live;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use millstream_log::testing::{ManualClock, SimFs};
use millstream_log::{
    AppendOptions, FlushMode, Isolation, Log, LogConfig, LogId, LogStore, RecoveryReport,
    StoreError, StoreOptions,
};
use millstream_records::{BatchHeader, Marker, batches};
use uuid::Uuid;

pub const NOW_MS: i64 = 1_700_000_000_000;
/// Partitions that take data; one more takes the decisions of transactions.
pub const DATA_LOGS: i32 = 4;
pub const DECISIONS: i32 = DATA_LOGS;
/// The producer of transactions; the plain producer of partition p is `PLAIN + p`.
pub const TRANSACTIONAL: i64 = 77;
pub const PLAIN: i64 = 1000;

/// What an append meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// Data of the transaction with this number.
    Data(u64),
    Ended(u64, Marker),
}

/// One append that the store took.
#[derive(Debug, Clone)]
pub struct Entry {
    pub partition: i32,
    pub base_offset: i64,
    pub bytes: Vec<u8>,
    pub kind: Kind,
    pub acknowledged: bool,
}

/// All appends by their number in the journal.
#[derive(Debug)]
pub struct Model {
    pub seed: u64,
    pub entries: BTreeMap<u64, Entry>,
    pub next_transaction: u64,
    pub seen: Seen,
}

/// What the power cuts did, so that a test can tell that they did something.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub starts: u64,
    /// Entries that were acknowledged, or visible to readers, when the power went off, and those that were lost.
    pub acknowledged: u64,
    pub lost: u64,
    pub open_transactions: u64,
}

pub fn open(fs: &SimFs) -> Result<(Arc<LogStore>, RecoveryReport), StoreError> {
    LogStore::open(StoreOptions {
        fs: Arc::new(fs.clone()),
        clock: Arc::new(ManualClock::new(NOW_MS)),
        journal_file_bytes_max: 16 << 10,
        ..StoreOptions::new(Path::new("/data"), FlushMode::Journal)
    })
}

pub fn log_of(store: &LogStore, partition: i32) -> Result<Arc<Log>, StoreError> {
    let id = LogId {
        topic_id: Uuid::from_u128(7),
        topic: "flights".into(),
        partition,
    };
    let config = LogConfig {
        segment_bytes: 6000,
        index_interval_bytes: 300,
        ..LogConfig::default()
    };
    store.create_log(id, config)
}

impl Model {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            entries: BTreeMap::new(),
            next_transaction: 0,
            seen: Seen::default(),
        }
    }

    pub fn everything_is_acknowledged(&mut self) {
        for entry in self.entries.values_mut() {
            entry.acknowledged = true;
        }
    }

    /// Compares the store with the model, forgets what may be lost and is, and ends the transactions
    /// that were left open. An error says what differs, or that the disk cannot be read.
    pub fn compare(&mut self, store: &LogStore) -> Result<(), String> {
        let mut found = BTreeMap::new();
        for partition in 0..=DECISIONS {
            let Some(log) = store.get(&Uuid::from_u128(7), partition) else {
                continue;
            };
            let (content, _) = read_all(&log, Isolation::Uncommitted)?;
            let offsets = log.offsets();
            let end = content
                .last_key_value()
                .map_or(0, |(_, batch)| header(batch).next_offset());
            if (offsets.log_start, offsets.high_watermark, offsets.log_end) != (0, end, end) {
                return Err(format!(
                    "partition {partition} ends at {end}, but has {offsets:?}"
                ));
            }
            for (base_offset, bytes) in content {
                found.insert((partition, base_offset), bytes);
            }
        }
        self.compare_prefix(found)?;
        // What a start has found is durable, so the next one must find it too.
        self.everything_is_acknowledged();
        for partition in 0..=DECISIONS {
            if let Some(log) = store.get(&Uuid::from_u128(7), partition) {
                self.compare_transactions(&log, partition)?;
                self.compare_producer(&log, partition)?;
            }
        }
        Ok(())
    }

    /// The entries that are there are the first ones, whole, with every acknowledged one.
    fn compare_prefix(&mut self, mut found: BTreeMap<(i32, i64), Vec<u8>>) -> Result<(), String> {
        let mut lost = BTreeSet::new();
        let acknowledged = self
            .entries
            .values()
            .filter(|entry| entry.acknowledged)
            .count();
        self.seen.starts += 1;
        self.seen.acknowledged += acknowledged as u64;
        for (lsn, entry) in &self.entries {
            let key = (entry.partition, entry.base_offset);
            match found.remove(&key) {
                Some(bytes) if bytes == entry.bytes => {
                    if let Some(first) = lost.first() {
                        return Err(format!(
                            "entry {lsn} {key:?} survived, entry {first} before it did not"
                        ));
                    }
                }
                Some(_) => return Err(format!("entry {lsn} {key:?} is not what was appended")),
                None if entry.acknowledged => {
                    return Err(format!(
                        "entry {lsn} {key:?} was acknowledged and is lost: {:?}",
                        entry.kind
                    ));
                }
                None => {
                    lost.insert(*lsn);
                }
            }
        }
        if let Some((key, _)) = found.first_key_value() {
            return Err(format!(
                "a batch at {key:?} that was never appended, or lost before"
            ));
        }
        self.seen.lost += lost.len() as u64;
        self.entries.retain(|lsn, _| !lost.contains(lsn));
        Ok(())
    }

    /// `read_committed` readers see up to the first open transaction, and know the aborted ones.
    fn compare_transactions(&mut self, log: &Log, partition: i32) -> Result<(), String> {
        let open = self.open_transaction(partition);
        self.seen.open_transactions += u64::from(open.is_some());
        let end = log.offsets().log_end;
        let last_stable = open.map_or(end, |(first_offset, _)| first_offset);
        if log.offsets().last_stable != last_stable {
            let offsets = log.offsets();
            return Err(format!(
                "partition {partition}: expected last stable offset {last_stable}, found {offsets:?}"
            ));
        }
        let (_, aborted) = read_all(log, Isolation::Committed)?;
        let expected = self.aborted(partition);
        if aborted != expected {
            return Err(format!(
                "partition {partition}: aborted are {expected:?}, found {aborted:?}"
            ));
        }
        let ongoing = log.has_ongoing_transaction(TRANSACTIONAL, 0);
        if ongoing != open.is_some() {
            return Err(format!(
                "partition {partition}: open is {open:?}, the producer's state says {ongoing}"
            ));
        }
        Ok(())
    }

    /// A batch that is sent again is recognised; it gets the offset of then.
    fn compare_producer(&self, log: &Log, partition: i32) -> Result<(), String> {
        let plain = self
            .of_partition(partition)
            .filter(|entry| entry.kind == Kind::Plain);
        let Some(last) = plain.last() else {
            return Ok(());
        };
        let leader_epoch = log.leader_epoch().unwrap_or_default();
        let again = log.append(&mut last.bytes.clone(), AppendOptions::client(leader_epoch));
        match again {
            Ok(again) if again.duplicate && again.base_offset == last.base_offset => Ok(()),
            other => Err(format!(
                "partition {partition}: sent again, batch {} got {other:?}",
                last.base_offset
            )),
        }
    }

    fn of_partition(&self, partition: i32) -> impl Iterator<Item = &Entry> {
        self.entries
            .values()
            .filter(move |entry| entry.partition == partition)
    }

    /// First offset and number of the transaction that has data and no marker in the partition.
    pub fn open_transaction(&self, partition: i32) -> Option<(i64, u64)> {
        let mut open = None;
        for entry in self.of_partition(partition) {
            match entry.kind {
                Kind::Plain => {}
                Kind::Data(number) => open = open.or(Some((entry.base_offset, number))),
                Kind::Ended(..) => open = None,
            }
        }
        open
    }

    /// First offsets of the aborted transactions of the partition.
    fn aborted(&self, partition: i32) -> BTreeSet<i64> {
        let mut aborted = BTreeSet::new();
        let mut open = None;
        for entry in self.of_partition(partition) {
            match entry.kind {
                Kind::Plain => {}
                Kind::Data(_) => open = open.or(Some(entry.base_offset)),
                Kind::Ended(_, marker) => {
                    aborted.extend(open.take().filter(|_| marker == Marker::Abort));
                }
            }
        }
        aborted
    }

    /// The sequence that the producer's next batch in the partition must have.
    pub fn next_sequence(&self, partition: i32, producer_id: i64) -> i32 {
        let headers = self
            .of_partition(partition)
            .map(|entry| header(&entry.bytes));
        let of_producer =
            headers.filter(|header| header.producer_id == producer_id && !header.is_control());
        of_producer
            .last()
            .map_or(0, |last| last.last_sequence() + 1)
    }
}

pub fn header(bytes: &[u8]) -> BatchHeader {
    BatchHeader::parse(bytes).expect("the model holds whole batches")
}

/// Batches by base offset, and first offsets of aborted transactions.
type Content = (BTreeMap<i64, Vec<u8>>, BTreeSet<i64>);

/// The batches by base offset, each checked, and the first offsets of the aborted transactions.
fn read_all(log: &Log, isolation: Isolation) -> Result<Content, String> {
    let (mut content, mut aborted) = (BTreeMap::new(), BTreeSet::new());
    let mut next = log.offsets().log_start;
    loop {
        let read = log
            .read(next, 1500, isolation, true)
            .map_err(|error| format!("{error} ({error:?})"))?;
        if read.bytes.is_empty() {
            return Ok((content, aborted));
        }
        aborted.extend(read.aborted.iter().map(|one| one.first_offset));
        for batch in batches(&read.bytes) {
            let batch = batch.map_err(|error| error.to_string())?;
            batch.validate(1 << 20).map_err(|error| error.to_string())?;
            let header = batch.header();
            if header.base_offset != next {
                return Err(format!(
                    "a batch begins at {}, expected {next}",
                    header.base_offset
                ));
            }
            next = header.next_offset();
            content.insert(header.base_offset, batch.bytes().to_vec());
        }
    }
}
