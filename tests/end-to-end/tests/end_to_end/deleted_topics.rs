//! A topic is deleted and made anew while groups have offsets in it, seen with Apache Kafka's own tools.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use millstream_end_to_end::{Client, NodeCommand, kafka_tool, program};
use serde_json::Value;

use crate::scene::millstream_ok;

const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const OFFSETS: &str = "org.apache.kafka.tools.consumer.OffsetsMessageFormatter";
const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";

/// A node and the tools that are pointed at it.
struct Scene {
    jars: String,
    address: String,
}

impl Scene {
    fn topic(&self, words: &[&str]) -> Result<String> {
        let mut arguments = vec!["topic"];
        arguments.extend(words);
        arguments.extend(["--node", &self.address]);
        millstream_ok(&arguments)
    }

    fn produce(&self, topic: &str, count: usize) -> Result<()> {
        let lines: String = (0..count).map(|line| format!("{line}\n")).collect();
        let arguments = ["produce", topic, "--node", &self.address];
        millstream_reads(&arguments, lines.as_bytes())
    }

    /// Reads with Kafka's consumer as a group that begins at the earliest offset, until it has so many.
    fn consume(&self, group: &str, topic: &str, count: usize) -> Result<usize> {
        let read = kafka_tool(
            &self.jars,
            CONSUMER,
            &[
                "--bootstrap-server",
                &self.address,
                "--group",
                group,
                "--topic",
                topic,
                "--from-beginning",
                "--max-messages",
                &count.to_string(),
                "--timeout-ms",
                "20000",
            ],
        )?;
        Ok(read.lines().count())
    }

    fn describe(&self, which: &[&str]) -> Result<String> {
        let mut arguments = vec!["--bootstrap-server", &self.address, "--describe"];
        arguments.extend(which);
        kafka_tool(&self.jars, GROUPS, &arguments)
    }
}

#[test]
fn a_group_begins_a_topic_that_was_made_anew_at_its_beginning_and_kafkas_tools_describe_it()
-> Result<()> {
    let Some(jars) = Client::ApacheKafka.find() else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let node = NodeCommand::serve(&data).start()?;
    let scene = Scene {
        jars,
        address: node.kafka.to_string(),
    };
    for topic in ["again", "gone", "stays"] {
        scene.topic(&["create", topic])?;
        scene.produce(topic, 5)?;
        ensure!(scene.consume(&format!("reads-{topic}"), topic, 5)? == 5);
    }
    scene.topic(&["delete", "again", "gone"])?;
    scene.topic(&["create", "again"])?;
    scene.produce("again", 8)?;

    // The offsets of the deleted topics are none, and hinder nobody.
    let all = scene.describe(&["--all-groups"])?;
    ensure!(all.contains("reads-stays"), "{all}");
    for group in ["reads-again", "reads-gone"] {
        let described = scene.describe(&["--group", group])?;
        ensure!(!described.contains(" 5 "), "{described}");
        let ours = [
            "group",
            "describe",
            group,
            "--node",
            &scene.address,
            "--output",
            "json",
        ];
        let ours: Value = serde_json::from_str(&millstream_ok(&ours)?)?;
        assert_eq!(ours["partitions"], Value::Array(Vec::new()), "{ours}");
    }

    ensure!(scene.consume("reads-again", "again", 8)? == 8);
    let described = scene.describe(&["--group", "reads-again"])?;
    let row = described
        .lines()
        .find(|line| line.starts_with("reads-again"));
    let fields: Vec<&str> = row.unwrap_or_default().split_whitespace().collect();
    ensure!(
        fields.get(1..6) == Some(&["again", "0", "8", "8", "0"][..]),
        "{described}"
    );

    // Kafka's decoders read the values, ids included.
    let id = topic_id(&scene, "again")?;
    let read = kafka_tool(
        &scene.jars,
        CONSUMER,
        &[
            "--bootstrap-server",
            &scene.address,
            "--topic",
            "__consumer_offsets",
            "--from-beginning",
            "--formatter",
            OFFSETS,
            "--timeout-ms",
            "5000",
        ],
    )?;
    ensure!(
        read.contains("reads-again") && read.contains("\"offset\":8"),
        "{read}"
    );
    let stopped = node.stop()?;
    ensure!(stopped.status.success(), "{stopped:?}");
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(&data)? {
        let path = entry?.path();
        let log = path.join("00000000000000000000.log");
        let is_offsets = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("__consumer_offsets-"));
        if is_offsets && log.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            segments.push(log.display().to_string());
        }
    }
    let dumped = kafka_tool(
        &scene.jars,
        DUMP,
        &[
            "--deep-iteration",
            "--print-data-log",
            "--offsets-decoder",
            "--files",
            &segments.join(","),
        ],
    )?;
    ensure!(dumped.contains("\"topic\":\"again\""), "{dumped}");
    ensure!(dumped.contains("\"topicId\""), "{dumped}");
    let mut arguments = vec!["log", "dump", "--deep", "--output", "json"];
    arguments.extend(segments.iter().map(String::as_str));
    let ours = millstream_ok(&arguments)?;
    ensure!(ours.contains(&id), "the id {id}: {ours}");
    Ok(())
}

/// Runs `millstream` with something to read.
fn millstream_reads(arguments: &[&str], input: &[u8]) -> Result<()> {
    let mut child = Command::new(program())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(input)?;
    let status = child.wait()?;
    ensure!(
        status.success(),
        "millstream {arguments:?} ended with {status}"
    );
    Ok(())
}

fn topic_id(scene: &Scene, topic: &str) -> Result<String> {
    let arguments = [
        "topic",
        "describe",
        topic,
        "--node",
        &scene.address,
        "--output",
        "json",
    ];
    let described: Value = serde_json::from_str(&millstream_ok(&arguments)?)?;
    Ok(described[0]["id"].as_str().unwrap_or_default().to_owned())
}
