//! Kafka's reader over our files, and ours over Kafka's: the same batches, records, indexes.

mod compacted;
mod engine;
mod printed;
mod refused;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use millstream_end_to_end::{Client, NodeCommand, kafka_tool, python};
use serde::Deserialize;

use crate::scene::{millstream, millstream_ok, root};
use printed::{Item, ours, theirs};

const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";
/// How long Kafka's cleaner may take to come by.
const COMPACTION_LIMIT: Duration = Duration::from_secs(90);
/// Beginning of a dump that a message shows.
const SHOWN_CHARS: usize = 3_000;

/// A record that a read_committed consumer got.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Consumed {
    topic: String,
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    value: Option<String>,
}

fn all_kinds(program: &str, address: &str, what: &str) -> Result<String> {
    let script = root().join("tests/end-to-end/clients/all_kinds.py");
    python(program, &script, &[address, what])
}

fn consumed(program: &str, address: &str) -> Result<Vec<Consumed>> {
    let lines = all_kinds(program, address, "read")?;
    let mut records: Vec<Consumed> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    records.sort();
    Ok(records)
}

/// The files of a partition's directory with this ending, by base offset.
fn files(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_wanted = path.extension().is_some_and(|end| end == ending);
        if is_wanted && path.metadata()?.len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What Kafka's tool prints of files.
fn dumped(jars: &str, files: &[PathBuf], options: &[&str]) -> Result<String> {
    let names: Vec<_> = files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let names = names.join(",");
    let mut arguments = vec!["--files", &names];
    arguments.extend(options);
    kafka_tool(jars, DUMP, &arguments)
}

/// Has both readers dump all segments of a partition, which must say the same; what they say.
fn compare_segments(jars: &str, dir: &Path) -> Result<Vec<Item>> {
    let segments = files(dir, "log")?;
    ensure!(!segments.is_empty(), "no segments in {}", dir.display());
    let printed = dumped(jars, &segments, &["--deep-iteration", "--print-data-log"])?;
    let theirs = theirs(&printed, !is_internal(dir))?;
    let mut arguments = vec![
        "log",
        "dump",
        "--deep",
        "--decoder",
        "none",
        "--output",
        "json",
    ];
    let names: Vec<_> = segments
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    arguments.extend(names.iter().map(String::as_str));
    let ours = ours(&millstream_ok(&arguments)?)?;
    // Kafka's tool prints the keys of internal topics as they are, line breaks and all.
    let is_internal = is_internal(dir);
    let compared = |items: &[Item]| -> Vec<Item> {
        let is_compared = |item: &&Item| !is_internal || item.batch().is_some();
        items.iter().filter(is_compared).cloned().collect()
    };
    let (theirs, found) = (compared(&theirs), compared(&ours));
    for (theirs, ours) in theirs.iter().zip(&found) {
        assert_eq!(theirs, ours, "{}", dir.display());
    }
    assert_eq!(theirs.len(), found.len(), "{}", dir.display());
    Ok(ours)
}

fn is_internal(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("__")
}

/// Kafka's own checks of our indexes, and its dump of aborted transactions and producers.
fn check_indexes(jars: &str, dir: &Path) -> Result<()> {
    let mut indexes = files(dir, "index")?;
    indexes.extend(files(dir, "timeindex")?);
    ensure!(!indexes.is_empty(), "no indexes in {}", dir.display());
    let checked = dumped(jars, &indexes, &["--index-sanity-check"])?;
    let passed = checked.matches("passed sanity check").count();
    ensure!(
        passed == indexes.len(),
        "{passed} of {}: {}",
        indexes.len(),
        head(&checked)
    );
    let verified = dumped(jars, &indexes, &["--verify-index-only"])?;
    let complains = ["ismatch", "not found", "out of order", "failed"]
        .iter()
        .any(|word| verified.contains(word));
    ensure!(!complains, "{}: {}", dir.display(), head(&verified));
    Ok(())
}

fn head(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

/// Kafka's tool and ours must find as many aborted transactions and producers.
fn compare_small_files(jars: &str, dir: &Path) -> Result<()> {
    for (ending, kind) in [
        ("txnindex", "aborted_transaction"),
        ("snapshot", "producer"),
    ] {
        for path in files(dir, ending)? {
            let theirs = dumped(jars, std::slice::from_ref(&path), &[])?;
            let theirs = theirs
                .lines()
                .filter(|line| line.contains("producerId: "))
                .count();
            let name = path.display().to_string();
            let ours = millstream_ok(&["log", "dump", "--output", "json", &name])?;
            let kind = format!("\"kind\":\"{kind}\"");
            let ours = ours.lines().filter(|line| line.contains(&kind)).count();
            assert_eq!(theirs, ours, "{name}");
        }
    }
    Ok(())
}

/// The features that the files are to have; without them a comparison says little.
fn check_coverage(items: &[Item]) {
    let has = |what: &str, found: bool| assert!(found, "no {what} among {} items", items.len());
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        has(
            codec,
            items.iter().any(|item| item.compression() == Some(codec)),
        );
    }
    has(
        "commit",
        items.iter().any(|item| item.marker() == Some("commit")),
    );
    has(
        "abort",
        items.iter().any(|item| item.marker() == Some("abort")),
    );
    has("tombstone", items.iter().any(Item::is_tombstone));
}

#[test]
fn kafka_reads_our_files_as_we_do() -> Result<()> {
    let (Some(jars), Some(program)) = (Client::ApacheKafka.find(), Client::ConfluentKafka.find())
    else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let node = NodeCommand::serve(&data).start()?;
    let address = node.kafka.to_string();
    all_kinds(&program, &address, "write")?;
    let before = consumed(&program, &address)?;
    let stopped = node.stop()?;
    ensure!(stopped.status.success(), "{stopped:?}");
    let mut items = Vec::new();
    for partition in ["codecs-0", "transactions-0", "compacted-0"] {
        let dir = data.join(partition);
        items.extend(compare_segments(&jars, &dir)?);
        check_indexes(&jars, &dir)?;
        compare_small_files(&jars, &dir)?;
    }
    check_coverage(&items);
    ensure!(
        files(&data.join("transactions-0"), "log")?.len() > 1,
        "one segment says little"
    );
    check_internal_topics(&jars, &data, "codecs")?;
    let path = data.display().to_string();
    let verified = millstream(&["log", "verify", "--deep", &path])?;
    ensure!(verified.status.success(), "{verified:?}");
    // What the files say is what the consumer got.
    assert_eq!(engine::committed(&data)?, before);
    Ok(())
}

/// The decoders for the internal topics understand what is there: that the group `readers` has offsets of `consumed`,
/// and that the transaction of `three` was aborted.
fn check_internal_topics(jars: &str, data: &Path, consumed: &str) -> Result<()> {
    for (topic, option, words) in [
        (
            "__consumer_offsets-",
            "--offsets-decoder",
            ["readers", consumed],
        ),
        (
            "__transaction_state-",
            "--transaction-log-decoder",
            ["transactionStatus", "three"],
        ),
    ] {
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(data)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(topic) {
                segments.extend(files(&entry.path(), "log")?);
            }
        }
        let printed = dumped(
            jars,
            &segments,
            &["--deep-iteration", "--print-data-log", option],
        )?;
        for word in words {
            ensure!(
                printed.contains(word),
                "{topic}: no {word}: {}",
                head(&printed)
            );
        }
        let names: Vec<_> = segments
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let mut arguments = vec!["log", "dump", "--deep", "--output", "json"];
        arguments.extend(names.iter().map(String::as_str));
        let ours = millstream_ok(&arguments)?;
        ensure!(!ours.contains("\"error\""), "{topic}: {}", head(&ours));
        ensure!(
            !ours.contains("\"kind\":\"damage\""),
            "{topic}: {}",
            head(&ours)
        );
        let readable = if topic.starts_with("__consumer") {
            "\"group\":\"readers\""
        } else {
            "\"state\":\"CompleteAbort\""
        };
        ensure!(
            ours.contains(readable),
            "{topic}: no {readable}: {}",
            head(&ours)
        );
    }
    Ok(())
}

