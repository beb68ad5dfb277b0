//! Rules 1 and 2: what a redo hands back, where it stops, and when it refuses.

use super::*;
use crate::fs::{OpenMode, SECTOR};
use crate::journal::format::{FILE_HEADER_LEN, GROUP_HEADER_LEN, GroupHeader};

fn damaged(result: Result<Vec<(u64, i64, Vec<u8>)>, JournalError>) -> (PathBuf, u64) {
    match result {
        Err(JournalError::Damaged { path, position, .. }) => (path, position),
        other => panic!("{other:?}"),
    }
}

/// A closed journal with these many groups of one entry, each in a sector of its own.
fn journal_of(groups: i64) -> SimFs {
    let fs = SimFs::new(0);
    let fixture = start(
        &fs,
        JournalOptions {
            first_file_bytes: 1 << 16,
            ..small()
        },
    );
    for number in 0..groups {
        fixture.commit(number, &[number as u8; 100]);
    }
    fixture.journal.close().unwrap();
    fs
}

/// Where the group of `journal_of` with this number stands.
fn position(group: u64) -> u64 {
    FILE_HEADER_LEN as u64 + group * SECTOR as u64
}

#[test]
fn entries_come_back_in_order_over_files_and_restarts() {
    let fs = SimFs::new(0);
    let mut number = 0;
    for _restart in 0..4 {
        let fixture = start(&fs, small());
        for _ in 0..20 {
            let lsn = fixture.commit(number, &vec![number as u8; 700]);
            number += 1;
            assert_eq!(lsn.0, number as u64, "numbers go on after a restart");
        }
        assert!(fixture.file_names().len() > 2);
    }
    let found = read_back(&fs).unwrap();
    assert_eq!(found.len(), 80);
    for (index, (lsn, offset, bytes)) in found.into_iter().enumerate() {
        assert_eq!((lsn, offset), (index as u64 + 1, index as i64));
        assert_eq!(bytes, vec![index as u8; 700]);
    }
}

#[test]
fn every_kind_of_entry_comes_back() {
    let fs = SimFs::new(0);
    let fixture = start(&fs, small());
    let kinds = [
        EntryKind::Create { topic: "flights" },
        EntryKind::Append {
            base_offset: 0,
            bytes: b"batch",
        },
        EntryKind::Truncate { to: 3 },
        EntryKind::Reset { to: 9 },
        EntryKind::LogStart { to: 2 },
        EntryKind::Delete,
    ];
    let listener: Arc<dyn FlushListener> = fixture.listener.clone();
    for (index, kind) in kinds.into_iter().enumerate() {
        let entry = EntryRef {
            kind,
            partition: index as i32,
            incarnation: 5,
            topic_id: Uuid::from_u128(1),
        };
        fixture.journal.append(entry, &listener, 0, NOW).unwrap();
    }
    fixture.journal.close().unwrap();
    let mut redo = redo(&fs).unwrap();
    for (index, kind) in kinds.into_iter().enumerate() {
        let (_, entry) = redo.next_entry().unwrap().unwrap();
        assert_eq!(
            (entry.kind, entry.partition, entry.incarnation),
            (kind, index as i32, 5)
        );
    }
    assert!(redo.next_entry().unwrap().is_none());
    assert_eq!(redo.last_lsn(), Lsn(6));
}

#[test]
fn a_torn_last_group_ends_the_journal() {
    let fs = journal_of(5);
    fs.damage(&file(1), position(4) + 60, b"torn");
    assert_eq!(offsets(&fs), [0, 1, 2, 3]);
    // And the next start goes on behind it.
    let fixture = start(&fs, small());
    fixture.commit(40, b"after");
    fixture.journal.close().unwrap();
    assert_eq!(offsets(&fs), [0, 1, 2, 3, 40]);
}

