//! Logs against a plain model, through random histories: appends of several producers, transactions, rolls, retention,
//! DeleteRecords, truncations, compaction, checkpoints, clock jumps, failing writes and syncs, a full disk, clean stops,
//! kills and power cuts. Everything that can be read must equal the model, but for what passes of the cleaner may drop.
//!
//! `MILLSTREAM_MODEL_CASES` and `MILLSTREAM_MODEL_SEED` (or `cargo xtask model --cases N --seed S`) search longer, or
//! repeat one case. What the journal's threads do between two steps is the machine's affair, so a case that fails may have
//! to be run a few times.

mod log_model;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use log_model::{Case, Seen};

/// Histories of an ordinary run of the tests.
const CASES: u64 = 2000;
const FIRST_SEED: u64 = 1;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}, expected a number")),
        Err(_) => default,
    }
}

/// One history; what went wrong is told with its seed and its last steps.
fn run(seed: u64, seen: &mut Seen) {
    let mut case = Case::new(seed);
    let result = catch_unwind(AssertUnwindSafe(|| case.run()));
    let result = match result {
        Ok(result) => result,
        Err(panic) => {
            eprintln!("{}", case.story());
            resume_unwind(panic);
        }
    };
    if let Err(difference) = result {
        panic!("{difference}\n{}", case.story());
    }
    seen.add(&case.seen);
}

#[test]
fn logs_equal_the_model_through_random_histories() {
    let cases = number("MILLSTREAM_MODEL_CASES", CASES);
    let first = number("MILLSTREAM_MODEL_SEED", FIRST_SEED);
    let mut seen = Seen::default();
    for seed in first..first.saturating_add(cases) {
        run(seed, &mut seen);
    }
    println!("{cases} histories from seed {first}: {seen:?}");
    // A search that meets nothing proves nothing.
    if cases >= CASES {
        seen.check(cases);
    }
}