/// A real broker in a directory of its own. Dropped, it is stopped.
struct Kafka {
    dir: PathBuf,
    address: String,
}

impl Kafka {
    fn start(jars: &str, dir: &Path) -> Result<Kafka> {
        std::os::unix::fs::symlink(jars, dir.join("lib"))?;
        let mut kafka = Kafka {
            dir: dir.to_owned(),
            address: String::new(),
        };
        kafka.address = kafka.script("start")?.trim().to_owned();
        Ok(kafka)
    }

    fn script(&self, word: &str) -> Result<String> {
        let output = Command::new(root().join("tests/peers/kafka/kafka"))
            .arg(word)
            .env("KAFKA_PEER_DIR", &self.dir)
            .env("HEAP", "-Xms256m -Xmx512m")
            .env(
                "EXTRA",
                "log.cleaner.backoff.ms=200\nlog.cleaner.dedupe.buffer.size=8388608",
            )
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kafka {word}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Waits until the cleaner has been over the topic `compacted`.
    fn wait_for_compaction(&self) -> Result<()> {
        let path = self.logs().join("cleaner-offset-checkpoint");
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let cleaned_to = text
                .lines()
                .find_map(|line| line.strip_prefix("compacted 0 "))
                .and_then(|offset| offset.parse::<i64>().ok());
            if cleaned_to.is_some_and(|offset| offset > 1_000) {
                return Ok(());
            }
            if begun.elapsed() > COMPACTION_LIMIT {
                bail!("Kafka's cleaner has not come by: {text:?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Err(error) = self.script("stop") {
            eprintln!("{error:#}");
        }
    }
}

#[test]
fn a_log_directory_of_kafka_opens_in_our_engine() -> Result<()> {
    let (Some(jars), Some(program)) = (Client::ApacheKafka.find(), Client::ConfluentKafka.find())
    else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let kafka = Kafka::start(&jars, dir.path())?;
    all_kinds(&program, &kafka.address, "write")?;
    kafka.wait_for_compaction()?;
    let before = consumed(&program, &kafka.address)?;
    kafka.script("stop")?;
    let mut items = Vec::new();
    let data = dir.path().join("data");
    let partitions = [
        "codecs-0",
        "transactions-0",
        "compacted-0",
        "__consumer_offsets-0",
        "__transaction_state-0",
    ];
    for partition in partitions {
        let from = kafka.logs().join(partition);
        let found = compare_segments(&jars, &from)?;
        items.extend(found);
        compare_small_files(&jars, &from)?;
        copy(&from, &data.join(partition))
            .with_context(|| format!("copying {}", from.display()))?;
        // What somebody copied is checked alone, before a node opens it.
        let path = data.join(partition).display().to_string();
        let verified = millstream(&["log", "verify", "--deep", &path])?;
        ensure!(verified.status.success(), "{verified:?}");
    }
    check_coverage(&items);
    let has_horizon = |item: &Item| item.delete_horizon().is_some();
    ensure!(
        items.iter().any(has_horizon),
        "the cleaner has set no horizon"
    );
    ensure!(
        items.iter().any(Item::follows_a_gap),
        "the cleaner has removed nothing"
    );
    assert_eq!(engine::committed(&data)?, before);
    assert_eq!(
        engine::stored(&data, &partitions)?,
        engine::Printed::of(&items)
    );
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
