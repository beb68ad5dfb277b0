//! Batches that do not belong where they say, in offsets that compaction left out: only the sidecar can tell.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_records::{BatchHeader, Compression, batches};

use super::content::{Content, config, keyed};
use super::golden::file_of;
use crate::cleaner::CleanError;
use crate::fs::{FileSystem, OpenMode};
use crate::inspect::verify;
use crate::log::test_support::*;
use crate::segment::{SegmentFile, Sidecar};
use crate::testing::SimFs;
use crate::{AppendOptions, FlushMode, Isolation, Log, LogStore, ReadError};

/// A disk with a compacted log, in whose first segment one batch is to move.
struct Moved {
    rig: Rig,
    mode: FlushMode,
    fs: SimFs,
    path: PathBuf,
    position: u64,
    header: BatchHeader,
    /// Where it says it belongs after one flipped bit: in the gap before it or behind it.
    base: i64,
}

impl Moved {
    fn new(mode: FlushMode) -> Self {
        let rig = Rig::new(mode);
        let log = rig.log_with(0, config(Content::Compacted));
        for number in 0..60 {
            let key = match number % 4 {
                1 => format!("own-{number}"),
                _ => format!("key-{}", number % 3),
            };
            let value = "v".repeat(20);
            let mut batch = keyed(&[(&key, Some(&value))], None, Compression::None);
            log.append(&mut batch, AppendOptions::client(3)).unwrap();
        }
        log.roll_active().unwrap();
        rig.store.flushed_blocking(log.last_lsn()).unwrap();
        rig.store.checkpoint().unwrap();
        assert!(rig.store.clean_dirtiest().unwrap().is_some());
        let path = file_of(0, SegmentFile::Log);
        let (position, header, base) = movable(&log);
        drop(log);
        rig.store.close_blocking().unwrap();
        let fs = rig.fs.kill(1);
        Self {
            rig,
            mode,
            fs,
            path,
            position,
            header,
            base,
        }
    }

    fn damaged(&self) -> Arc<SimFs> {
        let fs = Arc::new(self.fs.kill(1));
        fs.damage(&self.path, self.position, &self.base.to_be_bytes());
        fs
    }

    fn open(&self, fs: &Arc<SimFs>) -> (Arc<LogStore>, Arc<Log>) {
        let (store, report) = LogStore::open(options(fs, &self.rig.clock, self.mode)).unwrap();
        assert!(report.problems.is_empty(), "{report:?}");
        let log = store.get(&id(0).topic_id, 0).unwrap();
        (store, log)
    }

