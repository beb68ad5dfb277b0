//! Files that are not what was written: whatever a start makes of them, no wrong byte is served, nothing aborted is
//! shown, and what is lost is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_records::{BatchHeader, Marker, batches};

use super::support::*;
use crate::fs::{FileSystem, OpenMode};
use crate::testing::SimFs;
use crate::{FlushMode, Isolation, Log, LogConfig, LogStore, ReadError, RecoveryReport};

/// How a node was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Closed,
    /// Killed, with some batches behind its last checkpoint.
    Killed,
}

/// A disk, and what a log on it said before anything was damaged.
struct Golden {
    fs: SimFs,
    mode: FlushMode,
    clock: Arc<crate::testing::ManualClock>,
    /// Every batch by its base offset.
    batches: BTreeMap<i64, Bytes>,
    /// Producers that aborted, by the offset of what they wrote.
    aborted: BTreeMap<i64, i64>,
    stop: Stop,
    log_end: i64,
    /// What lies behind is not synced.
    synced_end: i64,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 450,
        index_interval_bytes: 150,
        ..LogConfig::default()
    }
}

impl Golden {
    fn new(mode: FlushMode, stop: Stop) -> Self {
        let rig = Rig::new(mode);
        let log = rig.log_with(0, config());
        let fill = |from: i64, to: i64| {
            for number in from..to {
                let value = [&*format!("value {number}")];
                append(&log, &value);
                produce(&log, &value, (number, 0, 0), true).unwrap();
                let marker = if number % 2 == 0 {
                    Marker::Abort
                } else {
                    Marker::Commit
                };
                let last = log.append_marker(marker, number, 0, 0, 0).unwrap();
                flush(&rig.store, &last);
                rig.clock.advance(std::time::Duration::from_millis(1));
            }
        };
        fill(0, 6);
        rig.store.checkpoint().unwrap();
        let synced_end = log.offsets().log_end;
        if stop == Stop::Killed {
            fill(6, 8);
        }
        let mut golden = Self {
            fs: SimFs::new(0),
            mode,
            clock: Arc::clone(&rig.clock),
            batches: BTreeMap::new(),
            aborted: BTreeMap::new(),
            stop,
            log_end: log.offsets().log_end,
            synced_end,
        };
        for offset in 0..golden.log_end {
            let read = log.read(offset, 1, Isolation::Committed, true).unwrap();
            let producer = offset / 3;
            let is_told = |pid| read.aborted.iter().any(|one| one.producer_id == pid);
            if offset % 3 == 1 && producer % 2 == 0 {
                assert!(is_told(producer));
                golden.aborted.insert(offset, producer);
            }
            golden.batches.insert(offset, read.bytes);
        }
        assert!(log.segments.read().len() >= 3);
        drop(log);
        if stop == Stop::Closed {
            rig.store.close_blocking().unwrap();
            golden.synced_end = golden.log_end;
        }
        golden.fs = rig.fs.kill(1);
        golden
    }

    /// A copy of the disk, to be damaged.
    fn disk(&self) -> Arc<SimFs> {
        Arc::new(self.fs.kill(1))
    }

    fn open(&self, fs: &Arc<SimFs>) -> Result<(Arc<LogStore>, RecoveryReport), crate::StoreError> {
        LogStore::open(options(fs, &self.clock, self.mode))
    }

