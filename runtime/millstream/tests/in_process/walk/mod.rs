//! Every file of a small node's data directory: deleted, emptied, cut, each bit flipped; closed and killed, in both flush
//! modes. Allowed is that everything is right, or that a start or a partition is refused, with file and advice, and that all
//! is right again when the file is put back. Never is a record gone, an offset given twice, a group or a transaction
//! moved, or something deleted.
//!
//! Two exceptions, where damage cannot be told from a write that a crash cut short: after a kill, the journal's very last
//! group; and, without a journal, what lies behind a recovery point. The last record of the topic `last` stands there, alone.
//!
//! `cargo xtask walk` walks all of it; here it is a sample.

mod damage;
mod judge;
mod node;
mod seen;

use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_log::FlushMode;
use millstream_log::testing::Random;

use damage::{Case, cases};
use judge::{Tally, judge};
use node::{Base, Stop};

/// Cases of each kind of stop in an ordinary run of the tests, of some 100,000.
const SAMPLE: usize = 250;

/// How often a walk says how far it is.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// `MILLSTREAM_WALK=all` walks the whole of it; a number is how many cases of each kind of stop.
fn wanted(all: usize) -> usize {
    match std::env::var("MILLSTREAM_WALK").as_deref() {
        Err(_) => SAMPLE,
        Ok("all") => all,
        Ok(number) => number
            .parse()
            .expect("MILLSTREAM_WALK is `all` or a number"),
    }
}

/// The cases that are named by `MILLSTREAM_WALK_ONLY`; without it some, but all of those that take a whole file.
fn sample(mut cases: Vec<Case>) -> Vec<Case> {
    if let Ok(only) = std::env::var("MILLSTREAM_WALK_ONLY") {
        cases.retain(|case| case.to_string().contains(&only));
        return cases;
    }
    let wanted = wanted(cases.len());
    let mut random = Random::new(1);
    let mut left = cases.len();
    let mut needed = wanted.min(left);
    cases.retain(|case| {
        let takes = case.is_coarse() || random.below(left as u64) < needed as u64;
        left -= 1;
        needed -= usize::from(takes && needed > 0);
        takes
    });
    cases
}

async fn walk(flush: FlushMode, stop: Stop) {
    let base = Arc::new(Base::build(flush, stop).await);
    judge::check_undamaged(&base).await;
    let cases = sample(cases(&base));
    let (begun, count) = (Instant::now(), cases.len());
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    let mut cases = cases.into_iter().peekable();
    let mut said = Instant::now();
    while cases.peek().is_some() {
        if said.elapsed() >= BETWEEN_LINES {
            said = Instant::now();
            println!(
                "{flush}, {stop:?}: {} of {count} cases in {:?}, {} wrong",
                count - cases.len(),
                begun.elapsed(),
                wrong.len()
            );
        }
        let judged: Vec<_> = cases
            .by_ref()
            .take(16)
            .map(|case| {
                let base = Arc::clone(&base);
                tokio::spawn(async move {
                    let verdict = judge(&base, &case).await;
                    (case, verdict)
                })
            })
            .collect();
        for judged in judged {
            match judged.await.unwrap() {
                (case, Ok(verdict)) => tally.count(&case, verdict),
                (case, Err(complaint)) => wrong.push(format!("{case}: {complaint}")),
            }
        }
    }
    println!(
        "{flush}, {stop:?}: {count} cases in {:?}: {tally}",
        begun.elapsed()
    );
    let shown: Vec<_> = wrong.iter().take(40).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{flush}, {stop:?}: {} of {count} cases are wrong:\n{}",
        wrong.len(),
        shown.join("\n")
    );
    // A few may all end alike.
    if count >= SAMPLE {
        tally.check();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_a_closed_node_with_a_journal_costs_nothing() {
    walk(FlushMode::Journal, Stop::Close).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_a_killed_node_with_a_journal_costs_nothing() {
    walk(FlushMode::Journal, Stop::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_a_closed_node_without_a_journal_costs_nothing() {
    walk(FlushMode::Os, Stop::Close).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_a_killed_node_without_a_journal_costs_nothing() {
    walk(FlushMode::Os, Stop::Kill).await;
}
