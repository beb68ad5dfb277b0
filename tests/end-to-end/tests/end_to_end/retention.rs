//! Retention beside pipelines: what it leaves alone, and what is said of what it takes.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millstream_end_to_end::{Client, Node, NodeCommand, kcat_read_committed};
use serde_json::Value;

use crate::scene::{millstream_ok, produce, root};

const RUN_LIMIT: Duration = Duration::from_secs(240);
const PASS_LIMIT: Duration = Duration::from_secs(60);

/// Every topic of the example and its records.
const FLIGHTS: [(&str, usize); 5] = [
    ("flights", 336_776),
    ("flights.clean", 327_346),
    ("flights.dead", 9_430),
    ("flights.late", 27_789),
    ("flights.ontime", 299_557),
];

/// The README's two commands. The records have the times of 2013, long beyond Kafka's default retention.
#[test]
fn the_flights_example_keeps_all_records_while_a_node_serves_them() -> Result<()> {
    let Some(kcat) = Client::Kcat.find() else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let manifest = root().join("examples/01-flights/pipeline.toml");
    let run = NodeCommand::run(&manifest, &data).argument("--once");
    let stopped = run.start()?.wait_for(RUN_LIMIT)?;
    ensure!(stopped.status.success(), "{stopped:?}");

    let often = ["--set", "log.retention.check.interval.ms=100"];
    let node = NodeCommand::serve(&data).arguments(often).start()?;
    wait_for_retention(&node)?;
    let mut counted = Vec::new();
    for (topic, _) in FLIGHTS {
        let lines = kcat_read_committed(&kcat, node.kafka, topic)?;
        let records = lines.iter().filter(|byte| **byte == b'\n').count();
        counted.push((topic, records));
    }
    assert_eq!(counted, FLIGHTS);
    Ok(())
}

const STAGE: &str = "plugin = \"mask-digits\"\ninputs = \"in\"\noutputs = \"out\"\n";

#[test]
fn what_leaves_a_topic_before_a_stage_has_consumed_it_is_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (data, manifest) = (dir.path().join("data"), dir.path().join("p.toml"));
    let run = |stage: &str| -> Result<(Value, String)> {
        let text = format!("manifest = 1\npipeline = \"p\"\n[topic.in]\n[stage.{stage}]\n{STAGE}");
        std::fs::write(&manifest, text)?;
        let said = dir.path().join("said");
        // A stage in the place of another has to be agreed to.
        let command = NodeCommand::run(&manifest, &data).arguments(["--once", "--yes"]);
        let stopped = command.stderr(File::create(&said)?.into()).start()?;
        let stopped = stopped.wait_for(RUN_LIMIT)?;
        ensure!(stopped.status.success(), "{stopped:?}");
        let summary = stopped.stdout.lines().last().context("a summary")?;
        Ok((
            serde_json::from_str(summary)?,
            std::fs::read_to_string(said)?,
        ))
    };
    let node = NodeCommand::serve(&data).start()?;
    produce(&node.kafka.to_string(), "in", b"1\n2\n")?;
    node.stop()?;
    let (summary, said) = run("mask")?;
    assert_eq!(summary["records_in"], 2, "{summary}");
    assert!(!said.contains("removed"), "{said}");

    // Three more come while no stage runs, and go.
    let said = dir.path().join("served");
    let often = ["--set", "log.retention.check.interval.ms=100"];
    let serve = NodeCommand::serve(&data).arguments(often);
    let node = serve.stderr(File::create(&said)?.into()).start()?;
    let address = node.kafka.to_string();
    produce(&address, "in", b"3\n4\n5\n")?;
    let group = "millstream.p.mask";
    let series =
        format!("stage_removed_unread_offsets{{group=\"{group}\",topic=\"in\",partition=\"0\"}}");
    assert_eq!(metric(&node, &series)?, None);
    let alter = ["topic", "alter", "in", "--set", "retention.ms=1", "--node"];
    millstream_ok(&[&alter[..], &[&address]].concat())?;
    eventually("the metric", || Ok(metric(&node, &series)? == Some(3.0)))?;
    eventually("the line", || {
        let said = std::fs::read_to_string(&said)?;
        Ok(said.contains("up to 3 records (offsets 2 to 4) were removed") && said.contains(group))
    })?;
    let describe = ["group", "describe", group, "--node", &address];
    let text = millstream_ok(&describe)?;
    let warning = "warning: up to 3 records of in-0 (offsets 2 to 4) were removed";
    assert!(text.contains(warning), "{text}");
    let json = millstream_ok(&[&describe[..], &["--output", "json"]].concat())?;
    let json: Value = serde_json::from_str(&json)?;
    assert_eq!(json["partitions"][0]["removed"], 3, "{json}");
    node.stop()?;

    // A stage that comes later never sees any of the five.
    let (summary, said) = run("late")?;
    assert_eq!(summary["records_in"], 0, "{summary}");
    assert_eq!(summary["stages"][0]["gone"], 5, "{summary}");
    let line = "stage late, topic in, partition 0: it begins at offset 5, the earliest that there is: up to 5 records";
    assert!(said.contains(line), "{said}");
    Ok(())
}

fn eventually(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !condition()? {
        ensure!(begun.elapsed() < PASS_LIMIT, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Returns after a whole pass of retention that began after the call: the records of a topic of its own have gone
/// twice, and a pass looks at every log before the next one begins.
fn wait_for_retention(node: &Node) -> Result<()> {
    let address = node.kafka.to_string();
    let create = [
        "topic",
        "create",
        "old",
        "--config",
        "retention.ms=1",
        "--node",
    ];
    millstream_ok(&[&create[..], &[&address]].concat())?;
    for gone in [1.0, 2.0] {
        produce(&address, "old", b"old\n")?;
        let series = "log_start_offset{topic=\"old\",partition=\"0\"}";
        eventually("a pass", || Ok(metric(node, series)? == Some(gone)))?;
    }
    Ok(())
}

/// The value of a series, without the prefix of all.
fn metric(node: &Node, series: &str) -> Result<Option<f64>> {
    let (_, metrics) = node.http_get("/metrics")?;
    let value = |line: &str| {
        let rest = line.strip_prefix("millstream_")?.strip_prefix(series)?;
        rest.trim().parse().ok()
    };
    Ok(metrics.lines().find_map(value))
}
