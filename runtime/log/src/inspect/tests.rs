//! A verification finds every changed byte, and nothing where nothing is wrong.

use std::path::Path;
use std::sync::Arc;

use millstream_records::Marker;

use super::*;
use crate::fs::{FileSystem, OpenMode};
use crate::log::test_support::*;
use crate::testing::SimFs;
use crate::{FlushMode, LogConfig};

/// Small segments with plain records, committed and aborted transactions, all kinds of files.
fn filled(flush: FlushMode) -> Rig {
    let rig = Rig::new(flush);
    let config = LogConfig {
        segment_bytes: 450,
        index_interval_bytes: 100,
        ..LogConfig::default()
    };
    let log = rig.log_with(0, config);
    for number in 0..6 {
        let value = [&*format!("value {number}")];
        append(&log, &value);
        produce(&log, &value, (number, 0, 0), true).unwrap();
        let marker = if number % 2 == 0 {
            Marker::Abort
        } else {
            Marker::Commit
        };
        let last = log.append_marker(marker, number, 0, 0, 0).unwrap();
        flush_to(&rig, &last);
    }
    rig
}

fn flush_to(rig: &Rig, last: &crate::Appended) {
    flush(&rig.store, last);
}

fn report(fs: &Arc<SimFs>, path: &str) -> Report {
    let fs: Arc<dyn FileSystem> = Arc::clone(fs) as _;
    verify(&fs, Path::new(path), true).unwrap()
}

#[test]
fn sound_files_are_found_sound_after_any_stop_and_beside_a_running_node() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        for checkpointed in [false, true] {
            let rig = filled(mode);
            if checkpointed {
                rig.store.checkpoint().unwrap();
                let log = rig.log(0);
                let last = append(&log, &["behind the checkpoint"]);
                flush_to(&rig, &last);
            }
            let open = report(&rig.fs, "/data");
            assert_eq!((open.damages.as_slice(), open.is_open), (&[][..], true));
            assert_eq!(open.batches, if checkpointed { 19 } else { 18 });
            let killed = report(&Arc::new(rig.fs.kill(1)), "/data");
            assert_eq!(
                (killed.damages.as_slice(), killed.is_open),
                (&[][..], false)
            );
        }
        let rig = filled(mode);
        rig.store.close_blocking().unwrap();
        let Rig { fs, store, .. } = rig;
        drop(store);
        let closed = report(&fs, "/data");
        assert_eq!(closed.damages, []);
        assert_eq!(closed.unfinished, []);
        assert_eq!(
            (closed.partitions, closed.batches, closed.records),
            (1, 18, 18)
        );
        assert!(closed.segments > 2, "{closed:?}");
        let partition = report(&fs, "/data/flights-0");
        assert_eq!(
            Report {
                journal_entries: 0,
                ..closed
            },
            partition,
            "a partition alone is checked as well"
        );
    }
}

#[test]
fn every_flipped_byte_of_every_file_is_found_in_its_file() {
    let rig = filled(FlushMode::Journal);
    rig.store.close_blocking().unwrap();
    let Rig { fs, store, .. } = rig;
    drop(store);
    let mut checked = 0;
    for path in fs.files_below(Path::new("/data")).unwrap() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // Zeros that were reserved say nothing, and the marker of a clean stop says only that it is there.
        let bytes = fs.read(&path, 1 << 30).unwrap();
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        if name.starts_with('.') || name.ends_with(".journal") {
            continue;
        }
        for (at, byte) in bytes[..used].iter().enumerate() {
            fs.damage(&path, at as u64, &[byte ^ 0x04]);
            let found = report(&fs, "/data");
            fs.damage(&path, at as u64, &[*byte]);
            let is_text = FileKind::of(&path).is_some_and(|(kind, _)| {
                matches!(
                    kind,
                    FileKind::Offsets
                        | FileKind::MetaProperties
                        | FileKind::PartitionMetadata
                        | FileKind::LeaderEpochs
                )
            });
            if is_text {
                // A digit that became another digit cannot be told; what is no text or no number is.
                assert!(
                    found.damages.iter().all(|damage| damage.path == path
                        || path.ends_with("leader-epoch-checkpoint")
                        || path.ends_with("partition.metadata")),
                    "{name} byte {at}: {found:?}"
                );
                continue;
            }
            let first = found.damages.first();
            let is_named = found.damages.iter().any(|damage| damage.path == path);
            assert!(is_named, "{name} byte {at}: {first:?}");
            checked += 1;
        }
    }
    assert!(checked > 3_000, "{checked} bytes");
    assert_eq!(report(&fs, "/data").damages, []);
}

