//! Zeroed blocks, missing files, stray files, other versions, and indexes that point behind the end.

use std::path::Path;

use super::golden::{ALL, Golden, Outcome, PARTITION, Stop};
use super::{Failures, extension, name};
use crate::fs::{FileSystem, OpenMode};
use crate::log::test_support::NOW_MS;

#[test]
fn zeroed_blocks_are_survived_and_cost_what_they_held() {
    let mut failures = Failures::default();
    for (content, mode, stop) in ALL {
        let golden = Golden::new(content, mode, stop);
        for path in golden.files() {
            let bytes = golden.bytes(&path);
            let len = bytes.len() as u64;
            for at in (0..len).step_by(64) {
                let end = len.min(at + 64);
                // Zeros that were there before change nothing.
                let held = &bytes[at as usize..end as usize];
                let Some(first) = held.iter().position(|byte| *byte != 0) else {
                    continue;
                };
                let last = held.iter().rposition(|byte| *byte != 0).unwrap_or(first);
                let (first, last) = (at + first as u64, at + last as u64);
                let fs = golden.disk();
                fs.damage(&path, at, &vec![0; (end - at) as usize]);
                let case = golden.case(&path, &format!("zeros at {at}"));
                failures.run(&case, || {
                    let outcome = golden.check(&fs, &path, &case);
                    match (extension(&path), name(&path)) {
                        ("log", _) => {
                            let (_, first) = golden.batch_at(&path, first);
                            let (_, last) = golden.batch_at(&path, last);
                            let Outcome::Lost(lost) = &outcome else {
                                let is_below = !golden.batches.contains_key(&last);
                                assert_eq!(outcome, Outcome::Whole);
                                assert!(is_below || stop == Stop::Killed);
                                return;
                            };
                            // Behind the recovery point all that follows goes with it.
                            let is_near = |base: &i64| *base <= last || stop == Stop::Killed;
                            assert!(
                                lost.iter().all(|base| *base >= first && is_near(base)),
                                "{lost:?}"
                            );
                        }
                        (_, "millstream-checkpoint") => assert_eq!(outcome, Outcome::Refused),
                        (_, "meta.properties" | "partition.metadata") | ("journal", _) => {}
                        _ => assert_eq!(outcome, Outcome::Whole),
                    }
                });
            }
        }
    }
}

#[test]
fn what_can_be_made_anew_may_be_missing() {
    let mut failures = Failures::default();
    for (content, mode, stop) in ALL {
        let golden = Golden::new(content, mode, stop);
        for path in golden.files() {
            // Segments have tests of their own, and without a metadata log a directory without a checkpoint is another one.
            if extension(&path) == "log" || name(&path) == "millstream-checkpoint" {
                continue;
            }
            let fs = golden.disk();
            fs.remove_file(&path).unwrap();
            let case = golden.case(&path, "is missing");
            failures.run(&case, || {
                let outcome = golden.check(&fs, &path, &case);
                let expected = match (extension(&path), name(&path)) {
                    (_, "partition.metadata" | "meta.properties") => Outcome::Refused,
                    // The one that is prepared for what comes may not be noted yet.
                    ("journal", name) if !name.ends_with("01.journal") => return,
                    ("journal", _) => Outcome::Refused,
                    _ => Outcome::Whole,
                };
                assert_eq!(outcome, expected);
            });
        }
    }
}

#[test]
fn stray_files_are_left_alone() {
    for (content, mode, stop) in ALL {
        let golden = Golden::new(content, mode, stop);
        let fs = golden.disk();
        let strays = [
            "flights-0/00000000000000000003.index",
            "flights-0/00000000000000000003.checksums",
            "flights-0/00000000000000000003.snapshot",
            "flights-0/99999999999999999999.log",
            "flights-0/09223372036854775807.log",
            "flights-0/00000000000000000000.log.tmp",
            "flights-0/00000000000000000001.txnindex.cleaned",
            "flights-0/00000000000000000001.index.swap",
            "flights-0/00000000000000000001.log.deleted",
            "flights-0/core",
            "not-a-partition/file",
            "flights-x/00000000000000000000.log",
            "journal/notes.txt",
            "stray.file",
        ];
        for stray in strays {
            let path = Path::new("/data").join(stray);
            fs.create_dir_all(path.parent().unwrap()).unwrap();
            let file = fs.open(&path, OpenMode::Create).unwrap();
            file.write_at(b"nothing of ours", 0).unwrap();
        }
        let case = golden.case(Path::new("/data"), "strays");
        let outcome = golden.check(&fs, Path::new("/data/x"), &case);
        assert_eq!(outcome, Outcome::Whole, "{case}");
    }
}

#[test]
fn another_version_is_refused_or_built_anew() {
    let mut failures = Failures::default();
    for (content, mode, stop) in ALL {
        let golden = Golden::new(content, mode, stop);
        for path in golden.files() {
            // Where each format has its version, and one that nobody knows.
            let (at, version, is_refused): (u64, &[u8], bool) =
                match (extension(&path), name(&path)) {
                    ("log", _) => (16, &[3], false),
                    ("txnindex", _) => (0, &[0, 1], false),
                    ("snapshot", _) => (0, &[0, 9], false),
                    ("checksums", _) => (0, b"3", false),
                    (_, "millstream-checkpoint") => (0, b"MSCKPT99", true),
                    (_, "meta.properties") => {
                        let text = golden.bytes(&path);
                        let mut parts = text.windows(8);
                        let at = parts.position(|part| part == b"version=").unwrap();
                        (at as u64 + 8, b"2", true)
                    }
                    (_, "partition.metadata") => (9, b"7", true),
                    (_, name) if name.ends_with("-checkpoint") => (0, b"1", false),
                    _ => continue,
                };
            let fs = golden.disk();
            fs.damage(&path, at, version);
            let case = golden.case(&path, "of another version");
            failures.run(&case, || {
                let outcome = golden.check(&fs, &path, &case);
                match (extension(&path), is_refused) {
                    ("log", _) => assert_ne!(outcome, Outcome::Refused),
                    (_, true) => assert_eq!(outcome, Outcome::Refused),
                    (_, false) => assert_eq!(outcome, Outcome::Whole),
                }
            });
        }
    }
}

#[test]
fn an_index_that_points_behind_the_end_is_not_followed() {
    for (content, mode, stop) in ALL {
        let golden = Golden::new(content, mode, stop);
        for path in golden.files() {
            if !path.starts_with(PARTITION) {
                continue;
            }
            let entry: Vec<u8> = match extension(&path) {
                "index" => [1_i32, i32::MAX]
                    .iter()
                    .flat_map(|n| n.to_be_bytes())
                    .collect(),
                "timeindex" => {
                    let timestamp = (NOW_MS - 5).to_be_bytes();
                    timestamp
                        .into_iter()
                        .chain(i32::MAX.to_be_bytes())
                        .collect()
                }
                "txnindex" => vec![0xff; 34],
                _ => continue,
            };
            let fs = golden.disk();
            fs.damage(&path, 0, &entry);
            let case = golden.case(&path, "points behind the end");
            assert_eq!(golden.check(&fs, &path, &case), Outcome::Whole, "{case}");
        }
    }
}
