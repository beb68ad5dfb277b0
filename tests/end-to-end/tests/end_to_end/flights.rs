//! The example on real data: what it commits, as kcat reads it, against what the oracle computes; and
//! Apache Kafka's own tool over the files.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use millstream_end_to_end::{Client, NodeCommand, check_files, kcat_read_committed};
use millstream_oracle::{
    Comparison, Order, Record, dead_letters, flights, parse_kcat, parse_kcat_with_offsets,
};
use serde_json::Value;

use crate::scene::root;

/// Topics whose files must hold committed transactions, and groups whose offsets must be there.
const OUTPUTS: &[&str] = &["flights.late", "flights.ontime", "flights.dead"];
const GROUPS: &[&str] = &["millstream.flights.clean", "millstream.flights.route"];
const RUN_LIMIT: Duration = Duration::from_secs(240);

#[test]
fn the_flights_example_commits_exactly_what_it_should() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let manifest = root().join("examples/01-flights/pipeline.toml");
    let stopped = NodeCommand::run(&manifest, &data)
        .argument("--once")
        .start()?
        .wait_for(RUN_LIMIT)?;
    assert!(stopped.status.success(), "{stopped:?}");
    check_summary(&serde_json::from_str(&stopped.stdout)?);
    if let Some(program) = Client::Kcat.find() {
        check_records(&program, &data)?;
    }
    if let Some(jars) = Client::ApacheKafka.find() {
        check_files(&jars, &data, OUTPUTS, GROUPS)?;
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
    let node = NodeCommand::serve(data).start()?;
    let read = |topic: &str| kcat_read_committed(program, node.kafka, topic);
    let mut found = Vec::new();
    for topic in OUTPUTS {
        found.extend(parse_kcat(read(topic)?.as_slice())?);
    }
    let inputs = parse_kcat_with_offsets(read(flights::SOURCE)?.as_slice())?;
    let csv = root().join("examples/01-flights/data/flights.csv.zst");
    let expected = flights::expected(&csv)?;
    let comparison = Comparison::new()
        .order(Order::PerKey)
        .any_value_of(flights::DEAD, dead_letters::OFFSET);
    let same = comparison.compare(&expected, &found);
    assert!(same.is_ok(), "{}", same.unwrap_err());
    check_that_the_comparison_can_fail(&comparison, &expected, &found);
    found.retain(|record| record.topic == flights::DEAD);
    dead_letters::check_origins(&found, &inputs)?;
    assert_eq!(node.stop()?.status.code(), Some(0));
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
