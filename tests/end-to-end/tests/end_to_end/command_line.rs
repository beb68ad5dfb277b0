//! The command line against a running node, as a user or a script uses it.

use std::io::Write;
use std::process::{Command, Stdio};

use std::time::{Duration, Instant};

use anyhow::Result;
use millstream_end_to_end::{NodeCommand, program};
use serde_json::Value;

use crate::scene::{FREE_PORTS, millstream, millstream_ok, root};

#[test]
fn topics_are_created_listed_described_and_deleted() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let node = NodeCommand::serve(&dir.path().join("data")).start()?;
    let address = node.kafka.to_string();
    millstream_ok(&[
        "topic",
        "create",
        "orders",
        "--partitions",
        "3",
        "--node",
        &address,
    ])?;
    let again = millstream(&["topic", "create", "orders", "--node", &address])?;
    assert_eq!(again.status.code(), Some(3), "{again:?}");
    let listed = millstream_ok(&["topic", "list", "--node", &address])?;
    assert!(listed.contains("orders"), "{listed}");
    let described = millstream_ok(&[
        "topic", "describe", "orders", "--node", &address, "--output", "json",
    ])?;
    let described: Value = serde_json::from_str(&described)?;
    assert_eq!(
        described[0]["partitions"].as_array().map(Vec::len),
        Some(3),
        "{described}"
    );
    millstream_ok(&["topic", "delete", "orders", "--node", &address])?;
    let gone = millstream(&["topic", "describe", "orders", "--node", &address])?;
    assert_eq!(gone.status.code(), Some(4), "{gone:?}");
    Ok(())
}

#[test]
fn settings_are_changed_and_records_deleted_while_the_node_runs() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let node = NodeCommand::serve(&dir.path().join("data"))
        .arguments(["--set", "log.cleaner.enabled=false"])
        .start()?;
    let address = node.kafka.to_string();
    let at_node = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(["--node", &address, "--output", "json"]);
        millstream(&all)
    };
    let json = |words: &[&str]| -> Result<Value> {
        let output = at_node(words)?;
        assert!(output.status.success(), "{words:?}: {output:?}");
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    json(&["topic", "create", "tuned"])?;
    let alter = ["topic", "alter", "tuned"];
    json(
        &[
            &alter[..],
            &[
                "--set",
                "retention.ms=7",
                "--append",
                "cleanup.policy=compact",
            ],
        ]
        .concat(),
    )?;
    let trial = json(&[&alter[..], &["--unset", "retention.ms", "--dry-run"]].concat())?;
    assert_eq!(trial["altered"], false);
    let described = json(&["topic", "describe", "tuned"])?;
    let setting = |name: &str| {
        let configs = described[0]["configs"].as_array().expect("settings");
        configs
            .iter()
            .find(|config| config["name"] == name)
            .expect(name)["value"]
            .clone()
    };
    assert_eq!(setting("retention.ms"), "7");
    assert_eq!(setting("cleanup.policy"), "delete,compact");
    for (words, code) in [
        (
            &["topic", "alter", "tuned", "--set", "retention.ms=soon"][..],
            3,
        ),
        (&["topic", "alter", "missing", "--set", "retention.ms=7"], 4),
        (&["config", "alter", "--set", "num.partitions=3"], 3),
        (&["topic", "delete-records", "tuned", "--before", "1"], 3),
        (
            &[
                "topic",
                "delete-records",
                "tuned",
                "--before",
                "1",
                "--partition",
                "9",
            ],
            4,
        ),
    ] {
        assert_eq!(at_node(words)?.status.code(), Some(code), "{words:?}");
    }
    let deleted = json(&["topic", "delete-records", "tuned", "--before", "end"])?;
    assert_eq!(deleted[0]["start"], 0, "{deleted}");
    json(&["config", "alter", "--set", "log.cleaner.threads=2"])?;
    json(&[
        "config",
        "alter",
        "--all-nodes",
        "--set",
        "log.retention.bytes=9",
    ])?;
    let described = json(&["config", "describe"])?;
    let found = |name: &str| {
        let all = described.as_array().expect("settings");
        let found = all.iter().find(|one| one["name"] == name).expect(name);
        (found["value"].clone(), found["source"].clone())
    };
    assert_eq!(
        found("log.cleaner.threads"),
        ("2".into(), "node at run time".into())
    );
    assert_eq!(
        found("log.retention.bytes"),
        ("9".into(), "all nodes at run time".into())
    );
    assert_eq!(
        found("log.cleaner.enable"),
        ("false".into(), "node at start".into())
    );
    let (code, metrics) = node.http_get("/metrics")?;
    assert_eq!(code, 200);
    for metric in ["log_size_bytes", "log_start_offset", "journal_bytes"] {
        assert!(
            metrics.contains(&format!("millstream_{metric}")),
            "{metric}"
        );
    }
    Ok(())
}