#[test]
fn damage_before_a_group_that_was_flushed_later_is_refused_with_file_and_position() {
    for group in 0..4 {
        let fs = journal_of(5);
        fs.damage(&file(1), position(group) + 60, b"hurt");
        assert_eq!(damaged(read_back(&fs)), (file(1), position(group)));
        let start = redo(&fs).unwrap().start(small());
        assert!(
            matches!(start, Err(JournalError::Damaged { .. })),
            "a start is refused too"
        );
    }
}

#[test]
fn a_file_that_was_cut_short_is_damage_wherever_it_was_cut() {
    let fs = journal_of(5);
    let cut = fs.open(&file(1), OpenMode::ReadWrite).unwrap();
    for left in (0..cut.len().unwrap()).rev() {
        cut.set_len(left).unwrap();
        assert_eq!(damaged(read_back(&fs)), (file(1), left));
    }
}

#[test]
fn a_later_group_that_does_not_say_flushed_beyond_is_part_of_the_torn_end() {
    // Two groups that were written without knowing of the flush of the first: only the second one
    // survived. (A flusher that writes ahead would leave this; and so may a sector that survives.)
    let fs = journal_of(3);
    let raw = fs.read(&file(1), 1 << 20).unwrap();
    let last = &raw[position(2) as usize..position(2) as usize + SECTOR];
    let header = GroupHeader::decode(last).unwrap();
    let mut unaware = last[..header.len_unpadded() as usize].to_vec();
    GroupHeader {
        flushed_lsn: Lsn(1),
        ..header
    }
    .seal(&mut unaware);
    fs.damage(&file(1), position(2), &unaware);
    fs.damage(&file(1), position(1) + 60, b"torn");
    assert_eq!(offsets(&fs), [0]);
}

#[test]
fn damage_in_an_earlier_file_and_a_missing_file_are_refused() {
    let build = || {
        let fs = SimFs::new(0);
        let fixture = start(&fs, small());
        for number in 0..40 {
            fixture.commit(number, &[1; 700]);
        }
        fixture.journal.close().unwrap();
        assert!(file_names(&fs).len() > 3);
        fs
    };
    let fs = build();
    fs.damage(&file(2), 20, b"header");
    assert_eq!(damaged(read_back(&fs)), (file(2), 0));

    let fs = build();
    fs.damage(&file(1), 0, b"header");
    assert_eq!(damaged(read_back(&fs)), (file(1), 0));

    // The last group of a file that others follow.
    let fs = build();
    let last = last_group_position(&fs, &file(2));
    fs.damage(&file(2), last + 50, b"hurt");
    assert_eq!(damaged(read_back(&fs)), (file(2), last));

    let fs = build();
    fs.remove_file(&file(2)).unwrap();
    assert_eq!(damaged(read_back(&fs)), (file(3), 0));
}

fn last_group_position(fs: &SimFs, path: &Path) -> u64 {
    let raw = fs.read(path, 1 << 20).unwrap();
    let mut groups = (FILE_HEADER_LEN..raw.len()).step_by(SECTOR);
    groups
        .rfind(|at| GroupHeader::decode(&raw[*at..]).is_some())
        .unwrap() as u64
}

#[test]
fn an_unsound_header_of_the_only_file_is_damage_only_if_more_than_its_first_group_is_there() {
    let fs = journal_of(1);
    fs.damage(&file(1), 20, b"torn");
    assert_eq!(offsets(&fs), [] as [i64; 0]);
    let fs = journal_of(2);
    fs.damage(&file(1), 20, b"hurt");
    assert_eq!(damaged(read_back(&fs)), (file(1), 0));
}

