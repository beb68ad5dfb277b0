//! The command line against a running node, as a user or a script uses it.

use std::io::Write;
use std::process::{Command, Stdio};

use std::time::{Duration, Instant};

use anyhow::Result;
use millstream_end_to_end::{NodeCommand, program};
use serde_json::Value;

use crate::scene::{millstream, millstream_ok, root};

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
    let free = "127.0.0.1:0";
    let data = data.display().to_string();
    let second = millstream(&[
        "serve",
        "--data-dir",
        &data,
        "--kafka-addr",
        free,
        "--http-addr",
        free,
    ])?;
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
