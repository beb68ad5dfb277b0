//! Files of a compaction that a crash has cut short, and what became of them since: whatever a start makes of it, the
//! log is the one before the pass or the one behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use millstream_records::{BatchHeader, Compression};

use super::Failures;
use super::content::{Content, config, keyed};
use super::golden::PARTITION;
use crate::fs::{FileSystem, OpenMode};
use crate::log::test_support::*;
use crate::segment::{SegmentFile, Suffix, path_of, path_with};
use crate::testing::{ManualClock, SimFs};
use crate::{AppendOptions, FlushMode, Isolation, LogStore, ReadError};

/// What a reader gets: the batches by their base offsets.
type View = BTreeMap<i64, Bytes>;

/// The disk of a node that was closed before a pass of the cleaner, and behind it.
struct Leftovers {
    clock: Arc<ManualClock>,
    before: SimFs,
    after: SimFs,
    views: [View; 2],
    /// The first compacted segment covers the offsets below.
    end: i64,
}

/// How far the swap of the first segment had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    /// The compacted segment may not be whole.
    Cleaned,
    /// It is, and all segments that it was made of are there.
    Swap,
    /// They have got other names.
    Renamed,
}

impl Leftovers {
    fn new() -> Self {
        let rig = Rig::new(FlushMode::Journal);
        let log = rig.log_with(0, config(Content::Compacted));
        for number in 0..40 {
            let key = format!("key-{}", number % 5);
            let mut batch = keyed(&[(&key, Some("value"))], None, Compression::None);
            log.append(&mut batch, AppendOptions::client(0)).unwrap();
        }
        log.roll_active().unwrap();
        drop(log);
        rig.store.close_blocking().unwrap();
        let before = rig.fs.kill(1);
        let fs = Arc::new(before.kill(1));
        let (store, _) = LogStore::open(options(&fs, &rig.clock, rig.flush)).unwrap();
        let log = store.get(&id(0).topic_id, 0).unwrap();
        log.set_config(config(Content::Compacted));
        assert!(store.clean_dirtiest().unwrap().is_some());
        store.remove_deleted_files();
        let end = log.segments.read()[1].base_offset();
        drop(log);
        store.close_blocking().unwrap();
        let after = fs.kill(1);
        let mut leftovers = Self {
            clock: Arc::clone(&rig.clock),
            before,
            after,
            views: [View::new(), View::new()],
            end,
        };
        for index in 0..2 {
            let fs = [&leftovers.before, &leftovers.after][index].kill(1);
            let (view, refused) = leftovers.read(&Arc::new(fs));
            assert!(refused.is_empty());
            leftovers.views[index] = view;
        }
        let [before, after] = &leftovers.views;
        assert!(after.range(..end).count() < before.range(..end).count());
        leftovers
    }

    /// The disk as the crash has left it.
    fn disk(&self, crash: Crash) -> Arc<SimFs> {
        let fs = Arc::new(self.before.kill(1));
        let after = self.after.kill(1);
        let dir = Path::new(PARTITION);
        let suffix = match crash {
            Crash::Cleaned => Suffix::Cleaned,
            Crash::Swap | Crash::Renamed => Suffix::Swap,
        };
        for kind in SegmentFile::ALL {
            // The snapshot at its base offset stays where it is.
            if kind == SegmentFile::ProducerSnapshot {
                continue;
            }
            if let Ok(bytes) = after.read(&path_of(dir, 0, kind), 1 << 20) {
                let file = fs.open(&path_with(dir, 0, kind, suffix), OpenMode::CreateNew);
                let file = file.unwrap();
                file.write_at(&bytes, 0).unwrap();
                file.sync_all().unwrap();
            }
        }
        if crash == Crash::Renamed {
            for entry in fs.read_dir(dir).unwrap() {
                if let Some((kind, base)) = SegmentFile::parse(&entry.name)
                    && base < self.end
                    && (base, kind) != (0, SegmentFile::ProducerSnapshot)
                {
                    let gone = path_with(dir, base, kind, Suffix::Deleted(0));
                    fs.rename(&path_of(dir, base, kind), &gone).unwrap();
                }
            }
        }
        fs.sync_dir(dir).unwrap();
        fs
    }

