//! confluent-kafka (librdkafka in Python) against a node: the scripts in `clients/`, which pass against
//! Apache Kafka too.

use anyhow::Result;
use millstream_end_to_end::{Client, Node, NodeCommand, python};
use serde_json::Value;

use crate::scene::{millstream_ok, root};

/// Runs a script against a fresh node, which is handed back for more questions.
fn script(name: &str) -> Result<Option<(Node, tempfile::TempDir)>> {
    let Some(program) = Client::ConfluentKafka.find() else {
        return Ok(None);
    };
    let dir = tempfile::tempdir()?;
    let node = NodeCommand::serve(&dir.path().join("data")).start()?;
    let script = root().join("tests/end-to-end/clients").join(name);
    let said = python(&program, &script, &[&node.kafka.to_string()])?;
    assert_eq!(said.trim(), "ok");
    Ok(Some((node, dir)))
}

#[test]
fn an_idempotent_producer_writes_each_record_once() -> Result<()> {
    script("idempotent.py").map(drop)
}

#[test]
fn a_group_of_two_rebalances_and_shows_its_lag() -> Result<()> {
    let Some((node, _dir)) = script("group.py")? else {
        return Ok(());
    };
    let address = node.kafka.to_string();
    let described = millstream_ok(&[
        "group",
        "describe",
        "two-of-us",
        "--node",
        &address,
        "--output",
        "json",
    ])?;
    let described: Value = serde_json::from_str(&described)?;
    let partitions = described["partitions"].as_array().expect("partitions");
    assert_eq!(partitions.len(), 4, "{described}");
    for partition in partitions {
        assert_eq!(partition["topic"], "shared");
        assert_eq!(partition["committed"], 200, "{described}");
        assert_eq!(partition["end"], 300, "{described}");
        assert_eq!(partition["lag"], 100, "{described}");
    }
    let listed = millstream_ok(&["group", "list", "--node", &address, "--output", "json"])?;
    assert!(listed.contains("two-of-us"), "{listed}");
    Ok(())
}

#[test]
fn a_transactional_loop_with_aborts_shows_committed_records_only() -> Result<()> {
    let Some((node, _dir)) = script("transform.py")? else {
        return Ok(());
    };
    let address = node.kafka.to_string();
    let described = millstream_ok(&["group", "describe", "reads-nothing", "--node", &address]);
    assert!(described.is_err(), "a group that never was is not found");
    Ok(())
}

#[test]
fn of_two_producers_with_one_transactional_id_the_older_is_fenced() -> Result<()> {
    script("fenced.py").map(drop)
}

#[test]
fn the_admin_client_alters_settings_and_deletes_records() -> Result<()> {
    let Some((node, _dir)) = script("admin.py")? else {
        return Ok(());
    };
    let address = node.kafka.to_string();
    let described = millstream_ok(&[
        "topic", "describe", "tuned", "--node", &address, "--output", "json",
    ])?;
    let described: Value = serde_json::from_str(&described)?;
    assert_eq!(described[0]["partitions"][0]["start"], 7, "{described}");
    Ok(())
}
