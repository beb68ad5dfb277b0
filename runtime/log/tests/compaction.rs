//! A compacted topic under transactions, half of them aborted, tombstones, clock jumps, power cuts and kills.
//!
//! Each time a reader from 0 sees the last committed value of every key, nothing that was aborted, offsets and order
//! as they were, and tombstones until `delete.retention.ms` after a pass met them, and not after the passes that follow.

mod compaction_model;

use compaction_model::{Model, Seen};
use millstream_log::testing::Random;

fn history(seed: u64, steps: u64) -> Seen {
    let mut model = Model::new(seed);
    model.live(&mut Random::new(seed), steps);
    model.seen
}

/// Fail points belong to the process, so this is the only test here that arms them.
#[test]
fn crashes_at_any_point_of_a_pass_lose_nothing_and_bring_nothing_back() {
    let seeds = std::env::var("MILLSTREAM_COMPACTION_SEEDS").unwrap_or("0..48".into());
    let (from, to) = seeds.split_once("..").expect("a range as 1000..2000");
    let mut total = Seen::default();
    let mut histories = 0;
    for seed in from.parse().expect("a number")..to.parse().expect("a number") {
        let seen = history(seed, 150);
        histories += 1;
        total.passes += seen.passes;
        total.crashes += seen.crashes;
        total.aborted += seen.aborted;
        total.committed += seen.committed;
        total.dropped += seen.dropped;
        total.dropped_tombstones += seen.dropped_tombstones;
    }
    println!("{total:?}");
    if histories >= 48 {
        assert!(
            total.crashes >= 100,
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
}