#[test]
fn a_flipped_byte_of_a_segment_costs_one_batch() {
    let rig = filled(FlushMode::Os);
    rig.store.close_blocking().unwrap();
    let Rig { fs, store, .. } = rig;
    drop(store);
    let path = PathBuf::from("/data/flights-0/00000000000000000000.log");
    let mut batches = Vec::new();
    let mut reader = SegmentReader::open(&*fs, &path).unwrap();
    while let Some(piece) = reader.next_piece().unwrap() {
        match piece {
            SegmentPiece::Batch { position, header } => batches.push((position, header)),
            SegmentPiece::Damage { damage, .. } => panic!("{damage}"),
        }
    }
    let bytes = fs.read(&path, 1 << 30).unwrap();
    for (at, byte) in bytes.iter().enumerate() {
        for bit in 0..8 {
            fs.damage(&path, at as u64, &[byte ^ (1 << bit)]);
            let found = report(&fs, "/data");
            fs.damage(&path, at as u64, &[*byte]);
            let (position, header) = batches
                .iter()
                .rev()
                .find(|(position, _)| *position <= at as u64)
                .unwrap();
            let own: Vec<_> = found
                .damages
                .iter()
                .filter(|damage| damage.path == path)
                .collect();
            assert_eq!(own.len(), 1, "byte {at}, bit {bit}: {found:?}");
            assert_eq!(own[0].position, *position, "byte {at}, bit {bit}");
            let offsets = header.base_offset..header.next_offset();
            assert_eq!(
                own[0].offsets,
                Some(offsets),
                "byte {at}, bit {bit}: {}",
                own[0].reason
            );
        }
    }
}

#[test]
fn what_is_missing_or_too_short_is_named() {
    let rig = filled(FlushMode::Journal);
    rig.store.close_blocking().unwrap();
    let Rig { fs, store, .. } = rig;
    drop(store);
    for path in fs.files_below(Path::new("/data/flights-0")).unwrap() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = fs.read(&path, 1 << 30).unwrap();
        // Without a snapshot or a sidecar a log is slower to open, not damaged.
        let may_miss = ["snapshot", "checksums", "leader-epoch-checkpoint"]
            .iter()
            .any(|end| name.ends_with(end));
        fs.remove_file(&path).unwrap();
        let found = report(&fs, "/data");
        assert_eq!(found.damages.is_empty(), may_miss, "{name}: {found:?}");
        for len in 0..bytes.len() {
            let file = fs.open(&path, OpenMode::Create).unwrap();
            file.set_len(0).unwrap();
            file.write_at(&bytes[..len], 0).unwrap();
            drop(file);
            let found = report(&fs, "/data");
            let is_named = found.damages.iter().any(|damage| damage.path == path);
            // A text file that ends without its last line break says the same; a shorter number cannot be told.
            let is_text = name.contains("leader-epoch") || name == "partition.metadata";
            assert!(is_named || is_text, "{name} with {len} bytes: {found:?}");
        }
        let file = fs.open(&path, OpenMode::Create).unwrap();
        file.write_at(&bytes, 0).unwrap();
    }
    assert_eq!(report(&fs, "/data").damages, []);
}
