//! Disks with small logs, and everything that was on them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_records::{BatchHeader, batches};

use super::content::{Content, config, fill};
use super::name;
use crate::fs::FileSystem;
use crate::log::test_support::*;
use crate::segment::{SegmentFile, path_of};
use crate::testing::{ManualClock, SimFs};
use crate::{
    AppendOptions, FlushMode, Isolation, Log, LogStore, ReadError, RecoveryReport, StoreError,
};

pub(super) const PARTITION: &str = "/data/flights-0";

/// How a node was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Closed,
    /// Killed, with some batches behind its last checkpoint.
    Killed,
}

pub(super) const ALL: [(Content, FlushMode, Stop); 8] = [
    (Content::Appended, FlushMode::Journal, Stop::Closed),
    (Content::Appended, FlushMode::Journal, Stop::Killed),
    (Content::Appended, FlushMode::Os, Stop::Closed),
    (Content::Appended, FlushMode::Os, Stop::Killed),
    (Content::Compacted, FlushMode::Journal, Stop::Closed),
    (Content::Compacted, FlushMode::Journal, Stop::Killed),
    (Content::Compacted, FlushMode::Os, Stop::Closed),
    (Content::Compacted, FlushMode::Os, Stop::Killed),
];

/// A batch that was on the disk.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    pub(super) header: BatchHeader,
    pub(super) is_aborted: bool,
}

/// A disk, and what a log on it said before anything was damaged.
pub(super) struct Golden {
    pub(super) fs: SimFs,
    pub(super) mode: FlushMode,
    pub(super) stop: Stop,
    clock: Arc<ManualClock>,
    /// By their base offsets.
    pub(super) batches: BTreeMap<i64, Batch>,
    /// Segment by segment, where each batch begins.
    positions: BTreeMap<PathBuf, BTreeMap<u64, i64>>,
    pub(super) log_start: i64,
    pub(super) log_end: i64,
    /// What lies behind is not synced.
    synced_end: i64,
    /// The segments before this base offset are rolled, and synced.
    pub(super) synced_base: i64,
}

/// What came of a damaged disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything reads as before.
    Whole,
    /// These batches cannot be read, and that is said.
    Lost(BTreeSet<i64>),
    /// The start, or the log, was refused, and the damage named.
    Refused,
}

impl Golden {
    pub(super) fn new(content: Content, mode: FlushMode, stop: Stop) -> Self {
        let rig = Rig::new(mode);
        let log = rig.log_with(0, config(content));
        match content {
            Content::Appended => fill(&rig, &log, 0..6),
            Content::Compacted => {
                fill(&rig, &log, 0..8);
                log.roll_active().unwrap();
                rig.store.checkpoint().unwrap();
                assert!(rig.store.clean_dirtiest().unwrap().is_some());
                log.advance_log_start(2).unwrap();
                rig.clock.advance(Duration::from_millis(2));
                rig.store.remove_deleted_files();
                fill(&rig, &log, 8..11);
            }
        }
        rig.store.checkpoint().unwrap();
        let synced_end = log.offsets().log_end;
        let active_base = |log: &Log| log.segments.read().last().unwrap().base_offset();
        let synced_base = active_base(&log);
        if stop == Stop::Killed {
            fill(&rig, &log, 11..13);
        }
        let mut golden = Self {
            fs: SimFs::new(0),
            mode,
            stop,
            clock: Arc::clone(&rig.clock),
            batches: BTreeMap::new(),
            positions: BTreeMap::new(),
            log_start: log.offsets().log_start,
            log_end: log.offsets().log_end,
            synced_end,
            synced_base,
        };
        golden.batches = batches_of(&log);
        assert!(golden.batches.values().any(|batch| batch.is_aborted));
        golden.note_positions(&log);
        assert!(log.segments.read().len() >= 3);
        if stop == Stop::Closed {
            golden.synced_base = active_base(&log);
        }
        drop(log);
        if stop == Stop::Closed {
            rig.store.close_blocking().unwrap();
            golden.synced_end = golden.log_end;
        }
        golden.fs = rig.fs.kill(1);
        golden
    }

    fn note_positions(&mut self, log: &Log) {
        for segment in log.segments.read().iter() {
            let mut position = 0;
            let mut starts = BTreeMap::new();
            while position < segment.size() {
                let mut bytes = [0; millstream_records::HEADER_LEN];
                segment.read_at(&mut bytes, position).unwrap();
                let header = BatchHeader::parse(&bytes).unwrap();
                starts.insert(position, header.base_offset);
                position += header.size_in_bytes() as u64;
            }
            self.positions.insert(segment.path(), starts);
        }
    }

    /// Where the batch lies that holds a byte of a segment, and its base offset.
    pub(super) fn batch_at(&self, path: &Path, byte: u64) -> (u64, i64) {
        let (position, base) = self.positions[path].range(..=byte).next_back().unwrap();
        (*position, *base)
    }

