//! Cutting after a checkpoint, and what happens when there is no room.

use super::*;
use crate::testing::{Fault, FaultyCall};

#[test]
fn a_cut_deletes_whole_files_that_are_covered_and_no_others() {
    let fixture = start(&SimFs::new(0), small());
    for number in 0..40 {
        fixture.commit(number, &[1; 700]);
    }
    let before = fixture.file_names();
    fixture.journal.cut_before(Lsn(1)).unwrap();
    assert_eq!(
        fixture.file_names(),
        before,
        "nothing is below the first entry"
    );
    fixture.journal.cut_before(Lsn(20)).unwrap();
    let after = fixture.file_names();
    assert!(after.len() < before.len() && before.ends_with(&after));
    let left = offsets(&fixture.fs);
    assert!(
        left[0] <= 19,
        "entry 20 (offset 19) is not covered: {left:?}"
    );
    assert!(left[0] > 0);
    assert_eq!(left.last(), Some(&39));
    // The file in use stays while the journal runs.
    fixture
        .journal
        .cut_before(fixture.journal.next_lsn())
        .unwrap();
    assert!(!offsets(&fixture.fs).is_empty());
    let bytes = fixture.journal.bytes_in_files();
    assert!(bytes <= small().file_bytes_max, "{bytes}");
}

#[test]
fn a_close_after_a_cut_of_everything_leaves_no_file_and_numbers_can_go_on() {
    let fixture = start(&SimFs::new(0), small());
    for number in 0..40 {
        fixture.commit(number, &[1; 700]);
    }
    fixture
        .journal
        .cut_before(fixture.journal.next_lsn())
        .unwrap();
    fixture.journal.close().unwrap();
    assert_eq!(fixture.fs.read_dir(Path::new(DIR)).unwrap(), []);
    let next = start(
        &fixture.fs,
        JournalOptions {
            first_lsn: Lsn(41),
            ..small()
        },
    );
    assert_eq!(next.commit(40, b"x"), Lsn(41));
}

/// A checkpoint may have covered entries that the journal lost: their numbers are left out.
#[test]
fn numbers_that_a_checkpoint_has_seen_are_not_given_again() {
    let fs = SimFs::new(0);
    start(&fs, small()).commit(0, b"x");
    let jump = JournalOptions {
        first_lsn: Lsn(100),
        ..small()
    };
    // A start whose first group is torn changes nothing.
    let fixture = start(&fs, jump.clone());
    assert_eq!(fixture.commit(1, b"torn"), Lsn(100));
    fixture.journal.close().unwrap();
    fs.damage(&file(2), 512 + 60, b"torn");
    assert_eq!(offsets(&fs), [0]);
    for (number, lsn) in [(1, 100), (2, 101), (3, 102)] {
        assert_eq!(start(&fs, jump.clone()).commit(number, b"x"), Lsn(lsn));
    }
    let found: Vec<(u64, i64)> = read_back(&fs)
        .unwrap()
        .iter()
        .map(|one| (one.0, one.1))
        .collect();
    assert_eq!(found, [(1, 0), (100, 1), (101, 2), (102, 3)]);
}

#[test]
fn a_cut_that_came_before_the_last_entry_keeps_its_file() {
    let fixture = start(&SimFs::new(0), small());
    fixture.commit(0, b"covered");
    fixture
        .journal
        .cut_before(fixture.journal.next_lsn())
        .unwrap();
    fixture.commit(1, b"not covered");
    fixture.journal.close().unwrap();
    assert_eq!(offsets(&fixture.fs).last(), Some(&1));
}

/// Whatever a power cut leaves of a deletion, the rest can be read.
#[test]
fn a_power_cut_during_a_cut_leaves_no_gap() {
    for operations in 0..12 {
        let fixture = start(&SimFs::new(operations), small());
        for number in 0..40 {
            fixture.commit(number, &[1; 700]);
        }
        fixture.fs.cut_power_after(operations);
        let _ = fixture.journal.cut_before(Lsn(30));
        for seed in 0..5 {
            let left = offsets(&fixture.fs.power_cut(seed));
            let expected: Vec<i64> = (left[0]..40).collect();
            assert_eq!(left, expected);
            assert!(left[0] <= 29);
        }
    }
}