    /// Opens the damaged disk and asks everything. The damage is in `path`.
    fn check(&self, fs: &Arc<SimFs>, path: &Path, case: &str) -> Outcome {
        let (store, report) = match self.open(fs) {
            Ok(opened) => opened,
            Err(error) => {
                let text = error.to_string();
                let name = path.file_name().unwrap().to_str().unwrap();
                let dir = path.parent().unwrap().to_str().unwrap();
                assert!(
                    text.contains(name) || text.contains(dir),
                    "{case}: refused without saying where: {text}"
                );
                return Outcome::Refused;
            }
        };
        let Some(log) = store.get(&id(0).topic_id, 0) else {
            assert!(
                !report.problems.is_empty(),
                "{case}: a log is gone silently"
            );
            return Outcome::Refused;
        };
        let mut lost = 0;
        let log_end = log.offsets().log_end;
        if log_end < self.log_end {
            // Neither a file that ends with a whole batch nor the journal's last group tells that there was more.
            let may_be_silent = self.stop == Stop::Killed
                && (self.mode == FlushMode::Os
                    || (extension(path) == "journal" && log_end + 3 >= self.log_end));
            assert!(
                !report.problems.is_empty() || may_be_silent,
                "{case}: {log_end}, {report:?}"
            );
            assert!(
                log_end >= self.synced_end,
                "{case}: synced offsets are gone: {report:?}"
            );
            lost += self.log_end - log_end;
        }
        for offset in 0..log_end {
            lost += i64::from(!self.check_offset(&log, offset, log_end, case));
        }
        self.check_times(&log, case);
        // A log that was damaged still takes appends, behind all that it ever had.
        let mut batch = batch_of(&["on"], None, false);
        let epoch = log.leader_epoch().unwrap_or(0);
        let next = log.append(&mut batch, crate::AppendOptions::client(epoch));
        assert_eq!(next.expect(case).base_offset, log_end, "{case}");
        if extension(path) == "log" && self.mode == FlushMode::Journal {
            store.scrub();
            for offset in 0..log_end {
                self.check_offset(&log, offset, log_end, &format!("{case}, scrubbed"));
            }
        }
        if lost == 0 {
            Outcome::Whole
        } else {
            Outcome::Lost(lost)
        }
    }

    /// False when the offset cannot be read.
    fn check_offset(&self, log: &Log, offset: i64, log_end: i64, case: &str) -> bool {
        let case = format!("{case}: offset {offset}");
        let plain = log.read(offset, 400, Isolation::LogEnd, true);
        let is_readable = match plain {
            Ok(read) => {
                self.check_bytes(&read.bytes, offset, log_end, &case);
                true
            }
            Err(ReadError::Corrupt { path, reason, .. }) => {
                assert!(path.starts_with("/data/flights-0"), "{case}: {reason}");
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
                    let is_aborted = self.aborted.contains_key(&header.base_offset);
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
        assert_eq!(first.base_offset, offset, "{case}: another batch is served");
        for batch in batches(bytes) {
            let batch = batch.expect(case);
            let base = batch.header().base_offset;
            if base >= log_end {
                continue;
            }
            let mut found = batch.bytes().to_vec();
            let expected = &self.batches[&base];
            if self.mode == FlushMode::Os && base >= self.synced_end {
                // Nothing but the batch itself tells the leader epoch of what was never synced.
                let epoch = BatchHeader::parse(expected).expect(case).leader_epoch;
                millstream_records::patch::set_leader_epoch(&mut found, epoch);
            }
            assert_eq!(found, *expected, "{case}: wrong bytes");
        }
    }

    fn check_times(&self, log: &Log, case: &str) {
        match log.offset_for_timestamp(NOW_MS, Isolation::LogEnd) {
            Ok(found) => assert_eq!(found.map(|found| found.offset), Some(0), "{case}"),
            Err(ReadError::Corrupt { .. }) => {}
            Err(error) => panic!("{case}: {error}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing is missing.
    Whole,
    /// So many offsets cannot be read.
    Lost(i64),
    Refused,
}

/// What went wrong, case by case: one bad byte shall not hide the others.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    /// Runs a check of one case, which may panic.
    fn run(&mut self, case: &str, check: impl FnOnce()) {
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)) {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            self.0.push(format!("{case}: {}", text.unwrap_or_default()));
        }
    }
}

impl Drop for Failures {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.0.is_empty() {
            let shown = self.0[..self.0.len().min(12)].join("\n\n");
            panic!("{} cases failed:\n{shown}", self.0.len());
        }
    }
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|end| end.to_str()).unwrap_or("")
}

