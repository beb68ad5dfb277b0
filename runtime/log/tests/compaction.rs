//! A compacted topic under transactions, half of them aborted, tombstones, clock jumps, power cuts and kills.
//!
//! Each time a reader from 0 sees the last committed value of every key, nothing that was aborted, offsets and order
//! as they were, and tombstones until `delete.retention.ms` after a pass met them, and not after the passes that follow.

mod compaction_model;

use std::ops::Range;

use compaction_model::live::FAIL_POINTS;
use compaction_model::{Model, Seen, beside, panics};
use millstream_log::testing::Random;
use parking_lot::{Mutex, MutexGuard};

/// Fail points belong to the process.
fn only_one() -> MutexGuard<'static, ()> {
    static FAIL_POINTS_IN_USE: Mutex<()> = Mutex::new(());
    FAIL_POINTS_IN_USE.lock()
}

/// For a longer search: `MILLSTREAM_COMPACTION_SEEDS=1000..2000`.
fn seeds(usual: Range<u64>) -> Range<u64> {
    match std::env::var("MILLSTREAM_COMPACTION_SEEDS") {
        Err(_) => usual,
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("a range as 1000..2000");
            from.parse().expect("a number")..to.parse().expect("a number")
        }
    }
}

fn history(seed: u64, steps: u64) -> Seen {
    let mut model = Model::new(seed);
    model.live(&mut Random::new(seed), steps);
    model.seen
}

#[test]
fn crashes_at_any_point_of_a_pass_lose_nothing_and_bring_nothing_back() {
    let _only = only_one();
    let mut total = Seen::default();
    let usual = 0..48;
    let seeds = seeds(usual.clone());
    for seed in seeds.clone() {
        total.add(&history(seed, 150));
    }
    println!("{total:?}");
    if seeds.end - seeds.start < usual.end {
        return;
    }
    assert!(
        total.all_crashes() + total.cuts >= 100,
        "too few crashes hit a pass: {total:?}"
    );
    assert!(total.passes >= 200, "too few passes: {total:?}");
    assert!(total.aborted >= 100 && total.committed >= 100, "{total:?}");
    assert!(
        total.dropped_tombstones >= 20,
        "no tombstone has vanished: {total:?}"
    );
    assert!(total.dropped >= 1000, "nothing was compacted: {total:?}");
}

/// The fail points that a pass itself reaches.
fn stages() -> Vec<&'static str> {
    let is_one = |name: &&str| *name != "segments.before_delete";
    FAIL_POINTS.into_iter().filter(is_one).collect()
}

#[test]
fn a_pass_that_panics_at_any_stage_costs_that_log_alone_and_for_a_while() {
    let _only = only_one();
    for stage in stages() {
        panics::one_log_suffers(stage);
    }
}

#[test]
fn writers_and_readers_beside_passes_survive_a_hundred_crashes_within_them() {
    let _only = only_one();
    let stages = stages();
    let mut total = Seen::default();
    let usual = 0..10;
    let seeds = seeds(usual.clone());
    for seed in seeds.clone() {
        total.add(&beside::history(seed, &stages));
    }
    println!("{total:?}");
    for stage in &stages {
        let crashes = total.crashes.get(stage).copied().unwrap_or_default();
        assert_eq!(crashes, seeds.end - seeds.start, "{stage}: {total:?}");
    }
    let aborted = total.aborted_percent();
    assert!(
        (45..=55).contains(&aborted),
        "{aborted} % aborted: {total:?}"
    );
    if seeds.end - seeds.start < usual.end {
        return;
    }
    assert!(total.all_crashes() >= 100, "too few crashes: {total:?}");
    assert!(total.passes >= 50, "too few passes: {total:?}");
    assert!(
        total.appended_beside >= 500 && total.unacknowledged >= 20,
        "the writers were not there: {total:?}"
    );
    assert!(
        total.dropped_tombstones >= 20,
        "no tombstone has vanished: {total:?}"
    );
    assert!(total.dropped >= 1000, "nothing was compacted: {total:?}");
}