#[test]
fn sound_groups_of_another_journal_or_place_are_not_taken() {
    // The same entries, in another generation.
    let (fs, other) = (journal_of(3), journal_of(3));
    let foreign = other.read(&file(1), 1 << 20).unwrap();
    let at = position(2) as usize;
    fs.damage(&file(1), position(2), &foreign[at..at + SECTOR]);
    assert_eq!(offsets(&fs), [0, 1]);

    // Another generation that chains all the same, as in a file that was used before.
    let fs = journal_of(3);
    let raw = fs.read(&file(1), 1 << 20).unwrap();
    let mut forged = raw[at..at + GROUP_HEADER_LEN + 141].to_vec();
    let header = GroupHeader::decode(&forged).unwrap();
    let generation = header.generation ^ 1;
    GroupHeader {
        generation,
        ..header
    }
    .seal(&mut forged);
    fs.damage(&file(1), position(2), &forged);
    assert_eq!(offsets(&fs), [0, 1]);

    // The same generation and number, but not chained to the group before.
    let fs = journal_of(3);
    let raw = fs.read(&file(1), 1 << 20).unwrap();
    let mut forged = raw[at..at + GROUP_HEADER_LEN + 141].to_vec();
    let header = GroupHeader::decode(&forged).unwrap();
    GroupHeader {
        previous_crc: header.previous_crc ^ 1,
        ..header
    }
    .seal(&mut forged);
    fs.damage(&file(1), position(2), &forged);
    assert_eq!(offsets(&fs), [0, 1]);
}

#[test]
fn a_group_whose_numbers_do_not_fit_its_body_is_refused() {
    let fs = journal_of(2);
    let raw = fs.read(&file(1), 1 << 20).unwrap();
    let at = position(1) as usize;
    let mut forged = raw[at..at + GROUP_HEADER_LEN + 141].to_vec();
    let header = GroupHeader::decode(&forged).unwrap();
    for entries in [2, u32::MAX] {
        GroupHeader { entries, ..header }.seal(&mut forged);
        fs.damage(&file(1), position(1), &forged);
        assert_eq!(damaged(read_back(&fs)), (file(1), position(1)));
    }
}

#[test]
fn each_start_has_a_generation_of_its_own() {
    let fs = SimFs::new(0);
    let mut generations = Vec::new();
    for number in 0..3 {
        let fixture = start(&fs, small());
        fixture.commit(number, b"x");
        fixture.journal.close().unwrap();
        let raw = fs.read(&file(number as u64 + 1), 1 << 20).unwrap();
        generations.push(format::FileHeader::decode(&raw).unwrap().generation);
    }
    generations.sort_unstable();
    generations.dedup();
    assert_eq!(generations.len(), 3);
}

#[test]
fn the_entries_of_a_log_stand_in_the_order_of_its_own_lock() {
    let fs = SimFs::new(0);
    let fixture = start(
        &fs,
        JournalOptions {
            file_bytes_max: 1 << 20,
            ..small()
        },
    );
    let logs: Vec<Mutex<i64>> = (0..4).map(|_| Mutex::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let (logs, fixture) = (&logs, &fixture);
            scope.spawn(move || {
                let listener: Arc<dyn FlushListener> = fixture.listener.clone();
                for turn in 0..200 {
                    let partition = (thread + turn) % logs.len();
                    let mut end = logs[partition].lock();
                    let kind = EntryKind::Append {
                        base_offset: *end,
                        bytes: &[1; 50],
                    };
                    let entry = EntryRef {
                        kind,
                        partition: partition as i32,
                        ..entry(0, b"")
                    };
                    fixture
                        .journal
                        .append(entry, &listener, *end + 1, NOW)
                        .unwrap();
                    *end += 1;
                }
            });
        }
    });
    fixture.journal.close().unwrap();
    let mut ends = [0; 4];
    let mut redo = redo(&fs).unwrap();
    while let Some((_, entry)) = redo.next_entry().unwrap() {
        let EntryKind::Append { base_offset, .. } = entry.kind else {
            panic!()
        };
        assert_eq!(base_offset, ends[entry.partition as usize]);
        ends[entry.partition as usize] += 1;
    }
    assert_eq!(ends, [400; 4]);
}
