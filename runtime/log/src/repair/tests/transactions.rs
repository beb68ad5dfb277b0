//! Transactions whose end lies in what was damaged.

use millstream_records::Marker;

use super::*;
use crate::log::test_support::{produce, values_from};

/// A log with interleaved transactions: `aborted` and `committed` are open where offset 4 is, both of which end there or
/// behind; a third one is open to the end.
fn scene() -> SimFs {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, small_segments());
    let data = |producer, sequence, value: &str| {
        produce(&log, &[value], (producer, 0, sequence), true).unwrap();
    };
    let end = |producer, marker| log.append_marker(marker, producer, 0, 0, 0).unwrap();
    append(&log, &["plain 0"]);
    data(1, 0, "aborted 1");
    data(2, 0, "committed 2");
    end(1, Marker::Abort);
    end(2, Marker::Commit);
    // Both producers go on, the other way round.
    data(1, 1, "committed 5");
    data(2, 1, "aborted 6");
    end(1, Marker::Commit);
    end(2, Marker::Abort);
    append(&log, &["plain 9"]);
    data(3, 0, "open 10");
    flush(&rig.store, &append(&log, &["plain 11"]));
    log.roll_active().unwrap();
    drop(log);
    rig.store.close_blocking().unwrap();
    rig.fs.kill(1)
}

/// Where each batch lies.
fn places(fs: &SimFs) -> Vec<(PathBuf, u64, i64)> {
    let mut scene = Scene {
        fs: fs.kill(1),
        mode: FlushMode::Journal,
        records: BTreeMap::new(),
        batches: BTreeMap::new(),
        synced_end: 0,
    };
    scene.note_batches();
    let batches = scene.batches.into_iter();
    batches
        .flat_map(|(path, found)| {
            let place = move |(position, first, _)| (path.clone(), position, first);
            found.into_iter().map(place)
        })
        .collect()
}

/// What a reader of committed records gets, and what the open transaction holds back.
fn committed(fs: &Arc<SimFs>) -> Vec<String> {
    let (store, _) = open(fs, FlushMode::Journal);
    let log = store.create_log(id(0), small_segments()).unwrap();
    assert_eq!(log.offsets().last_stable, 10);
    let mut found = Vec::new();
    let mut next = 0;
    while next < 10 {
        let read = log.read(next, 1, Isolation::Committed, true).unwrap();
        let before = next;
        for batch in batches(&read.bytes) {
            let header = *batch.as_ref().unwrap().header();
            next = header.next_offset();
            let is_hidden = read.aborted.iter().any(|one| {
                one.producer_id == header.producer_id && one.first_offset <= header.base_offset
            });
            if header.is_control() || is_hidden {
                continue;
            }
            for record in batch.unwrap().records(1 << 20).unwrap().iter() {
                let value = record.unwrap().value.unwrap().to_vec();
                found.push(String::from_utf8(value).unwrap());
            }
        }
        assert!(next > before);
    }
    let open_one = values_from(&log, 10, Isolation::LogEnd);
    assert_eq!(open_one[0], (10, "open 10".to_owned()));
    // It is to be ended still.
    log.append_marker(Marker::Commit, 3, 0, 0, 0).unwrap();
    found
}

const ALL_COMMITTED: [&str; 4] = ["plain 0", "committed 2", "committed 5", "plain 9"];

#[test]
fn a_lost_marker_is_written_again_as_it_was() {
    let fs = scene();
    assert_eq!(committed(&Arc::new(fs.kill(1))), ALL_COMMITTED);
    for (path, position, first) in places(&fs) {
        if first >= 10 {
            continue;
        }
        let damaged = Arc::new(fs.kill(1));
        flip(&damaged, &path, position);
        let repaired = repair(&target(&damaged)).unwrap();
        let lost = first..first + 1;
        assert_eq!(offsets_of(&repaired), std::slice::from_ref(&lost));
        let mut expected = ALL_COMMITTED.to_vec();
        expected.retain(|value| !value.ends_with(&format!(" {first}")));
        assert_eq!(verified(&damaged).damages, [], "offset {first}");
        assert_eq!(
            committed(&Arc::new(damaged.kill(1))),
            expected,
            "offset {first}"
        );
        // The batches alone tell the same.
        let damaged = Arc::new(damaged.kill(1));
        for entry in damaged.read_dir(Path::new(PARTITION)).unwrap() {
            if ["txnindex", "checksums", "snapshot"]
                .iter()
                .any(|end| entry.name.ends_with(end))
            {
                damaged
                    .remove_file(&Path::new(PARTITION).join(&entry.name))
                    .unwrap();
            }
        }
        assert_eq!(committed(&damaged), expected, "offset {first}, rebuilt");
    }
}

#[test]
fn what_is_lost_with_its_index_counts_as_aborted() {
    let fs = scene();
    let places = places(&fs);
    let (path, position, _) = places.iter().find(|(_, _, first)| *first == 4).unwrap();
    let damaged = Arc::new(fs.kill(1));
    flip(&damaged, path, *position);
    for end in ["txnindex", "checksums", "snapshot"] {
        for entry in damaged.read_dir(Path::new(PARTITION)).unwrap() {
            if entry.name.ends_with(end) {
                damaged
                    .remove_file(&Path::new(PARTITION).join(&entry.name))
                    .unwrap();
            }
        }
    }
    repair(&target(&damaged)).unwrap();
    assert_eq!(committed(&damaged), ["plain 0", "committed 5", "plain 9"]);
}