#[test]
fn a_file_that_cannot_be_deleted_is_tried_again() {
    let fixture = start(&SimFs::new(0), small());
    for number in 0..40 {
        fixture.commit(number, &[1; 700]);
    }
    let before = fixture.file_names();
    fixture.fs.inject(Fault {
        call: FaultyCall::Remove,
        path_contains: ".journal".into(),
        nth: 1,
        kind: io::ErrorKind::Other,
    });
    assert!(matches!(
        fixture.journal.cut_before(Lsn(30)),
        Err(JournalError::Io { .. })
    ));
    assert_eq!(fixture.file_names(), before);
    fixture.commit(40, b"still works");
    fixture.journal.cut_before(Lsn(30)).unwrap();
    assert!(fixture.file_names().len() < before.len());
}

#[test]
fn a_full_disk_refuses_appends_keeps_what_it_took_and_heals() {
    let fixture = start(&SimFs::new(0), small());
    for number in 0..4 {
        fixture.commit(number, &[1; 700]);
    }
    eventually("the prepared file", || {
        fixture.fs.used_bytes() >= 4096 + 8192
    });
    fixture.fs.set_capacity(Some(fixture.fs.used_bytes()));
    let mut taken = 4;
    let full = loop {
        match fixture.append_within(taken, &[1; 700], NOW) {
            Ok(lsn) => match fixture.journal.wait_flushed_blocking(lsn) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            },
            Err(error) => break error,
        }
        assert!(taken < 100, "it never got full");
    };
    assert!(matches!(full, JournalError::Full { .. }), "{full}");
    assert!(matches!(
        fixture.journal.health(),
        JournalHealth::Full { .. }
    ));
    assert!(matches!(
        fixture.append_within(99, b"x", NOW),
        Err(JournalError::Full { .. })
    ));
    let acknowledged = fixture.journal.flushed().0 as i64;
    assert_eq!(
        fixture.listener.flushed.lock().last(),
        Some(&(acknowledged, Lsn(acknowledged as u64)))
    );

    // A power cut now loses nothing that was acknowledged.
    let survives = fixture.fs.clone();
    survives.set_capacity(None);
    eventually("room", || fixture.journal.health() == JournalHealth::Ok);
    eventually("the entry that was queued", || {
        fixture.journal.flushed().0 as i64 == acknowledged + 1
    });
    fixture.commit(50, b"goes on");
    let found = offsets(&survives.power_cut(0));
    let expected: Vec<i64> = (0..=acknowledged).chain([50]).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_journal_that_no_checkpoint_cuts_is_full_at_its_limit_and_heals_by_a_cut() {
    let options = JournalOptions {
        total_bytes_max: 30_000,
        ..small()
    };
    let fixture = start(&SimFs::new(0), options);
    let mut number = 0;
    let queued = loop {
        let lsn = fixture.append(number, &[1; 700]);
        number += 1;
        match fixture.journal.wait_flushed_blocking(lsn) {
            Ok(()) => assert!(number < 100, "it never got full"),
            Err(JournalError::Full { .. }) => break lsn,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(fixture.journal.bytes_in_files() <= 30_000);
    fixture
        .journal
        .cut_before(fixture.journal.flushed())
        .unwrap();
    eventually("the queued entry", || fixture.journal.flushed() == queued);
    fixture.commit(number, b"goes on");
}

#[test]
fn the_owner_is_told_of_each_new_file() {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let hook = sizes.clone();
    let on_roll: RollHook = Arc::new(move |bytes| hook.lock().push(bytes));
    let fixture = start(
        &SimFs::new(0),
        JournalOptions {
            on_roll: Some(on_roll),
            ..small()
        },
    );
    for number in 0..40 {
        fixture.commit(number, &[1; 700]);
    }
    let sizes = sizes.lock();
    assert_eq!(sizes[..3], [4096, 4096 + 8192, 4096 + 2 * 8192]);
}