#[test]
fn what_produce_writes_consume_reads() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let node = NodeCommand::serve(&dir.path().join("data")).start()?;
    let address = node.kafka.to_string();
    let mut produce = Command::new(program())
        .args([
            "produce",
            "lines",
            "--node",
            &address,
            "--key-separator",
            ":",
        ])
        .stdin(Stdio::piped())
        .spawn()?;
    produce
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(b"k1:first\nk1:second\n")?;
    assert!(produce.wait()?.success());
    let consumed = millstream_ok(&["consume", "lines", "--node", &address])?;
    assert!(
        consumed.contains("first") && consumed.contains("second"),
        "{consumed}"
    );
    let json = millstream_ok(&["consume", "lines", "--node", &address, "--output", "json"])?;
    let first: Value = serde_json::from_str(json.lines().next().expect("a line"))?;
    assert_eq!(
        (first["key"].as_str(), first["value"].as_str()),
        (Some("k1"), Some("first")),
        "{json}"
    );
    Ok(())
}

#[test]
fn a_node_that_is_not_there_is_said_to_be_so() -> Result<()> {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .to_string();
    let output = millstream(&["topic", "list", "--node", &nobody])?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains(&nobody),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn a_command_line_that_is_wrong_is_told_as_other_failures_are() -> Result<()> {
    for words in [
        &["topic", "list", "--nonsense"][..],
        &["topic", "create"],
        &["topic"],
        &["nonsense"],
        &["consume", "t", "--max-records", "many"],
    ] {
        let json = millstream(&[words, &["--output", "json"]].concat())?;
        assert_eq!(json.status.code(), Some(2), "{json:?}");
        assert!(json.stderr.is_empty(), "{json:?}");
        let failure: Value = serde_json::from_slice(&json.stdout)?;
        assert_eq!(failure["kind"], "usage", "{failure}");
        assert!(failure["error"].is_string(), "{failure}");
        let text = millstream(words)?;
        assert_eq!(text.status.code(), Some(2), "{text:?}");
        assert!(
            text.stdout.is_empty() && !text.stderr.is_empty(),
            "{text:?}"
        );
    }
    let help = millstream(&["topic", "--help", "--output", "json"])?;
    assert!(help.status.success(), "{help:?}");
    assert!(help.stdout.starts_with(b"Make, list"), "{help:?}");
    Ok(())
}

#[test]
fn health_readiness_and_metrics_answer() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let node = NodeCommand::serve(&dir.path().join("data")).start()?;
    millstream_ok(&[
        "topic",
        "create",
        "seen",
        "--partitions",
        "2",
        "--node",
        &node.kafka.to_string(),
    ])?;
    assert_eq!(node.http_get("/healthz")?.0, 200);
    assert_eq!(node.http_get("/readyz")?.0, 200);
    let (code, metrics) = node.http_get("/metrics")?;
    assert_eq!(code, 200);
    assert!(metrics.contains("# TYPE millstream_"), "{metrics}");
    Ok(())
}

#[test]
fn two_nodes_do_not_share_a_data_directory() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let _node = NodeCommand::serve(&data).start()?;
    let data = data.display().to_string();
    let second = millstream(&[&["serve", "--data-dir", &data][..], &FREE_PORTS].concat())?;
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(
        String::from_utf8_lossy(&second.stderr).contains(&data),
        "{second:?}"
    );
    Ok(())
}

#[test]
fn a_running_stages_group_shows_committed_and_current_offsets() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let manifest = root().join("examples/01-flights/pipeline.toml");
    let node = NodeCommand::run(&manifest, &dir.path().join("data")).start()?;
    let address = node.kafka.to_string();
    let deadline = Instant::now() + Duration::from_secs(120);
    let partitions = loop {
        // The group comes into being with the stage's first task.
        let described = millstream(&[
            "group",
            "describe",
            "millstream.flights.route",
            "--node",
            &address,
            "--output",
            "json",
        ])?;
        let partitions = described.status.success().then(|| {
            let group: Value = serde_json::from_slice(&described.stdout).expect("JSON");
            group["partitions"].as_array().cloned().unwrap_or_default()
        });
        let partitions = partitions.unwrap_or_default();
        let is_drained = |partition: &Value| {
            partition["lag"] == 0 && partition["end"].as_i64().is_some_and(|end| end > 1_000)
        };
        if partitions.len() == 4 && partitions.iter().all(is_drained) {
            break partitions;
        }
        assert!(Instant::now() < deadline, "{described:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    for partition in partitions {
        assert!(partition["committed"].is_i64(), "{partition}");
        assert!(partition["current"].is_i64(), "{partition}");
        assert!(
            partition["current"].as_i64() >= partition["committed"].as_i64(),
            "{partition}"
        );
    }
    assert!(node.stop()?.status.success());
    Ok(())
}