    pub(super) fn case(&self, path: &Path, what: &str) -> String {
        format!("{} {:?}: {} {what}", self.mode, self.stop, path.display())
    }

    /// The next byte to damage is so many behind the last: few disks have every byte damaged every time, all when
    /// `MILLSTREAM_DAMAGE_FULL` is set.
    pub(super) fn step(&self, path: &Path, is_full: bool) -> usize {
        let has_all = is_full
            || ["checksums", "journal"].contains(&super::extension(path))
            || std::env::var_os("MILLSTREAM_DAMAGE_FULL").is_some();
        if has_all { 1 } else { 7 }
    }

    /// A copy of the disk, to be damaged.
    pub(super) fn disk(&self) -> Arc<SimFs> {
        Arc::new(self.fs.kill(1))
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.fs.files_below(Path::new("/data")).unwrap()
    }

    /// What a file holds; of a journal, which is mostly room for what comes, what is used.
    pub(super) fn bytes(&self, path: &Path) -> Vec<u8> {
        let mut bytes = self.disk().read(path, 1 << 30).unwrap();
        if super::extension(path) == "journal" {
            let used = bytes.iter().rposition(|byte| *byte != 0);
            bytes.truncate(used.map_or(0, |last| last + 1));
        }
        bytes
    }

    pub(super) fn open(
        &self,
        fs: &Arc<SimFs>,
    ) -> Result<(Arc<LogStore>, RecoveryReport), StoreError> {
        LogStore::open(options(fs, &self.clock, self.mode))
    }

