//! Damaged logs before and after a repair.

mod crashes;
mod losses;
mod refusals;
mod transactions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_records::{BatchHeader, HEADER_LEN, batches};

use super::{RepairTarget, Repaired, examine, repair};
use crate::fs::{FileSystem, OpenMode};
use crate::inspect::{Report, verify};
use crate::log::test_support::{NOW_MS, Rig, append, flush, id, options};
use crate::testing::{ManualClock, SimFs};
use crate::{FlushMode, Isolation, Log, LogConfig, LogStore};

const PARTITION: &str = "/data/flights-0";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Closed,
    Killed,
}

const ALL: [(FlushMode, Stop); 4] = [
    (FlushMode::Journal, Stop::Closed),
    (FlushMode::Journal, Stop::Killed),
    (FlushMode::Os, Stop::Closed),
    (FlushMode::Os, Stop::Killed),
];

fn small_segments() -> LogConfig {
    LogConfig {
        segment_bytes: 400,
        index_interval_bytes: 100,
        ..LogConfig::default()
    }
}

/// A node's disk with a small log in several segments, and what is in it.
struct Scene {
    fs: SimFs,
    mode: FlushMode,
    /// Values by their offsets.
    records: BTreeMap<i64, String>,
    /// By file: position, first offset and the offset behind of each batch.
    batches: BTreeMap<PathBuf, Vec<(u64, i64, i64)>>,
    /// What lies behind is in the journal, or nowhere else.
    synced_end: i64,
}

impl Scene {
    fn new(mode: FlushMode, stop: Stop) -> Self {
        let rig = Rig::new(mode);
        let log = rig.log_with(0, small_segments());
        for number in 0..12 {
            let values = [format!("a {number}"), format!("b {number}")];
            append(&log, &[&*values[0], &*values[1]]);
            append(&log, &[&*format!("c {number}")]);
        }
        rig.store.checkpoint().unwrap();
        let synced_end = log.offsets().log_end;
        if stop == Stop::Killed {
            for number in 0..4 {
                flush(&rig.store, &append(&log, &[&*format!("late {number}")]));
            }
        }
        let mut scene = Self {
            fs: SimFs::new(0),
            mode,
            records: values_of(&log),
            batches: BTreeMap::new(),
            synced_end,
        };
        drop(log);
        if stop == Stop::Closed {
            rig.store.close_blocking().unwrap();
        }
        scene.fs = rig.fs.kill(1);
        scene.note_batches();
        scene
    }

    fn note_batches(&mut self) {
        for path in self.fs.files_below(Path::new(PARTITION)).unwrap() {
            if path.extension().is_none_or(|end| end != "log") {
                continue;
            }
            let bytes = self.fs.read(&path, 1 << 20).unwrap();
            let mut found = Vec::new();
            let mut at = 0;
            while at + HEADER_LEN <= bytes.len() {
                let header = BatchHeader::parse(&bytes[at..]).unwrap();
                found.push((at as u64, header.base_offset, header.next_offset()));
                at += header.size_in_bytes();
            }
            self.batches.insert(path, found);
        }
        assert!(self.batches.len() > 2, "{:?}", self.batches);
    }

    fn log_end(&self) -> i64 {
        self.records.keys().last().unwrap() + 1
    }

    /// A copy of the disk, to be damaged.
    fn disk(&self) -> Arc<SimFs> {
        Arc::new(self.fs.kill(1))
    }

    /// The log must have all but these offsets, and go on behind all that it ever had.
    fn check(&self, fs: &Arc<SimFs>, lost: &[std::ops::Range<i64>], case: &str) {
        let (store, report) = open(fs, self.mode);
        assert_eq!(report.problems, [], "{case}");
        let log = store.create_log(id(0), small_segments()).unwrap();
        assert_eq!(log.look_for_damage().unwrap().len(), 0, "{case}");
        let mut expected = self.records.clone();
        expected.retain(|offset, _| !lost.iter().any(|range| range.contains(offset)));
        assert_eq!(values_of(&log), expected, "{case}");
        let offsets: Vec<_> = log
            .accepted_losses()
            .into_iter()
            .map(|loss| loss.offsets)
            .collect();
        assert_eq!(offsets, lost, "{case}");
        // Every offset leads to a record that is there, also a lost one.
        for offset in 0..self.log_end() {
            let read = log.read(offset, 1, Isolation::Uncommitted, true);
            assert!(!read.unwrap().bytes.is_empty(), "{case}: offset {offset}");
        }
        assert_eq!(append(&log, &["on"]).base_offset, self.log_end(), "{case}");
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(NOW_MS))
}

fn open(fs: &Arc<SimFs>, mode: FlushMode) -> (Arc<LogStore>, crate::RecoveryReport) {
    LogStore::open(options(fs, &clock(), mode)).unwrap()
}

fn target(fs: &Arc<SimFs>) -> RepairTarget {
    RepairTarget {
        fs: Arc::clone(fs) as _,
        clock: clock(),
        dir: PathBuf::from("/data"),
        log: "flights-0".to_owned(),
        metadata_log: None,
    }
}

fn offsets_of(repaired: &Repaired) -> Vec<std::ops::Range<i64>> {
    let losses = repaired.losses.iter();
    losses.map(|loss| loss.offsets.clone()).collect()
}

fn verified(fs: &Arc<SimFs>) -> Report {
    let fs: Arc<dyn FileSystem> = Arc::clone(fs) as _;
    verify(&fs, Path::new("/data"), true).unwrap()
}

/// Flips a bit of the batch's records, which the checksum covers.
fn flip(fs: &SimFs, path: &Path, batch_at: u64) {
    let at = batch_at + HEADER_LEN as u64 + 3;
    let mut byte = [0];
    let file = fs.open(path, OpenMode::Read).unwrap();
    file.read_exact_at(&mut byte, at).unwrap();
    fs.damage(path, at, &[byte[0] ^ 0x10]);
}

fn values_of(log: &Log) -> BTreeMap<i64, String> {
    let (mut next, mut found) = (log.offsets().log_start, BTreeMap::new());
    while next < log.offsets().log_end {
        let read = log.read(next, 1, Isolation::LogEnd, true).unwrap();
        for batch in batches(&read.bytes) {
            next = batch.unwrap().header().next_offset();
        }
        found.extend(values_in(&read.bytes));
    }
    found
}

/// Values of records by their offsets.
fn values_in(bytes: &[u8]) -> BTreeMap<i64, String> {
    let mut found = BTreeMap::new();
    for batch in batches(bytes) {
        let batch = batch.unwrap();
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records(1 << 20).unwrap().iter() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            found.insert(record.offset, value);
        }
    }
    found
}