    /// All batches, and the offsets that are refused.
    fn read(&self, fs: &Arc<SimFs>) -> (View, BTreeSet<i64>) {
        let (store, _) = LogStore::open(options(fs, &self.clock, FlushMode::Journal)).unwrap();
        let log = store.get(&id(0).topic_id, 0).unwrap();
        let (mut view, mut refused) = (View::new(), BTreeSet::new());
        let mut next = 0;
        assert_eq!(log.offsets().log_end, 40);
        while next < 40 {
            match log.read(next, 1, Isolation::LogEnd, true) {
                Ok(read) => {
                    let header = BatchHeader::parse(&read.bytes).unwrap();
                    next = header.next_offset();
                    view.insert(header.base_offset, read.bytes);
                }
                Err(ReadError::Corrupt { .. }) => {
                    refused.insert(next);
                    next += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        (view, refused)
    }

    fn check(&self, fs: &Arc<SimFs>, crash: Crash) {
        let (view, refused) = self.read(fs);
        let behind = |view: &View| view.range(self.end..).map(|one| *one.0).collect::<Vec<_>>();
        assert_eq!(behind(&view), behind(&self.views[0]), "other segments");
        let part = |view: &View| -> View {
            let batches = view.range(..self.end);
            batches
                .map(|(base, bytes)| (*base, bytes.clone()))
                .collect()
        };
        let [before, after] = [part(&self.views[0]), part(&self.views[1])];
        let found = part(&view);
        match crash {
            Crash::Cleaned => assert_eq!(found, before),
            Crash::Swap => assert!(found == before || found == after, "{:?}", found.keys()),
            Crash::Renamed => {
                // What is damaged is refused, the rest is the compacted log's.
                let lost = after.keys().filter(|base| !found.contains_key(base));
                for base in lost {
                    assert!(refused.contains(base), "{base} is lost silently");
                }
                assert!(
                    found
                        .iter()
                        .all(|(base, bytes)| after.get(base) == Some(bytes))
                );
                assert!(after.len() - found.len() <= 1, "{refused:?}");
            }
        }
        if crash != Crash::Renamed {
            assert!(refused.is_empty(), "{refused:?}");
        }
    }
}

#[test]
fn a_swap_is_finished_or_undone_whatever_became_of_its_files() {
    let leftovers = Leftovers::new();
    let mut failures = Failures::default();
    for crash in [Crash::Cleaned, Crash::Swap, Crash::Renamed] {
        leftovers.check(&leftovers.disk(crash), crash);
        let dir = Path::new(PARTITION);
        let disk = leftovers.disk(crash);
        for entry in disk.read_dir(dir).unwrap() {
            let is_leftover = [".cleaned", ".swap", ".deleted"]
                .iter()
                .any(|end| entry.name.ends_with(end));
            if !is_leftover {
                continue;
            }
            let path = dir.join(&entry.name);
            let bytes = disk.read(&path, 1 << 20).unwrap();
            // What goes anyway need not be damaged everywhere.
            let step = if entry.name.ends_with(".swap") { 1 } else { 41 };
            for (at, byte) in bytes.iter().enumerate().step_by(step) {
                let flipped = leftovers.disk(crash);
                flipped.damage(&path, at as u64, &[byte ^ (1 << (at % 8))]);
                let case = format!("{crash:?}: {} byte {at}", entry.name);
                failures.run(&case, || leftovers.check(&flipped, crash));
                if crash == Crash::Renamed && entry.name.ends_with(".log.swap") {
                    continue;
                }
                let cut = leftovers.disk(crash);
                let file = cut.open(&path, OpenMode::ReadWrite).unwrap();
                file.set_len(at as u64).unwrap();
                file.sync_all().unwrap();
                let case = format!("{crash:?}: {} with {at} bytes", entry.name);
                failures.run(&case, || leftovers.check(&cut, crash));
            }
        }
    }
}
