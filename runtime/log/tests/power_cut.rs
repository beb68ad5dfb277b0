//! The whole store under power cuts at random points: producers and transactions append from two
//! threads, checkpoints run, the power goes off after any number of disk operations, and the next
//! life starts from what any combination of unsynced sectors and names left.
//!
//! Each time: nothing acknowledged is lost, no batch is torn, what survives over all logs is a prefix
//! of what was appended (so a transaction's marker never survives without all of its data), offsets
//! and producer states go on where the survivors end, and readers see committed transactions only.

mod store_model;

use std::sync::Arc;

use millstream_log::LogStore;
use millstream_log::testing::{Random, SimFs};
use store_model::{Model, Seen, open};

/// One disk's history: lives that end by a power cut, a kill or a clean close.
fn history(seed: u64, lives: usize) -> Seen {
    let mut random = Random::new(seed);
    let mut fs = SimFs::new(seed);
    let mut model = Model::new(seed);
    for life in 0..lives {
        // Half of the cuts may hit the recovery itself.
        let early = random.chance(50);
        let cut_after = random.below(if early { 60 } else { 250 });
        if early {
            fs.cut_power_after(cut_after);
        }
        if let Some(store) = start(&fs, &mut model) {
            if !early {
                fs.cut_power_after(cut_after);
            }
            model.live(&store, &mut random, life as i32);
            if random.chance(10) && store.close_blocking().is_ok() {
                model.everything_is_acknowledged();
            }
        }
        fs = match random.chance(25) {
            true => fs.kill(random.next_u64()),
            false => fs.power_cut(random.next_u64()),
        };
    }
    assert!(
        start(&fs, &mut model).is_some(),
        "seed {seed}: the last start has power"
    );
    model.seen
}

/// Opens the store and compares it with the model; none when the power went off meanwhile.
fn start(fs: &SimFs, model: &mut Model) -> Option<Arc<LogStore>> {
    let (store, report) = match open(fs) {
        Ok(opened) => opened,
        Err(_) if fs.is_off() => return None,
        Err(error) => panic!("seed {}: the store does not start: {error}", model.seed),
    };
    for problem in &report.problems {
        let expected = ["set aside", "left alone"];
        let harmless = expected.iter().any(|part| problem.reason.contains(part));
        assert!(harmless, "seed {}: {problem}", model.seed);
    }
    match model.compare(&store) {
        Ok(()) => Some(store),
        Err(_) if fs.is_off() => None,
        Err(difference) => panic!("seed {}: {difference}", model.seed),
    }
}

#[test]
fn a_power_cut_at_any_point_loses_nothing_acknowledged_and_tears_nothing() {
    let histories: Vec<Seen> = (0..240).map(|seed| history(seed, 4)).collect();
    let sum = |what: fn(&Seen) -> u64| histories.iter().map(what).sum::<u64>();
    assert!(
        sum(|seen| seen.starts) > 400,
        "too few stores came back between the cuts"
    );
    assert!(
        sum(|seen| seen.acknowledged) > 8000,
        "too little was acknowledged to be lost"
    );
    assert!(
        sum(|seen| seen.lost) > 600,
        "the cuts lost nothing, so they were none"
    );
    assert!(
        sum(|seen| seen.open_transactions) > 30,
        "no cut hit a transaction"
    );
}

/// For a longer search: `MILLSTREAM_POWER_CUT_SEEDS=1000..2000`.
#[test]
fn the_seeds_that_the_environment_asks_for() {
    let range = std::env::var("MILLSTREAM_POWER_CUT_SEEDS").unwrap_or("10000..10010".into());
    let (from, to) = range.split_once("..").expect("a range as 1000..2000");
    let mut total = Seen::default();
    for seed in from.parse().expect("a number")..to.parse().expect("a number") {
        let seen = history(seed, 4);
        total.starts += seen.starts;
        total.acknowledged += seen.acknowledged;
        total.lost += seen.lost;
        total.open_transactions += seen.open_transactions;
    }
    println!("{total:?}");
}
