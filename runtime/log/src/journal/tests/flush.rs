//! When a flush starts, who is told, and what a failed one does (rule 4).

use std::io;
use std::sync::mpsc;

use super::*;
use crate::testing::{Fault, FaultyCall};

fn fault(call: FaultyCall) -> Fault {
    Fault {
        call,
        path_contains: ".journal".into(),
        nth: 1,
        kind: io::ErrorKind::Other,
    }
}

/// A journal whose first file is in use, so that the next call on a file is that of a flush.
fn warm() -> Fixture {
    let fixture = start(
        &SimFs::new(0),
        JournalOptions {
            first_file_bytes: 1 << 16,
            ..small()
        },
    );
    fixture.commit(0, b"first");
    // The file after it is prepared in the background: made, filled, synced, and its name synced.
    eventually("the second file", || {
        let second = fixture.fs.metadata(&file(2)).map_or(0, |file| file.len);
        second == small().file_bytes_max && fixture.fs.all_is_durable()
    });
    fixture
}

#[test]
fn listeners_know_before_those_who_wait() {
    let fixture = warm();
    for number in 1..50 {
        let lsn = fixture.append(number, b"x");
        fixture.journal.wait_flushed_blocking(lsn).unwrap();
        assert_eq!(
            fixture.listener.flushed.lock().last(),
            Some(&(number + 1, lsn))
        );
        assert!(fixture.journal.flushed() >= lsn);
    }
}

#[test]
fn entries_that_wait_share_one_flush() {
    let fixture = warm();
    let before = fixture.fs.syncs();
    let held = fixture.fs.hold_syncs();
    fixture.append(1, b"x");
    std::thread::sleep(Duration::from_millis(20));
    let lsns: Vec<Lsn> = (2..100)
        .map(|number| fixture.append(number, b"x"))
        .collect();
    assert_eq!(
        fixture.journal.flushed(),
        Lsn(1),
        "nothing is reported before the sync"
    );
    drop(held);
    fixture.journal.wait_flushed_blocking(lsns[97]).unwrap();
    assert_eq!(fixture.fs.syncs() - before, 2);
    let told = fixture.listener.flushed.lock();
    assert_eq!(
        told[1..],
        [(2, Lsn(2)), (100, Lsn(100))],
        "a listener hears once of each flush"
    );
}

