//! Rules 1 and 3 under power cuts at every point: what a redo hands back is a prefix of what was
//! appended, and everything acknowledged is in it.

use proptest::prelude::*;

use super::*;
use crate::testing::{Fault, FaultyCall, Random};

/// The content of the entry with this offset.
fn bytes_of(number: i64) -> Vec<u8> {
    let mut random = Random::new(number as u64);
    let len = match random.below(10) {
        0 => random.below(6000),
        _ => random.below(600),
    };
    (0..len).map(|_| random.next_u64() as u8).collect()
}

/// What one life of a journal left behind.
struct Life {
    appended: i64,
    acknowledged: i64,
}

/// Appends from several threads until the power is off or all is done.
fn live(fs: &SimFs, first: i64, count: i64, random: &mut Random) -> Option<Life> {
    let journal = redo(fs).and_then(|mut redo| {
        while redo.next_entry()?.is_some() {}
        let first_lsn = Lsn(redo.last_lsn().0 + 1 + random.below(3));
        redo.start(JournalOptions {
            first_lsn,
            ..small()
        })
    });
    let journal = match journal {
        Ok(journal) => journal,
        // The power went off during the start.
        Err(JournalError::Io { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    let fixture = Fixture {
        fs: fs.clone(),
        journal,
        listener: Arc::default(),
    };
    let next = Mutex::new(first);
    let acknowledged = Mutex::new(first);
    let seeds: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
    std::thread::scope(|scope| {
        for seed in seeds {
            let (fixture, next, acknowledged) = (&fixture, &next, &acknowledged);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                loop {
                    let mut turn = next.lock();
                    let number = *turn;
                    if number == first + count {
                        return;
                    }
                    let Ok(lsn) = fixture.append_within(number, &bytes_of(number), NOW) else {
                        return;
                    };
                    *turn += 1;
                    drop(turn);
                    if random.chance(30) && fixture.journal.wait_flushed_blocking(lsn).is_ok() {
                        let mut acknowledged = acknowledged.lock();
                        *acknowledged = (*acknowledged).max(number + 1);
                    }
                }
            });
        }
    });
    let appended = *next.lock();
    // What a listener was told counts as acknowledged too: it moves the high watermark.
    let told = fixture
        .listener
        .flushed
        .lock()
        .last()
        .map_or(first, |(end, _)| *end);
    let acknowledged = (*acknowledged.lock()).max(told);
    Some(Life {
        appended,
        acknowledged,
    })
}

/// Lives of a journal, each ended by a power cut or a kill at a random point.
fn survive(seed: u64, lives: usize) {
    let mut random = Random::new(seed);
    let mut fs = SimFs::new(seed);
    // What the next life begins with, and what must be there whatever happens.
    let (mut found_before, mut acknowledged) = (0, 0);
    for _ in 0..lives {
        fs.cut_power_after(random.below(80));
        let life = live(&fs, found_before, 60, &mut random);
        let appended = life.as_ref().map_or(found_before, |life| life.appended);
        acknowledged = life.map_or(acknowledged, |life| life.acknowledged);
        fs = match random.chance(30) {
            true => fs.kill(random.next_u64()),
            false => fs.power_cut(random.next_u64()),
        };
        let found = read_back(&fs).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let count = found.len() as i64;
        assert!(
            count >= acknowledged,
            "seed {seed}: {acknowledged} acknowledged, {count} found"
        );
        assert!(count <= appended, "seed {seed}");
        let mut last = 0;
        for (index, (lsn, offset, bytes)) in found.into_iter().enumerate() {
            assert!(lsn > last, "seed {seed}: number {lsn} after {last}");
            last = lsn;
            assert_eq!(offset, index as i64, "seed {seed}");
            assert!(
                bytes == bytes_of(offset),
                "seed {seed}: entry {offset} is torn"
            );
        }
        found_before = count;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_acknowledged_survives_and_what_survives_is_a_prefix(seed in any::<u64>()) {
        survive(seed, 4);
    }
}

/// The end of the journal as a new process reads it may be in the page cache only. What is built
/// on it must not outlive it.
#[test]
fn what_a_start_has_read_is_durable_before_anything_follows_it() {
    for seed in 0..50 {
        let fs = SimFs::new(seed);
        let fixture = start(
            &fs,
            JournalOptions {
                first_file_bytes: 1 << 16,
                ..small()
            },
        );
        fixture.commit(0, b"acknowledged");
        let _held = fs.hold_syncs();
        fixture.append(1, &[1; 3000]);
        let written = || fs.read(&file(1), 1 << 20).unwrap()[1024] != 0;
        eventually("the write", written);
        let fs = fs.kill(seed);
        drop(fixture);
        assert_eq!(
            offsets(&fs),
            [0, 1],
            "the process died, the page cache did not"
        );
        let fixture = start(&fs, small());
        fixture.commit(2, b"built on it");
        let fs = fs.power_cut(seed);
        assert_eq!(offsets(&fs), [0, 1, 2]);
    }
}

/// After a failed sync Linux may keep the bytes in the page cache, marked as if they were on disk.
/// A start that reads them has to write them again; a sync alone would do nothing.
#[test]
fn what_a_failed_sync_left_in_the_page_cache_is_written_again() {
    for seed in 0..50 {
        let fs = SimFs::new(seed);
        let options = JournalOptions {
            first_file_bytes: 1 << 16,
            ..small()
        };
        let fixture = start(&fs, options);
        fixture.commit(0, b"acknowledged");
        eventually("a quiet disk", || {
            fs.metadata(&file(2)).is_ok() && fs.all_is_durable()
        });
        fs.inject(Fault {
            call: FaultyCall::Sync,
            path_contains: files::file_name(1),
            nth: 1,
            kind: io::ErrorKind::Other,
        });
        let lsn = fixture.append(1, &[1; 3000]);
        assert!(fixture.journal.wait_flushed_blocking(lsn).is_err());
        let fs = fs.kill(seed);
        drop(fixture);
        assert_eq!(offsets(&fs), [0, 1], "not acknowledged, but there");
        start(&fs, small()).commit(2, b"built on it");
        assert_eq!(offsets(&fs.power_cut(seed)), [0, 1, 2]);
    }
}

/// A failed write of the note is seen by the next start, and a power cut may bring back what was there before it.
#[test]
fn a_note_that_a_start_has_seen_damaged_does_not_name_files_that_it_deletes() {
    let note = Path::new("/data/journal.files");
    for seed in 0..40 {
        let fixture = start(&SimFs::new(seed), small());
        fixture.commit(0, b"first");
        eventually("the second file", || {
            fixture.fs.exists(&file(2)).unwrap() && fixture.fs.all_is_durable()
        });
        let fs = fixture.fs.kill(seed);
        // Not synced: the disk still has both files noted.
        let torn = fs.open(note, crate::fs::OpenMode::ReadWrite).unwrap();
        torn.write_at(b"torn", 20).unwrap();
        let again = start(&fs, small());
        let later = fs.power_cut(seed);
        drop((fixture, again));
        assert_eq!(offsets(&later), [0], "seed {seed}");
    }
}
