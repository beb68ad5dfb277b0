//! Pipelines that write to compacted topics: nothing is sent that compaction would drop.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream_end_to_end::NodeCommand;
use serde_json::Value;

use crate::scene::{millstream_ok, produce_with};

const RUN_LIMIT: Duration = Duration::from_secs(120);
const STAGE: &str = "manifest = 1\npipeline = \"p\"\n[topic.in]\n[stage.mask]\nplugin = \"mask-digits\"\n\
inputs = \"in\"\noutputs = \"out\"\n";

/// The last line of a run, and its exit code.
fn run_once(manifest: &Path, data: &Path) -> Result<(Option<i32>, Value)> {
    let command = NodeCommand::run(manifest, data).argument("--once");
    let stopped = command.start()?.wait_for(RUN_LIMIT)?;
    let last = stopped.stdout.lines().last().context("a last line")?;
    Ok((stopped.status.code(), serde_json::from_str(last)?))
}

#[test]
fn a_stages_record_without_a_key_for_a_compacted_topic_is_a_dead_letter() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (data, manifest) = (dir.path().join("data"), dir.path().join("p.toml"));
    std::fs::write(&manifest, STAGE)?;
    let node = NodeCommand::serve(&data).start()?;
    let address = node.kafka.to_string();
    let compact = ["--config", "cleanup.policy=compact,delete"];
    for topic in ["out", "dead"] {
        let create = ["topic", "create", topic, "--node", &address];
        millstream_ok(&[&create[..], &compact].concat())?;
    }
    produce_with(&["in", "--node", &address], b"no key\n")?;
    let with_key = ["in", "--node", &address, "--key-separator", ":"];
    produce_with(&with_key, b"k:with a key\n")?;
    node.stop()?;

    let (code, summary) = run_once(&manifest, &data)?;
    assert_eq!(code, Some(0), "{summary}");
    assert_eq!(summary["records_out"]["out"], 1, "{summary}");
    assert_eq!(summary["records_out"]["p.mask.dead"], 1, "{summary}");

    // A dead-letter topic that the node has, and compacts, is pointed at before anything runs.
    std::fs::write(&manifest, format!("{STAGE}dead_letters = \"dead\"\n"))?;
    let (code, failure) = run_once(&manifest, &data)?;
    assert_eq!(code, Some(2), "{failure}");
    let problem = &failure["problems"][0];
    assert_eq!(problem["line"], 8, "{failure}");
    let message = problem["message"].as_str().context("a message")?;
    ensure!(
        message.contains("the dead-letter topic `dead` is compacted (it exists with"),
        "{message}"
    );
    Ok(())
}