#[test]
fn a_patient_entry_waits_for_its_followers_and_a_waiter_starts_the_flush() {
    let fixture = warm();
    let before = fixture.fs.syncs();
    let hour = Duration::from_secs(3600);
    for number in 1..5 {
        fixture.append_within(number, b"x", hour).unwrap();
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(fixture.fs.syncs(), before);
    let lsn = fixture.append_within(5, b"x", hour).unwrap();
    fixture.journal.wait_flushed_blocking(lsn).unwrap();
    assert_eq!(fixture.fs.syncs(), before + 1);
    let lsn = fixture.append_within(6, b"x", hour).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(fixture.journal.flushed_to(lsn)).unwrap();
    assert_eq!(fixture.fs.syncs(), before + 2);
    // And with nobody who waits, it starts in time.
    let lsn = fixture
        .append_within(7, b"x", Duration::from_millis(2))
        .unwrap();
    eventually("a flush within 2 ms", || fixture.journal.flushed() == lsn);
}

#[test]
fn many_tasks_wait_and_all_are_woken() {
    let fixture = warm();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let journal = Arc::new(fixture.journal);
    let listener: Arc<dyn FlushListener> = fixture.listener.clone();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..500)
            .map(|number| {
                let (journal, listener) = (journal.clone(), listener.clone());
                tokio::spawn(async move {
                    let lsn = journal
                        .append(entry(number, b"x"), &listener, number, NOW)
                        .unwrap();
                    journal.flushed_to(lsn).await.unwrap();
                    assert!(journal.flushed() >= lsn);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn too_much_unflushed_blocks_appends_until_it_is_flushed() {
    let options = JournalOptions {
        unflushed_bytes_max: 10_000,
        first_file_bytes: 1 << 16,
        ..small()
    };
    let fixture = start(&SimFs::new(0), options);
    fixture.commit(0, b"first");
    let held = fixture.fs.hold_syncs();
    let appended = Mutex::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..30 {
                fixture.append(number, &[1; 959]);
                *appended.lock() = number;
            }
        });
        eventually("ten entries", || *appended.lock() == 10);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(*appended.lock(), 10, "the eleventh waits");
        drop(held);
    });
    // An entry that is larger than the limit goes through alone.
    fixture.commit(30, &[1; 50_000]);
}

#[test]
fn an_append_that_has_waited_for_room_is_flushed_though_nothing_follows_it() {
    let options = JournalOptions {
        unflushed_bytes_max: 10_000,
        first_file_bytes: 1 << 16,
        total_bytes_max: 1 << 30,
        ..small()
    };
    let fixture = start(&SimFs::new(0), options);
    let (flushed, when_flushed) = mpsc::channel();
    for round in 0..1000 {
        std::thread::scope(|scope| {
            // There is room for one of them at a time.
            for number in [2 * round, 2 * round + 1] {
                let (fixture, flushed) = (&fixture, flushed.clone());
                scope.spawn(move || {
                    let lsn = fixture.append_within(number, &[1; 9_000], NOW)?;
                    fixture.journal.wait_flushed_blocking(lsn)?;
                    flushed.send(()).unwrap();
                    Ok::<(), JournalError>(())
                });
            }
            for _ in 0..2 {
                let in_time = when_flushed.recv_timeout(Duration::from_secs(20));
                if in_time.is_err() {
                    // Lets the threads end.
                    fixture.journal.poison("nothing is flushed any more");
                }
                assert_eq!(in_time, Ok(()), "round {round}");
            }
        });
    }
}

/// Rule 4: after a failed write or sync nothing is acknowledged, tried again or cut.
#[test]
fn a_failed_write_or_sync_poisons_the_journal() {
    for call in [FaultyCall::Write, FaultyCall::Sync] {
        let fixture = warm();
        fixture.fs.inject(fault(call));
        let lsn = fixture.append(1, b"lost");
        let poisoned = |result: Result<(), JournalError>| {
            assert!(
                matches!(result, Err(JournalError::Poisoned { .. })),
                "{call:?}: {result:?}"
            );
        };
        poisoned(fixture.journal.wait_flushed_blocking(lsn));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        poisoned(runtime.block_on(fixture.journal.flushed_to(lsn)));
        let operations = fixture.fs.operations();
        poisoned(fixture.append_within(2, b"refused", NOW).map(|_| ()));
        poisoned(fixture.journal.cut_before(Lsn(2)));
        assert!(matches!(
            fixture.journal.health(),
            JournalHealth::Poisoned { .. }
        ));
        std::thread::sleep(Duration::from_millis(20));
        let untouched = fixture.fs.operations();
        assert!(
            untouched <= operations + 3,
            "nothing is tried again (a prepared file may be taken out of the note, and deleted)"
        );
        assert_eq!(fixture.listener.flushed.lock()[..], [(1, Lsn(1))]);
        assert_eq!(fixture.listener.poisoned.lock().len(), 1);
        assert_eq!(fixture.journal.flushed(), Lsn(1));
        poisoned(fixture.journal.close());
        let fs = fixture.fs.kill(0);
        assert_eq!(
            read_back(&fs).unwrap()[0].1,
            0,
            "what was acknowledged is there"
        );
    }
}

#[test]
fn a_log_that_fails_poisons_the_journal_and_an_unfinished_flush_is_not_reported() {
    let fixture = warm();
    let held = fixture.fs.hold_syncs();
    let lsn = fixture.append(1, b"x");
    std::thread::sleep(Duration::from_millis(10));
    fixture.journal.poison("a segment could not be synced");
    drop(held);
    let error = fixture.journal.wait_flushed_blocking(lsn).unwrap_err();
    assert!(error.to_string().contains("a segment could not be synced"));
    eventually("the listener's news", || {
        fixture.listener.poisoned.lock().len() == 1
    });
    assert_eq!(fixture.listener.flushed.lock().len(), 1);
}

#[test]
fn a_close_flushes_what_was_taken_and_takes_nothing_more() {
    let fixture = warm();
    let lsn = fixture
        .append_within(1, b"x", Duration::from_secs(3600))
        .unwrap();
    fixture.journal.close().unwrap();
    fixture.journal.wait_flushed_blocking(lsn).unwrap();
    fixture.journal.close().unwrap();
    let after = fixture.append_within(2, b"x", NOW);
    assert!(matches!(after, Err(JournalError::Closed)));
    assert_eq!(offsets(&fixture.fs.power_cut(0)), [0, 1]);
}
