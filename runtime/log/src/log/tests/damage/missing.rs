//! Segments whose files are gone: said at the start, and their offsets are answered with an error; what retention took
//! and what a compacted segment covers is not missed.

use std::collections::BTreeSet;

use super::golden::{ALL, Golden, Outcome, file_of};
use super::{Failures, extension};
use crate::fs::FileSystem;
use crate::inspect::verify;
use crate::log::test_support::*;
use crate::segment::SegmentFile;
use crate::{Isolation, ReadError};

/// What goes with a segment's batches.
#[derive(Debug, Clone, Copy)]
enum Gone {
    Batches,
    AllFiles,
}

#[test]
fn a_rolled_segment_that_is_gone_is_said_at_the_start_and_costs_its_batches() {
    let mut failures = Failures::default();
    for (content, mode, stop) in ALL {
        let golden = Golden::new(content, mode, stop);
        let logs: Vec<_> = golden
            .files()
            .into_iter()
            .filter(|path| extension(path) == "log")
            .collect();
        for (path, gone) in logs
            .iter()
            .flat_map(|path| [(path, Gone::Batches), (path, Gone::AllFiles)])
        {
            let (_, base) = golden.batch_at(path, 0);
            let bytes = golden.bytes(path).len() as u64;
            let (_, last) = golden.batch_at(path, bytes - 1);
            let expected: BTreeSet<i64> = golden
                .batches
                .range(base..=last)
                .map(|(base, _)| *base)
                .collect();
            if segment_base(path) >= golden.synced_base || expected.is_empty() {
                continue;
            }
            let fs = golden.disk();
            fs.remove_file(path).unwrap();
            if let Gone::AllFiles = gone {
                for kind in SegmentFile::ALL {
                    let _ = fs.remove_file(&file_of(segment_base(path), kind));
                }
            }
            let case = golden.case(path, &format!("is gone: {gone:?}"));
            failures.run(&case, || {
                let as_fs: std::sync::Arc<dyn FileSystem> = std::sync::Arc::new(fs.kill(1));
                let found = verify(&as_fs, std::path::Path::new("/data"), true).unwrap();
                assert!(
                    found
                        .damages
                        .iter()
                        .any(|damage| damage.reason.contains("missing")),
                    "{case}: {found:?}"
                );
                // Twice: the first start must not take the evidence away.
                let again = std::sync::Arc::new(fs.kill(1));
                let outcome =
                    golden.check(&again, std::path::Path::new("/data/flights-0/x"), &case);
                assert_eq!(outcome, Outcome::Lost(expected.clone()), "{case}");
                let again = std::sync::Arc::new(again.kill(1));
                let (store, report) = golden.open(&again).unwrap();
                assert!(
                    report.problems.iter().any(|problem| {
                        problem.reason.contains("missing")
                            && problem.path.starts_with("/data/flights-0")
                    }),
                    "{case}: {report:?}"
                );
                let log = store.get(&id(0).topic_id, 0).unwrap();
                let first = base.max(golden.log_start);
                let refused = log.read(first, 100, Isolation::LogEnd, true).unwrap_err();
                assert!(matches!(refused, ReadError::Corrupt { .. }), "{refused}");
                assert!(refused.to_string().contains("missing"), "{refused}");
                assert_ne!(store.scrub(), []);
                assert!(log.offset_for_timestamp(NOW_MS, Isolation::LogEnd).is_err() || base > 0);
            });
        }
    }
}

fn segment_base(path: &std::path::Path) -> i64 {
    let name = path.file_stem().unwrap().to_str().unwrap();
    name.parse().unwrap()
}