    /// Opens the damaged disk and asks everything. The damage is in `path`.
    pub(super) fn check(&self, fs: &Arc<SimFs>, path: &Path, case: &str) -> Outcome {
        let (store, report) = match self.open(fs) {
            Ok(opened) => opened,
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.contains(path.to_str().unwrap()) || text.contains(name(path)),
                    "{case}: refused without saying where: {text}"
                );
                return Outcome::Refused;
            }
        };
        let Some(log) = store.get(&id(0).topic_id, 0) else {
            let dir = path.parent().unwrap();
            let topic_id = crate::checkpoint::id_to_text(id(0).topic_id);
            assert!(
                report.problems.iter().any(|problem| {
                    problem.path.starts_with(dir) || problem.reason.contains(&topic_id)
                }),
                "{case}: a log is gone silently: {report:?}"
            );
            return Outcome::Refused;
        };
        self.check_log(&store, &log, &report, path, case)
    }

    fn check_log(
        &self,
        store: &Arc<LogStore>,
        log: &Log,
        report: &RecoveryReport,
        path: &Path,
        case: &str,
    ) -> Outcome {
        let log_end = log.offsets().log_end;
        assert_eq!(
            log.offsets().log_start,
            self.log_start,
            "{case}: {report:?}"
        );
        assert!(log_end <= self.log_end, "{case}: offsets that never were");
        if log_end < self.log_end {
            // Neither a file that ends with a whole batch nor the journal's last group tells that there was more.
            let may_be_silent = self.stop == Stop::Killed
                && (self.mode == FlushMode::Os
                    || (super::extension(path) == "journal" && log_end + 5 >= self.log_end));
            assert!(
                !report.problems.is_empty() || may_be_silent,
                "{case}: {log_end}, {report:?}"
            );
            assert!(
                log_end >= self.synced_end,
                "{case}: synced offsets are gone: {report:?}"
            );
        }
        let lost = self.check_all(log, log_end, path, case);
        self.check_times(log, case);
        // A log that was damaged still takes appends under the next leader, behind all that it ever had.
        let mut batch = batch_of(&["on"], None, false);
        let epoch = match (self.mode, self.stop) {
            // See `may_have_newer_epoch`.
            (FlushMode::Os, Stop::Killed) => log.leader_epoch().unwrap_or(0).max(9),
            _ => 9,
        };
        let next = log.append(&mut batch, AppendOptions::client(epoch));
        assert_eq!(next.expect(case).base_offset, log_end, "{case}");
        if super::extension(path) == "log" && self.mode == FlushMode::Journal {
            store.scrub();
            let case = format!("{case}, scrubbed");
            let again = self.check_all(log, log_end, path, &case);
            assert_eq!(again, lost, "{case}");
        }
        if lost.is_empty() {
            Outcome::Whole
        } else {
            Outcome::Lost(lost)
        }
    }

    /// Reads from every offset. Returns the batches that cannot be read.
    pub(super) fn check_all(
        &self,
        log: &Log,
        log_end: i64,
        path: &Path,
        case: &str,
    ) -> BTreeSet<i64> {
        let mut lost = BTreeSet::new();
        let mut next = self.log_start;
        for (base, batch) in &self.batches {
            let first = (*base).max(self.log_start);
            // Offsets that compaction left out lead to the batch behind them.
            if next < first {
                self.check_offset(log, next, log_end, path, case);
            }
            if !self.check_offset(log, first, log_end, path, case) {
                lost.insert(*base);
            }
            next = batch.header.next_offset();
        }
        lost
    }

    /// The batch that a reader at an offset must get.
    fn batch_of(&self, offset: i64) -> (i64, &Batch) {
        let (base, batch) = self
            .batches
            .iter()
            .find(|(_, batch)| batch.header.next_offset() > offset)
            .unwrap();
        (*base, batch)
    }

    /// False when the offset cannot be read.
    fn check_offset(&self, log: &Log, offset: i64, log_end: i64, path: &Path, case: &str) -> bool {
        if offset >= log_end {
            return false;
        }
        let case = format!("{case}: offset {offset}");
        let is_readable = match log.read(offset, 400, Isolation::LogEnd, true) {
            Ok(read) => {
                self.check_bytes(&read.bytes, offset, log_end, &case);
                true
            }
            Err(ReadError::Corrupt {
                path: found,
                reason,
                ..
            }) => {
                let is_segment = super::extension(path) == "log";
                assert!(
                    found == path || (!is_segment && found.starts_with(PARTITION)),
                    "{case}: {} is blamed: {reason}",
                    found.display()
                );
                false
            }
            Err(error) => panic!("{case}: {error}"),
        };
        match log.read(offset, 400, Isolation::Committed, true) {
            Ok(read) if read.bytes.is_empty() => {}
            Ok(read) => {
                self.check_bytes(&read.bytes, offset, log_end, &case);
                for batch in batches(&read.bytes) {
                    let header = *batch.unwrap().header();
                    if header.is_control() || header.base_offset >= log_end {
                        continue;
                    }
                    let is_hidden = read.aborted.iter().any(|one| {
                        one.producer_id == header.producer_id
                            && one.first_offset <= header.base_offset
                    });
                    let is_aborted = self.batches[&header.base_offset].is_aborted;
                    assert_eq!(is_hidden, is_aborted, "{case}: {header:?}");
                }
            }
            Err(ReadError::Corrupt { .. }) => {}
            Err(error) => panic!("{case}: {error}"),
        }
        is_readable
    }

    fn check_bytes(&self, bytes: &Bytes, offset: i64, log_end: i64, case: &str) {
        let first = BatchHeader::parse(bytes).expect(case);
        let (mut expected, _) = self.batch_of(offset);
        for batch in batches(bytes) {
            let batch = batch.expect(case);
            let base = batch.header().base_offset;
            if base >= log_end {
                continue;
            }
            assert_eq!(base, expected, "{case}: another batch is served: {first:?}");
            let golden = &self.batches[&base];
            assert_eq!(batch.bytes(), golden.bytes, "{case}: wrong bytes");
            let next = golden.header.next_offset();
            if next < self.log_end {
                expected = self.batch_of(next).0;
            }
        }
    }

    fn check_times(&self, log: &Log, case: &str) {
        // The first batch from the log's start on.
        let (_, first) = self.batches.iter().next().unwrap();
        let timestamp = first.header.max_timestamp;
        match log.offset_for_timestamp(NOW_MS, Isolation::LogEnd) {
            Ok(found) => {
                let found = found.expect(case);
                assert!(
                    self.batches.values().any(|batch| {
                        (batch.header.base_offset..batch.header.next_offset())
                            .contains(&found.offset)
                    }),
                    "{case}: {found:?}"
                );
                assert!(
                    found.timestamp <= timestamp.max(NOW_MS),
                    "{case}: {found:?}"
                );
            }
            Err(ReadError::Corrupt { .. }) => {}
            Err(error) => panic!("{case}: {error}"),
        }
    }
}

/// All batches that a reader meets.
fn batches_of(log: &Log) -> BTreeMap<i64, Batch> {
    let mut found = BTreeMap::new();
    let offsets = log.offsets();
    let mut next = offsets.log_start;
    while next < offsets.log_end {
        let read = log.read(next, 1, Isolation::Committed, true).unwrap();
        let header = BatchHeader::parse(&read.bytes).unwrap();
        let mut aborted = read.aborted.iter();
        let is_told = aborted.any(|one| one.producer_id == header.producer_id);
        let is_aborted = header.is_transactional() && !header.is_control() && is_told;
        assert!(!is_aborted || header.producer_id % 2 == 0);
        next = header.next_offset();
        let batch = Batch {
            bytes: read.bytes,
            header,
            is_aborted,
        };
        found.insert(header.base_offset, batch);
    }
    found
}

/// The file of a segment in the partition's directory.
pub(super) fn file_of(base_offset: i64, kind: SegmentFile) -> PathBuf {
    path_of(Path::new(PARTITION), base_offset, kind)
}
