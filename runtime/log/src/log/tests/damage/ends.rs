//! Files that end too early.

use super::content::Content;
use super::golden::{ALL, Golden, Outcome, Stop};
use super::journal::Journal;
use super::{Failures, extension, name};
use crate::fs::{FileSystem, OpenMode};

#[test]
fn a_file_that_ends_at_any_byte_keeps_what_it_has_or_is_refused() {
    let mut failures = Failures::default();
    for (content, mode, stop) in ALL {
        let golden = Golden::new(content, mode, stop);
        for path in golden.files() {
            let is_full = extension(&path) == "log" || content == Content::Appended;
            let step = golden.step(&path, is_full && stop == Stop::Closed);
            let journal = Journal::of(&golden, &path);
            for end in (0..golden.bytes(&path).len() as u64).step_by(step) {
                let fs = golden.disk();
                let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
                file.set_len(end).unwrap();
                file.sync_all().unwrap();
                drop(file);
                let case = golden.case(&path, &format!("with {end} bytes"));
                failures.run(&case, || {
                    let outcome = golden.check(&fs, &path, &case);
                    if let Some(journal) = &journal {
                        return assert_eq!(outcome, journal.after_cut(end));
                    }
                    match (extension(&path), name(&path)) {
                        ("log", _) => {
                            let (_, first) = golden.batch_at(&path, end);
                            let Outcome::Lost(lost) = outcome else {
                                assert_eq!(outcome, Outcome::Whole);
                                // What the journal has is written again.
                                let is_below = !golden.batches.contains_key(&first);
                                assert!(is_below || stop == Stop::Killed, "nothing is said");
                                return;
                            };
                            assert!(lost.iter().all(|base| *base >= first), "{lost:?}");
                            let is_first = golden.batches.contains_key(&first);
                            assert!(!is_first || lost.contains(&first), "{lost:?}");
                        }
                        (_, "millstream-checkpoint") => assert_eq!(outcome, Outcome::Refused),
                        (_, "meta.properties" | "partition.metadata") => {
                            assert!(matches!(outcome, Outcome::Whole | Outcome::Refused));
                        }
                        _ => assert_eq!(outcome, Outcome::Whole),
                    }
                });
            }
        }
    }
}