/// Where the journal has what no checkpoint has.
const JOURNAL_COUNTS: (FlushMode, Stop) = (FlushMode::Journal, Stop::Killed);

const CASES: [(FlushMode, Stop); 4] = [
    (FlushMode::Journal, Stop::Closed),
    (FlushMode::Journal, Stop::Killed),
    (FlushMode::Os, Stop::Closed),
    (FlushMode::Os, Stop::Killed),
];

/// All but a closed directory without a journal, which is opened as one with a journal is.
const FLIP_CASES: [(FlushMode, Stop); 3] = [CASES[0], CASES[1], CASES[3]];

#[test]
fn a_flipped_bit_anywhere_is_repaired_or_refused_or_costs_its_batch() {
    let mut failures = Failures::default();
    for (mode, stop) in FLIP_CASES {
        let golden = Golden::new(mode, stop);
        let mut kinds = BTreeMap::new();
        for path in golden.fs.files_below(Path::new("/data")).unwrap() {
            if extension(&path) == "journal" && (mode, stop) != JOURNAL_COUNTS {
                continue;
            }
            let bytes = golden.disk().read(&path, 1 << 30).unwrap();
            // A journal is mostly room for what comes.
            let used = bytes.iter().rposition(|byte| *byte != 0);
            for (at, byte) in bytes[..used.map_or(0, |at| at + 1)].iter().enumerate() {
                let fs = golden.disk();
                fs.damage(&path, at as u64, &[byte ^ (1 << (at % 8))]);
                let case = format!("{mode} {stop:?}: {} byte {at}", path.display());
                let kind = extension(&path);
                failures.run(&case, || {
                    let outcome = golden.check(&fs, &path, &case);
                    match kind {
                        "log" => assert_ne!(outcome, Outcome::Refused),
                        "index" | "timeindex" | "txnindex" | "checksums" | "snapshot" => {
                            assert_eq!(outcome, Outcome::Whole);
                        }
                        _ => {}
                    }
                    if let ("log", Outcome::Lost(lost), Stop::Closed) = (kind, outcome, stop) {
                        assert_eq!(lost, 1, "a flip costs one batch");
                    }
                });
                *kinds.entry(kind.to_owned()).or_insert(0) += 1;
            }
        }
        assert!(kinds["log"] > 1000 && kinds["txnindex"] > 60, "{kinds:?}");
    }
}

#[test]
fn a_file_that_ends_at_any_byte_keeps_what_it_has() {
    let mut failures = Failures::default();
    for (mode, stop) in CASES {
        let golden = Golden::new(mode, stop);
        for path in golden.fs.files_below(Path::new("/data/flights-0")).unwrap() {
            let len = golden.disk().metadata(&path).unwrap().len;
            for end in 0..len {
                let fs = golden.disk();
                let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
                file.set_len(end).unwrap();
                file.sync_all().unwrap();
                drop(file);
                let case = format!("{mode} {stop:?}: {} with {end} bytes", path.display());
                failures.run(&case, || {
                    let outcome = golden.check(&fs, &path, &case);
                    match extension(&path) {
                        "log" => assert_ne!(outcome, Outcome::Refused),
                        "metadata" => {}
                        _ => assert_eq!(outcome, Outcome::Whole),
                    }
                });
            }
        }
    }
}

