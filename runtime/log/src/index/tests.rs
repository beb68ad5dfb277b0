//! An index file against a plain list, and the bytes of each entry.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::segment::OpenFiles;
use crate::testing::SimFs;

fn open<E: IndexEntry>(fs: &SimFs) -> EntryFile<E> {
    let files = OpenFiles::new(Arc::new(fs.clone()), 4);
    let path = PathBuf::from("/index");
    let len = crate::fs::FileSystem::metadata(fs, &path).map_or(0, |found| found.len);
    EntryFile::new(files.file(path), len)
}

fn sync<E: IndexEntry>(index: &EntryFile<E>) {
    index.to_sync().unwrap().unwrap().sync_data().unwrap();
}

fn entry(offset: i32) -> OffsetEntry {
    OffsetEntry {
        relative_offset: offset,
        position: offset * 10,
    }
}

proptest! {
    /// Entries in the file and in memory are one list, whatever was written when.
    #[test]
    fn an_index_is_a_list(
        steps in prop::collection::vec(1..40_i32, 0..1500),
        writes in prop::collection::btree_set(0..1500_usize, 0..4),
        reopened_at in 0..1500_usize,
        asked in 0..70_000_i32,
    ) {
        let fs = SimFs::new(1);
        let mut index = open::<OffsetEntry>(&fs);
        let mut list = Vec::new();
        let mut offset = 0;
        for (number, step) in steps.into_iter().enumerate() {
            offset += step;
            index.push(entry(offset));
            list.push(entry(offset));
            if writes.contains(&number) {
                index.write_pending().unwrap();
            }
            if number == reopened_at {
                index.finish(true).unwrap();
                index = open(&fs);
            }
        }
        prop_assert_eq!(index.len(), list.len());
        prop_assert_eq!(index.last().unwrap(), list.last().copied());
        prop_assert_eq!(index.range(0, list.len()).unwrap(), &list[..]);
        let half = list.len() / 2;
        prop_assert_eq!(index.range(half, 7).unwrap(), list.iter().skip(half).take(7).copied().collect::<Vec<_>>());
        prop_assert_eq!(index.get(half).unwrap(), list.get(half).copied());
        let expected = list.iter().filter(|entry| entry.relative_offset <= asked).count();
        prop_assert_eq!(index.partition_point(|entry| entry.relative_offset <= asked).unwrap(), expected);
        let position = expected.checked_sub(1).map_or(0, |at| list[at].position as u64);
        let found = index.entry_before(i64::from(asked)).unwrap();
        prop_assert_eq!(found.map_or(0, |entry| entry.position as u64), position);
        index.truncate(half).unwrap();
        list.truncate(half);
        prop_assert_eq!(index.last().unwrap(), list.last().copied());
        prop_assert_eq!(index.range(0, 2000).unwrap(), list);
    }
}

#[test]
fn entries_have_kafkas_bytes() {
    let mut bytes = Vec::new();
    entry(258).encode(&mut bytes);
    assert_eq!(bytes, [0, 0, 1, 2, 0, 0, 10, 20]);
    bytes.clear();
    let time = TimeEntry {
        timestamp: 3,
        relative_offset: 258,
    };
    time.encode(&mut bytes);
    assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 1, 2]);
    assert_eq!(TimeEntry::decode(&bytes), time);
    bytes.clear();
    let aborted = AbortedEntry {
        producer_id: 1,
        first_offset: 2,
        last_offset: 3,
        last_stable: 4,
    };
    aborted.encode(&mut bytes);
    assert_eq!(bytes.len(), 34);
    assert_eq!(
        (bytes[1], bytes[9], bytes[17], bytes[25], bytes[33]),
        (0, 1, 2, 3, 4)
    );
    assert_eq!(AbortedEntry::decode(&bytes), aborted);
}

#[test]
fn the_time_index_takes_new_maxima_only() {
    let fs = SimFs::new(1);
    let mut index = open::<TimeEntry>(&fs);
    for (timestamp, relative_offset) in [(10, 1), (10, 2), (5, 3), (12, 4)] {
        index
            .push_if_later(TimeEntry {
                timestamp,
                relative_offset,
            })
            .unwrap();
    }
    let offsets: Vec<_> = index
        .range(0, 9)
        .unwrap()
        .iter()
        .map(|entry| entry.relative_offset)
        .collect();
    assert_eq!(offsets, [1, 4]);
    for (timestamp, expected) in [
        (9, None),
        (10, None),
        (11, Some(1)),
        (12, Some(1)),
        (13, Some(4)),
    ] {
        assert_eq!(
            index.offset_before(timestamp).unwrap(),
            expected,
            "{timestamp}"
        );
    }
}

#[test]
fn a_search_for_aborted_transactions_stops_when_nothing_can_follow() {
    let fs = SimFs::new(1);
    let mut index = open::<AbortedEntry>(&fs);
    for (producer_id, first_offset, last_offset, last_stable) in
        [(1, 0, 5, 3), (2, 3, 9, 7), (3, 7, 12, 13)]
    {
        index.push(AbortedEntry {
            producer_id,
            first_offset,
            last_offset,
            last_stable,
        });
    }
    for (from, to, expected, is_complete) in [
        (0, 3, &[1][..], true),
        (0, 4, &[1, 2][..], true),
        (0, 8, &[1, 2, 3][..], true),
        (6, 8, &[2, 3][..], true),
        (10, 13, &[3][..], true),
        (13, 20, &[][..], false),
        (0, 20, &[1, 2, 3][..], false),
    ] {
        let mut found = Vec::new();
        let complete = index.collect(from, to, &mut found).unwrap();
        let ids: Vec<_> = found.iter().map(|txn| txn.producer_id).collect();
        assert_eq!(
            (&ids[..], complete),
            (expected, is_complete),
            "{from}..{to}"
        );
    }
}

/// A synced index that is cut to nothing stays cut: entries that came back would belong to no batch.
#[test]
fn entries_that_were_cut_do_not_come_back_after_a_sync() {
    let fs = SimFs::new(1);
    let mut index = open::<OffsetEntry>(&fs);
    index.push(entry(1));
    index.finish(true).unwrap();
    sync(&index);
    crate::fs::FileSystem::sync_dir(&fs, std::path::Path::new("/")).unwrap();
    index.truncate(0).unwrap();
    sync(&index);
    for seed in 0..20 {
        assert_eq!(open::<OffsetEntry>(&fs.power_cut(seed)).len(), 0);
    }
}
