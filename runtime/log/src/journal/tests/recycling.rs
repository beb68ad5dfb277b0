//! Cut files are used again: what they held before is never read as current, whatever mixture of
//! old and new sectors a power cut leaves, and the spares are bounded and go again.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::fs::SECTOR;
use crate::journal::format::{FILE_HEADER_LEN, FileHeader, GroupHeader};
use crate::testing::Random;

/// Every file has the size that spares have.
fn even() -> JournalOptions {
    JournalOptions {
        first_file_bytes: 8192,
        file_bytes_max: 8192,
        ..small()
    }
}

impl Fixture {
    /// As a checkpoint that has synced all logs.
    fn cut_all(&self) {
        self.journal.cut_before(self.journal.next_lsn()).unwrap();
    }
}

fn names_ending_with(fs: &SimFs, suffix: &str) -> Vec<String> {
    let entries = fs.read_dir(Path::new(DIR)).unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| name.ends_with(suffix)).collect()
}

fn header_of(fs: &SimFs, sequence: u64) -> FileHeader {
    FileHeader::decode(&fs.read(&file(sequence), 1 << 20).unwrap()).unwrap()
}

/// Generations of the groups that stand anywhere in a file.
fn generations_in(fs: &SimFs, sequence: u64) -> HashSet<u64> {
    let raw = fs.read(&file(sequence), 1 << 20).unwrap();
    (FILE_HEADER_LEN..raw.len())
        .step_by(SECTOR)
        .filter_map(|at| GroupHeader::decode(&raw[at..]))
        .map(|header| header.generation)
        .collect()
}

/// A running journal whose file in use was another one before: returns its sequence number too.
fn with_a_file_used_again(fs: &SimFs) -> (Fixture, i64, u64) {
    let fixture = start(fs, even());
    let mut number = 0;
    loop {
        fixture.commit(number, &[number as u8; 700]);
        number += 1;
        if number % 20 == 0 {
            fixture.cut_all();
        }
        let names = fixture.file_names();
        let sequence = names.last().and_then(|name| files::parse_file_name(name));
        let sequence = sequence.unwrap();
        if generations_in(fs, sequence).len() == 2 {
            return (fixture, number, sequence);
        }
        assert!(number < 1000, "no file was used again");
    }
}

#[test]
fn a_cut_file_is_used_again_under_another_generation() {
    let fs = SimFs::new(0);
    let (fixture, number, sequence) = with_a_file_used_again(&fs);
    let generation = header_of(&fs, sequence).generation;
    assert!(generations_in(&fs, sequence).contains(&generation));
    fixture.commit(number, b"behind it old groups follow");
    let found = offsets(&fs);
    let expected: Vec<i64> = (found[0]..=number).collect();
    assert_eq!(found, expected);
    // A steady journal makes no new file.
    let used = || fs.used_bytes();
    let before = used();
    for more in number + 1..number + 200 {
        fixture.commit(more, &[1; 700]);
        if more % 20 == 0 {
            fixture.cut_all();
        }
    }
    assert!(used() <= before + 2 * 8192, "{} after {before}", used());
}

/// The header of a file is written together with its first group. If it is lost, the reservation
/// stands there still, and what follows proves that it was lost.
#[test]
fn a_lost_header_of_a_file_that_was_used_again_is_damage() {
    for more in 0..2 {
        let fs = SimFs::new(0);
        let (fixture, number, sequence) = with_a_file_used_again(&fs);
        for number in number..number + more {
            fixture.commit(number, b"x");
        }
        fixture.cut_all();
        drop(fixture);
        let FileHeader { generation, .. } = header_of(&fs, sequence);
        let in_use = FileHeader::reservation(sequence, generation).encode();
        fs.damage(&file(sequence), 0, &in_use);
        let result = read_back(&fs);
        match more {
            // Nothing says that the first group was flushed.
            0 => assert_eq!(result.unwrap(), []),
            _ => assert!(
                matches!(&result, Err(JournalError::Damaged { path, position: 0, .. }) if *path == file(sequence)),
                "{result:?}"
            ),
        }
    }
}

/// A kill may come between the rename of a cut file and the sync of the directory. The next run takes the file for its
/// own; its former name must not come back with what is written then.
#[test]
fn a_spare_of_a_run_that_was_killed_does_not_get_its_former_name_back() {
    for (operations, more) in (0..6).flat_map(|one| (0..14).map(move |two| (one, two))) {
        for seed in 0..10 {
            let fs = SimFs::new(0);
            let fixture = start(&fs, even());
            for number in 0..40 {
                fixture.commit(number, &[number as u8; 700]);
            }
            fs.cut_power_after(operations);
            // The process is killed when the operations are used up.
            let _ = fixture.journal.cut_before(Lsn(30));
            let fs = fs.kill(seed);
            drop(fixture);
            let expected = offsets(&fs);
            fs.cut_power_after(more);
            if let Ok(journal) = redo(&fs).and_then(|redo| redo.start(even())) {
                let _ = journal.close();
            }
            let fs = fs.power_cut(seed);
            let found = offsets(&fs);
            // A file whose going was not durable may be there again.
            let is_whole = found.ends_with(&expected);
            assert!(
                is_whole,
                "{operations}, then {more}, seed {seed}: {found:?}"
            );
        }
    }
}

#[test]
fn damage_within_a_file_that_was_used_again_is_found() {
    let fs = SimFs::new(0);
    let (fixture, number, sequence) = with_a_file_used_again(&fs);
    fixture.commit(number, b"x");
    drop(fixture);
    fs.damage(&file(sequence), FILE_HEADER_LEN as u64 + 60, b"hurt");
    let result = read_back(&fs);
    assert!(
        matches!(&result, Err(JournalError::Damaged { path, .. }) if *path == file(sequence)),
        "{result:?}"
    );
}

