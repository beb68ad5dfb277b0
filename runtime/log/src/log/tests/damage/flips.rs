//! One flipped bit in every byte of every file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::content::Content;
use super::golden::{ALL, Golden, Outcome, Stop};
use super::journal::Journal;
use super::{Failures, extension, name};
use crate::FlushMode;

/// Every byte of these.
const FULL: [(Content, FlushMode, Stop); 2] = [
    (Content::Appended, FlushMode::Os, Stop::Killed),
    (Content::Compacted, FlushMode::Journal, Stop::Closed),
];

#[test]
fn a_flipped_bit_anywhere_is_repaired_or_refused_or_costs_its_batch() {
    let mut failures = Failures::default();
    let mut kinds = BTreeMap::new();
    for (content, mode, stop) in ALL {
        // A closed directory without a journal is opened as one with a journal is.
        if (mode, stop) == (FlushMode::Os, Stop::Closed) {
            continue;
        }
        let golden = Golden::new(content, mode, stop);
        let is_full = FULL.contains(&(content, mode, stop));
        for path in golden.files() {
            if extension(&path) == "journal" && content == Content::Compacted {
                continue;
            }
            let bytes = golden.bytes(&path);
            let step = golden.step(&path, is_full);
            let journal = Journal::of(&golden, &path);
            for (at, byte) in bytes.iter().enumerate().step_by(step) {
                let fs = golden.disk();
                fs.damage(&path, at as u64, &[byte ^ (1 << (at % 8))]);
                let case = golden.case(&path, &format!("byte {at}"));
                failures.run(&case, || {
                    let outcome = golden.check(&fs, &path, &case);
                    match &journal {
                        Some(journal) => {
                            assert_eq!(outcome, journal.after_flip(at as u64, &outcome));
                        }
                        None => check_outcome(&golden, &path, at as u64, &outcome),
                    }
                });
            }
            *kinds.entry(extension(&path).to_owned()).or_insert(0) += bytes.len();
        }
    }
    for kind in [
        "log",
        "index",
        "timeindex",
        "txnindex",
        "checksums",
        "snapshot",
        "journal",
    ] {
        assert!(
            kinds.get(kind).is_some_and(|count| *count > 60),
            "{kind}: {kinds:?}"
        );
    }
}

fn check_outcome(golden: &Golden, path: &Path, at: u64, outcome: &Outcome) {
    match (extension(path), name(path)) {
        ("log", _) => {
            let (_, base) = golden.batch_at(path, at);
            if !golden.batches.contains_key(&base) {
                // Below the log's start.
                return assert_eq!(*outcome, Outcome::Whole);
            }
            let one = BTreeSet::from([base]);
            let all_behind = golden
                .batches
                .range(base..)
                .map(|(base, _)| *base)
                .collect();
            match outcome {
                // What was in the journal is written again.
                Outcome::Whole => {
                    assert_ne!((golden.mode, golden.stop), (FlushMode::Os, Stop::Closed))
                }
                Outcome::Lost(lost)
                    if golden.stop == Stop::Killed && golden.mode == FlushMode::Os =>
                {
                    // Behind the recovery point a log is cut at the first bad batch.
                    assert!(*lost == one || *lost == all_behind, "{lost:?}");
                }
                Outcome::Lost(lost) => assert_eq!(*lost, one, "a flip costs one batch"),
                Outcome::Refused => panic!("refused"),
            }
        }
        (_, "millstream-checkpoint") => assert_eq!(*outcome, Outcome::Refused),
        // Whose directory it is may be told in other words: an id that became another one is not ours to know.
        (_, "meta.properties" | "partition.metadata") => {
            assert!(
                matches!(outcome, Outcome::Whole | Outcome::Refused),
                "{outcome:?}"
            );
        }
        _ => assert_eq!(*outcome, Outcome::Whole),
    }
}