    /// Reads from `offset` to the log's end, around what is refused. Every batch must be where it was.
    fn read_all(&self, log: &Log, offset: i64, max_bytes: usize) {
        let mut next = offset;
        let mut is_refused = false;
        while next < log.offsets().log_end {
            match log.read(next, max_bytes, Isolation::LogEnd, true) {
                Ok(read) => {
                    for batch in batches(&read.bytes) {
                        let header = *batch.unwrap().header();
                        assert_ne!(header.crc, self.header.crc, "it is served: {header:?}");
                        next = header.next_offset();
                    }
                }
                Err(ReadError::Corrupt { path, position, .. }) => {
                    assert_eq!((&path, position), (&self.path, self.position));
                    is_refused = true;
                    next += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let is_behind = offset > self.header.base_offset.max(self.base);
        assert!(is_refused || is_behind, "from {offset}, {max_bytes} bytes");
        assert!(log.damages().len() <= 1, "{:?}", log.damages());
    }
}

/// A batch between two gaps: its position, its header and another base offset that would fit.
fn movable(log: &Log) -> (u64, BatchHeader, i64) {
    let segment = Arc::clone(&log.segments.read()[0]);
    let mut found = Vec::new();
    let mut position = 0;
    while position < segment.size() {
        let mut bytes = [0; millstream_records::HEADER_LEN];
        segment.read_at(&mut bytes, position).unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        found.push((position, header));
        position += header.size_in_bytes() as u64;
    }
    for three in found.windows(3) {
        let (position, header) = three[1];
        let room = three[0].1.next_offset()..three[2].1.base_offset;
        let mut others = (0..8).map(|bit| header.base_offset ^ (1 << bit));
        if let Some(base) = others.find(|base| room.contains(base)) {
            return (position, header, base);
        }
    }
    panic!("no batch can move: {found:?}");
}

#[test]
fn a_batch_that_moved_within_a_gap_is_never_served() {
    for mode in [FlushMode::Journal, FlushMode::Os] {
        let moved = Moved::new(mode);
        let fs = moved.damaged();
        for max_bytes in [1, 150, 400, 100_000] {
            let bases = [moved.header.base_offset, moved.base];
            for first in [0, bases[0].min(bases[1]), bases[0].max(bases[1])] {
                let (_store, log) = moved.open(&Arc::new(fs.kill(1)));
                moved.read_all(&log, first, max_bytes);
                moved.read_all(&log, 0, max_bytes);
            }
        }
    }
}

#[test]
fn it_is_found_by_the_scrub_and_by_a_verification_and_dumped_as_damage() {
    for mode in [FlushMode::Journal, FlushMode::Os] {
        let moved = Moved::new(mode);
        let fs = moved.damaged();
        let verified: Arc<dyn FileSystem> = moved.damaged();
        let found = verify(&verified, Path::new("/data"), true).unwrap().damages;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (&found[0].path, found[0].position),
            (&moved.path, moved.position)
        );
        let offsets = found[0].offsets.clone().unwrap();
        assert!(offsets.contains(&moved.header.base_offset));

        let (store, log) = moved.open(&fs);
        let found = store.scrub();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (&found[0].path, found[0].positions.start),
            (&moved.path, moved.position)
        );
        assert_eq!(found[0].offsets, offsets);
        assert_eq!(store.scrub(), found, "known damage is not counted twice");
        moved.read_all(&log, 0, 400);
    }
}

#[test]
fn a_pass_of_the_cleaner_does_not_make_it_true() {
    for mode in [FlushMode::Journal, FlushMode::Os] {
        let moved = Moved::new(mode);
        let fs = moved.damaged();
        let (store, log) = moved.open(&fs);
        log.set_config(config(Content::Compacted));
        let mut batch = keyed(&[("key-0", Some("new"))], None, Compression::None);
        log.append(&mut batch, AppendOptions::client(3)).unwrap();
        log.roll_active().unwrap();
        store.flushed_blocking(log.last_lsn()).unwrap();
        store.checkpoint().unwrap();
        let error = store.clean_dirtiest().unwrap_err();
        let CleanError::Damaged { path, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*path, moved.path);
        moved.read_all(&log, 0, 400);
    }
}

#[test]
fn a_sidecar_that_does_not_say_it_is_completed_by_the_scrub() {
    let moved = Moved::new(FlushMode::Journal);
    let sidecar = file_of(0, SegmentFile::Checksums);
    let read = |fs: &SimFs| Sidecar::read(fs, &sidecar).unwrap().unwrap();
    let full = read(&Arc::new(moved.fs.kill(1)));
    assert!(full.covers_all() && full.end_offset.is_some());
    // As the first version wrote it.
    let fs = Arc::new(moved.fs.kill(1));
    let text = String::from_utf8_lossy(&fs.read(&sidecar, 1 << 20).unwrap()).into_owned();
    let lines: Vec<&str> = text.lines().take(5).collect();
    let old = format!("1\n{}\n", lines[1..].join("\n"));
    let old = format!("{old}sum {:08x}\n", crc32c::crc32c(old.as_bytes()));
    let file = fs.open(&sidecar, OpenMode::ReadWrite).unwrap();
    file.set_len(0).unwrap();
    file.write_at(old.as_bytes(), 0).unwrap();
    file.sync_all().unwrap();
    assert!(!read(&fs).covers_all());
    {
        let (store, log) = moved.open(&fs);
        assert!(log.read(0, 1000, Isolation::LogEnd, true).is_ok());
        assert_eq!(store.scrub(), []);
    }
    let fs = Arc::new(fs.kill(1));
    assert_eq!(read(&fs).stretches, full.stretches);
    fs.damage(&moved.path, moved.position, &moved.base.to_be_bytes());
    let (store, _) = moved.open(&fs);
    assert_eq!(store.scrub().len(), 1);
}

#[test]
fn damaged_checksums_blame_no_batch() {
    let moved = Moved::new(FlushMode::Os);
    let sidecar = file_of(0, SegmentFile::Checksums);
    let sound = Arc::new(moved.fs.kill(1));
    let len = sound.metadata(&sidecar).unwrap().len;
    let (_store, log) = moved.open(&sound);
    let expected = log.read(0, 1, Isolation::LogEnd, true).unwrap().bytes;
    for at in 0..len {
        let fs = Arc::new(moved.fs.kill(1));
        let byte = fs.read(&sidecar, 1 << 20).unwrap()[at as usize];
        fs.damage(&sidecar, at, &[byte ^ 0x10]);
        let (store, log) = moved.open(&fs);
        let read = log.read(0, 1, Isolation::LogEnd, true).unwrap();
        assert_eq!(read.bytes, expected);
        assert_eq!(store.scrub(), [], "byte {at}");
    }
}