#[test]
fn spares_are_bounded_and_go_when_the_burst_is_over() {
    let options = JournalOptions {
        spare_bytes_max: 5 * 8192,
        ..even()
    };
    let fixture = start(&SimFs::new(0), options);
    for number in 0..100 {
        fixture.commit(number, &[1; 700]);
    }
    let spares = || names_ending_with(&fixture.fs, ".spare").len();
    eventually("the next file", || {
        names_ending_with(&fixture.fs, ".journal").len() == fixture.file_names().len() + 1
    });
    fixture.cut_all();
    assert_eq!(spares(), 5);
    assert_eq!(fixture.journal.spare_bytes(), 5 * 8192);
    let idle: Vec<usize> = (0..4)
        .map(|_| {
            fixture.cut_all();
            spares()
        })
        .collect();
    assert_eq!(idle, [5, 5, 5, 0]);
}

#[test]
fn a_start_takes_over_the_spares_of_a_run_that_was_killed_and_a_close_leaves_none() {
    let fs = SimFs::new(0);
    let fixture = start(&fs, even());
    for number in 0..40 {
        fixture.commit(number, &[1; 700]);
    }
    fixture.cut_all();
    let fs = fs.kill(1);
    drop(fixture);
    let left = names_ending_with(&fs, ".spare").len();
    assert!(left > 2);
    fs.open(
        &Path::new(DIR).join(files::new_name(77)),
        crate::fs::OpenMode::Create,
    )
    .unwrap();
    let fixture = start(&fs, even());
    assert_eq!(names_ending_with(&fs, ".new").len(), 0);
    eventually("a spare's use", || {
        names_ending_with(&fs, ".spare").len() == left - 1
    });
    fixture.commit(40, b"x");
    let found = offsets(&fs);
    assert_eq!(found.last(), Some(&40));
    fixture.journal.close().unwrap();
    assert_eq!(names_ending_with(&fs, ".spare").len(), 0);
    assert_eq!(offsets(&fs), found);
}

#[test]
fn a_spare_that_vanished_is_replaced_by_a_new_file() {
    let fixture = start(&SimFs::new(0), even());
    for number in 0..60 {
        fixture.commit(number, &[1; 700]);
    }
    fixture.cut_all();
    for name in names_ending_with(&fixture.fs, ".spare") {
        fixture.fs.remove_file(&Path::new(DIR).join(name)).unwrap();
    }
    for number in 60..120 {
        fixture.commit(number, &[1; 700]);
    }
    assert_eq!(offsets(&fixture.fs).last(), Some(&119));
}

#[test]
fn a_full_disk_does_not_stop_a_journal_that_has_spares() {
    let fixture = start(&SimFs::new(0), even());
    for number in 0..60 {
        fixture.commit(number, &[1; 700]);
    }
    fixture.cut_all();
    eventually("a quiet disk", || fixture.fs.all_is_durable());
    fixture.fs.set_capacity(Some(fixture.fs.used_bytes()));
    for number in 60..120 {
        fixture.commit(number, &[1; 700]);
        if number % 20 == 0 {
            fixture.cut_all();
        }
    }
}

/// Lives of a journal that is cut now and then, each ended by a power cut or a kill: what comes back
/// is gapless, holds all that was acknowledged and not cut, and nothing that an earlier use left.
fn survive_with_cuts(seed: u64) {
    let mut random = Random::new(seed);
    let mut fs = SimFs::new(seed);
    let (mut next, mut acknowledged, mut cut) = (0, 0, 0);
    for _ in 0..5 {
        fs.cut_power_after(20 + random.below(200));
        if random.below(4) == 0 {
            fs.refuse_direct_access();
        }
        let started = redo(&fs).and_then(|redo| {
            redo.start(JournalOptions {
                // As a store, which knows from its checkpoint what it has seen.
                first_lsn: Lsn(next as u64 + 1),
                ..even()
            })
        });
        match started {
            Ok(journal) => {
                let fixture = Fixture {
                    fs: fs.clone(),
                    journal,
                    listener: Arc::default(),
                };
                // What a start has read is durable.
                acknowledged = next;
                let begin = next;
                for number in begin..begin + 80 {
                    let bytes = vec![number as u8; 300 + random.below(1500) as usize];
                    let Ok(lsn) = fixture.append_within(number, &bytes, NOW) else {
                        break;
                    };
                    next = number + 1;
                    if random.chance(50) && fixture.journal.wait_flushed_blocking(lsn).is_ok() {
                        acknowledged = next;
                        if random.chance(15) {
                            cut = number;
                            let _ = fixture.journal.cut_before(lsn);
                        }
                    }
                }
            }
            Err(JournalError::Io { .. }) => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
        fs = match random.chance(30) {
            true => fs.kill(random.next_u64()),
            false => fs.power_cut(random.next_u64()),
        };
        let found = read_back(&fs).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let first = found.first().map_or(0, |one| one.1);
        assert!(
            first <= cut,
            "seed {seed}: {first} is the first, {cut} was cut"
        );
        for (index, (_, offset, bytes)) in found.iter().enumerate() {
            assert_eq!(*offset, first + index as i64, "seed {seed}");
            assert!(
                bytes.iter().all(|byte| *byte == *offset as u8),
                "seed {seed}"
            );
        }
        let end = found.last().map_or(first, |one| one.1 + 1);
        assert!(end >= acknowledged, "seed {seed}: {end} < {acknowledged}");
        next = end;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn files_that_are_used_again_survive_power_cuts(seed in any::<u64>()) {
        survive_with_cuts(seed);
    }
}