#[test]
fn zeroed_blocks_and_missing_and_stray_files_are_survived() {
    let mut failures = Failures::default();
    for (mode, stop) in CASES {
        let golden = Golden::new(mode, stop);
        for path in golden.fs.files_below(Path::new("/data")).unwrap() {
            let len = golden.disk().metadata(&path).unwrap().len;
            let name = path.display();
            for at in (0..len.min(16 << 10)).step_by(64) {
                let fs = golden.disk();
                fs.damage(&path, at, &vec![0; 64.min((len - at) as usize)]);
                let case = format!("{mode} {stop:?}: {name} zeros at {at}");
                failures.run(&case, || {
                    golden.check(&fs, &path, &case);
                });
            }
            // What is not there at all says less than what is damaged: a journal or a checkpoint that is gone looks
            // like another directory.
            if path.starts_with("/data/flights-0") && extension(&path) != "log" {
                let fs = golden.disk();
                fs.remove_file(&path).unwrap();
                let case = format!("{mode} {stop:?}: without {name}");
                failures.run(&case, || {
                    let outcome = golden.check(&fs, &path, &case);
                    assert!(outcome == Outcome::Whole || extension(&path) == "metadata");
                });
            }
        }
        let fs = golden.disk();
        let strays = [
            "flights-0/00000000000000000003.index",
            "flights-0/99999999999999999999.log",
            "flights-0/00000000000000000000.log.tmp",
            "flights-0/core",
            "not-a-partition/file",
            "flights-x/00000000000000000000.log",
            "journal/notes.txt",
            "stray.file",
        ];
        for stray in strays {
            let path = Path::new("/data").join(stray);
            fs.create_dir_all(path.parent().unwrap()).unwrap();
            let file = fs.open(&path, OpenMode::Create).unwrap();
            file.write_at(b"nothing of ours", 0).unwrap();
        }
        let outcome = golden.check(
            &fs,
            Path::new("/data/x"),
            &format!("{mode} {stop:?}: strays"),
        );
        assert_eq!(outcome, Outcome::Whole);
    }
}

#[test]
fn an_index_that_points_behind_the_end_is_not_followed() {
    for (mode, stop) in CASES {
        let golden = Golden::new(mode, stop);
        for path in golden.fs.files_below(Path::new("/data/flights-0")).unwrap() {
            let entry: Vec<u8> = match extension(&path) {
                "index" => [1_i32, i32::MAX]
                    .iter()
                    .flat_map(|n| n.to_be_bytes())
                    .collect(),
                "timeindex" => {
                    let timestamp = (NOW_MS - 5).to_be_bytes();
                    timestamp
                        .into_iter()
                        .chain(i32::MAX.to_be_bytes())
                        .collect()
                }
                "txnindex" => vec![0xff; 34],
                _ => continue,
            };
            let fs = golden.disk();
            fs.damage(&path, 0, &entry);
            let case = format!("{mode} {stop:?}: {}", path.display());
            assert_eq!(golden.check(&fs, &path, &case), Outcome::Whole, "{case}");
        }
    }
}

#[test]
fn the_scrub_finds_what_decays_while_the_node_runs() {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, config());
    for number in 0..30 {
        append(&log, &[&format!("value {number}")]);
    }
    assert_eq!(rig.store.scrub(), []);
    let stats = rig.store.scrub_stats();
    assert_eq!((stats.passes, stats.damaged_regions), (1, 0));
    assert!(stats.segments >= 2 && stats.bytes > 1000, "{stats:?}");
    assert_eq!(stats.last_pass_ms, Some(NOW_MS));
    let path = PathBuf::from("/data/flights-0/00000000000000000000.log");
    rig.fs.damage(&path, 100, &[0xff]);
    let found = rig.store.scrub();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].path.clone(), found[0].offsets.clone()),
        (path, 1..2)
    );
    assert_eq!(
        rig.store.scrub(),
        found,
        "known damage is not counted twice"
    );
    assert_eq!(rig.store.scrub_stats().damaged_regions, 1);
    let refused = log.read(1, 100, Isolation::LogEnd, true).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("offsets 1 to 1 cannot be read"),
        "{refused}"
    );
    assert_eq!(values_from(&log, 2, Isolation::LogEnd).len(), 28);
    // An index that decays is made anew.
    let index = PathBuf::from("/data/flights-0/00000000000000000000.index");
    let before = rig.fs.read(&index, 1 << 20).unwrap();
    rig.fs.damage(&index, 0, &[0x7f]);
    rig.store.scrub();
    assert_eq!(rig.fs.read(&index, 1 << 20).unwrap().len(), before.len());
    assert_ne!(rig.fs.read(&index, 1 << 20).unwrap()[0], 0x7f);
}
