//! The example on real data: what it commits, as kcat reads it, against what the oracle computes; and
//! Apache Kafka's own tool over the files.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use millstream_end_to_end::{Client, NodeCommand, check_flights_files, committed_flights};
use millstream_oracle::{Comparison, Record, flights};
use serde_json::Value;

use crate::scene::root;

const RUN_LIMIT: Duration = Duration::from_secs(240);

#[test]
fn the_flights_example_commits_exactly_what_it_should() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let manifest = root().join("examples/01-flights/pipeline.toml");
    // Once more, and once more from the beginning: the topics hold the same.
    for again in [&[][..], &["--fresh"]] {
        let stopped = NodeCommand::run(&manifest, &data)
            .argument("--once")
            .arguments(again)
            .start()?
            .wait_for(RUN_LIMIT)?;
        assert!(stopped.status.success(), "{stopped:?}");
        check_summary(&serde_json::from_str(&stopped.stdout)?);
        if let Some(program) = Client::Kcat.find() {
            check_records(&program, &data)?;
        }
    }
    if let Some(jars) = Client::ApacheKafka.find() {
        check_flights_files(&jars, &data)?;
    }
    Ok(())
}

fn check_summary(summary: &Value) {
    assert_eq!(summary["records_in"], 336_776, "{summary}");
    let out = |topic: &str| summary["records_out"][topic].as_u64();
    assert_eq!(out("flights.late"), Some(27_789), "{summary}");
    assert_eq!(out("flights.ontime"), Some(299_557), "{summary}");
    assert_eq!(out("flights.dead"), Some(9_430), "{summary}");
    assert_eq!(summary["dead_letters"], 9_430, "{summary}");
}

fn check_records(program: &str, data: &Path) -> Result<()> {
    let found = committed_flights(program, data)?;
    let csv = root().join("examples/01-flights/data/flights.csv.zst");
    let expected = flights::expected(&csv)?;
    let comparison = flights::comparison();
    let same = comparison.compare(&expected, &found);
    assert!(same.is_ok(), "{}", same.unwrap_err());
    check_that_the_comparison_can_fail(&comparison, &expected, &found);
    Ok(())
}

/// The test of the test: one record more or less must be found out.
fn check_that_the_comparison_can_fail(
    comparison: &Comparison,
    expected: &[Record],
    found: &[Record],
) {
    let (dropped, _) = found.split_at(found.len() - 1);
    assert!(
        comparison.compare(expected, dropped).is_err(),
        "a dropped record went unnoticed"
    );
    let mut added = found.to_vec();
    added.push(found[found.len() / 2].clone());
    assert!(
        comparison.compare(expected, &added).is_err(),
        "an added record went unnoticed"
    );
}
