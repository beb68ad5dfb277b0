//! Offsets by time against a plain search.

use millstream_records::{BatchBuilder, BatchOptions, Compression};
use proptest::prelude::*;

use super::support::*;
use crate::{AppendOptions, FlushMode, Isolation, LogConfig};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Timestamps in any order, over several segments, compressed or not, before and after a restart.
    #[test]
    fn the_first_record_not_older_is_found(
        batches in prop::collection::vec((prop::collection::vec(0..500_i64, 1..6), any::<bool>()), 1..60),
    ) {
        let mut rig = Rig::new(FlushMode::Os);
        let config = LogConfig {
            segment_bytes: 700,
            index_interval_bytes: 150,
            ..LogConfig::default()
        };
        let log = rig.log_with(0, config);
        let mut all = Vec::new();
        for (times, compressed) in &batches {
            let mut builder = BatchBuilder::new(BatchOptions {
                compression: if *compressed { Compression::Lz4 } else { Compression::None },
                ..BatchOptions::default()
            });
            for time in times {
                builder.append(*time, None, Some(b"value"), []).unwrap();
                all.push(*time);
            }
            log.append(&mut builder.build().unwrap(), AppendOptions::client(4)).unwrap();
        }
        drop(log);
        for round in 0..3 {
            let log = rig.log(0);
            for asked in [0, 1, 50, 250, 499, 500] {
                let expected = all.iter().position(|time| *time >= asked);
                let found = log.offset_for_timestamp(asked, Isolation::Uncommitted).unwrap();
                prop_assert_eq!(found.map(|found| found.offset), expected.map(|at| at as i64), "{} in round {}", asked, round);
                if let Some(found) = found {
                    prop_assert_eq!(found.timestamp, all[found.offset as usize]);
                    prop_assert_eq!(found.leader_epoch, 4);
                }
            }
            let greatest = all.iter().copied().max().unwrap();
            let first = all.iter().position(|time| *time == greatest).unwrap();
            let found = log.max_timestamp().unwrap().unwrap();
            prop_assert_eq!((found.timestamp, found.offset), (greatest, first as i64));
            drop(log);
            rig = if round == 0 { rig.close_and_reopen() } else { rig.kill_and_reopen(1) };
        }
    }
}

#[test]
fn a_time_lookup_sees_what_its_isolation_shows() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log(0);
    append(&log, &["a"]);
    produce(&log, &["open", "transaction"], (1, 0, 0), true).unwrap();
    let at = NOW_MS + 1;
    let find = |isolation| {
        log.offset_for_timestamp(at, isolation)
            .unwrap()
            .map(|found| found.offset)
    };
    assert_eq!(find(Isolation::Uncommitted), Some(2));
    assert_eq!(find(Isolation::Committed), None);
}
