//! The example on real data: what it commits, as kcat reads it, against what the oracle computes; and
//! Apache Kafka's own tool over the files.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use millstream_end_to_end::{Client, NodeCommand, kafka_tool, kcat};
use millstream_oracle::{Comparison, Order, Record, flights, parse_kcat};
use serde_json::Value;

use crate::scene::root;

const RUN_LIMIT: Duration = Duration::from_secs(240);
const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";

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
        check_files(&jars, &data)?;
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
    let address = node.kafka.to_string();
    let mut found = Vec::new();
    for topic in ["flights.late", "flights.ontime", "flights.dead"] {
        let read = [
            "-b",
            &address,
            "-X",
            "isolation.level=read_committed",
            "-C",
            "-e",
            "-q",
            "-J",
            "-t",
            topic,
        ];
        found.extend(parse_kcat(kcat(program, &read, b"")?.as_slice())?);
    }
    let csv = root().join("examples/01-flights/data/flights.csv.zst");
    let expected = flights::expected(&csv)?;
    // What stands in a dead letter's headers is checked by the pipeline's own tests.
    let comparison = || {
        Comparison::new()
            .order(Order::PerKey)
            .ignore_headers_of("flights.dead")
    };
    let same = comparison().compare(&expected, &found);
    assert!(same.is_ok(), "{}", same.unwrap_err());
    check_that_the_comparison_can_fail(&comparison(), &expected, &found);
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

/// Kafka's reader over our files: valid batches, commit markers, offsets, transactions.
fn check_files(jars: &str, data: &Path) -> Result<()> {
    let outputs = dump(jars, &segments(data, "flights.late-")?, &[])?;
    assert!(outputs.contains("isvalid: true"), "{}", head(&outputs));
    assert!(!outputs.contains("isvalid: false"), "a batch is not valid");
    assert!(
        outputs.contains("endTxnMarker: COMMIT"),
        "{}",
        head(&outputs)
    );
    assert!(
        outputs.contains("isTransactional: true"),
        "{}",
        head(&outputs)
    );

    let offsets = dump(
        jars,
        &segments(data, "__consumer_offsets-")?,
        &["--offsets-decoder"],
    )?;
    assert!(
        offsets.contains("millstream.flights.clean"),
        "{}",
        head(&offsets)
    );
    assert!(
        offsets.contains("millstream.flights.route"),
        "{}",
        head(&offsets)
    );

    let transactions = dump(
        jars,
        &segments(data, "__transaction_state-")?,
        &["--transaction-log-decoder"],
    )?;
    for (state, number) in [("Ongoing", 1), ("PrepareCommit", 2), ("CompleteCommit", 4)] {
        assert!(
            transactions.contains(&format!("\"transactionStatus\":{number},")),
            "no {state} in {}",
            head(&transactions)
        );
    }
    Ok(())
}

fn dump(jars: &str, files: &str, extra: &[&str]) -> Result<String> {
    let mut arguments = vec!["--deep-iteration", "--print-data-log", "--files", files];
    arguments.extend(extra);
    kafka_tool(jars, DUMP, &arguments)
}

/// The non-empty segments of all partitions whose folder begins so, separated by commas.
fn segments(data: &Path, prefix: &str) -> Result<String> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        for file in std::fs::read_dir(entry.path())? {
            let file = file?;
            let is_segment = file
                .path()
                .extension()
                .is_some_and(|extension| extension == "log");
            if is_segment && file.metadata()?.len() > 0 {
                paths.push(file.path().display().to_string());
            }
        }
    }
    assert!(
        !paths.is_empty(),
        "no segments of {prefix} in {}",
        data.display()
    );
    Ok(paths.join(","))
}

fn head(text: &str) -> String {
    text.chars().take(2_000).collect()
}
