//! Kafka's reader over what our cleaner has written, in a node that compacts while it is being written to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use millstream_end_to_end::{Client, NodeCommand, python};

use super::printed::Item;
use super::{
    check_coverage, check_indexes, check_internal_topics, compare_segments, compare_small_files,
    files,
};
use crate::scene::{millstream, root};

/// How long the cleaner may take to come by.
const LIMIT: Duration = Duration::from_secs(60);
/// Of each: topic, then key, then the last value that a consumer got; none for a tombstone.
type Last = BTreeMap<String, BTreeMap<String, Option<String>>>;

fn client(program: &str, address: &str, what: &str) -> Result<String> {
    let script = root().join("tests/end-to-end/clients/compacted.py");
    python(program, &script, &[address, what])
}

fn last(program: &str, address: &str) -> Result<Last> {
    Ok(serde_json::from_str(&client(program, address, "read")?)?)
}

/// The base offsets of a partition's segments.
fn bases(dir: &Path) -> Result<BTreeSet<i64>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if let Some(base) = name.strip_suffix(".log") {
            found.insert(base.parse()?);
        }
    }
    Ok(found)
}

/// Waits until everything below the active segment of the partition is compacted, if that begins behind `from`.
fn wait_for_pass(data: &Path, topic: &str, from: i64) -> Result<i64> {
    let begun = Instant::now();
    let dir = data.join(format!("{topic}-0"));
    loop {
        let text = std::fs::read_to_string(data.join("cleaner-offset-checkpoint"));
        let text = text.unwrap_or_default();
        let line = format!("{topic} 0 ");
        let cleaned_to = text.lines().find_map(|one| one.strip_prefix(&line));
        let cleaned_to = cleaned_to.map(str::parse).transpose()?;
        let active = bases(&dir)?.last().copied().context("no segments")?;
        if active > from && cleaned_to == Some(active) {
            return Ok(active);
        }
        if begun.elapsed() > LIMIT {
            bail!("the cleaner has not come by {topic}: {text:?}, active from {active}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn counts(items: &[Item], is_such: impl Fn(&Item) -> bool) -> usize {
    items.iter().filter(|item| is_such(item)).count()
}

/// Whether offsets are missing between two batches.
fn lacks_batches(items: &[Item]) -> bool {
    let batches: Vec<_> = items.iter().filter_map(Item::batch).collect();
    let mut pairs = batches.windows(2);
    pairs.any(|pair| pair[1].base_offset > pair[0].last_offset + 1)
}

/// What compaction is to have left: without it a comparison says little.
fn check_what_is_left(patient: &[Item], hasty: &[Item]) {
    let is_emptied = |item: &Item| item.batch().is_some_and(|batch| batch.count == 0);
    let of_producer = |item: &Item| item.batch().is_some_and(|batch| batch.producer_id >= 0);
    for (name, items) in [("patient", patient), ("hasty", hasty)] {
        let kept = counts(items, |item| is_emptied(item) && of_producer(item));
        assert!(
            kept >= 5,
            "{name}: {kept} last batches of producers are kept empty"
        );
        assert!(items.iter().any(Item::follows_a_gap), "{name} has no gaps");
        let commits = counts(items, |item| item.marker() == Some("commit"));
        assert!(commits > 0, "{name}: markers whose data is there stay");
        let aborted = counts(items, |item| {
            let value = item.record().and_then(|record| record.value.as_deref());
            value.is_some_and(|value| value.starts_with("aborted"))
        });
        assert_eq!(aborted, 0, "{name}");
    }
    check_coverage(patient);
    let horizons = |items| counts(items, |item| item.delete_horizon().is_some());
    assert!(horizons(patient) >= 10, "{}", horizons(patient));
    let tombstones = |items| counts(items, Item::is_tombstone);
    let markers = |items| counts(items, |item| item.marker().is_some());
    assert!(tombstones(patient) >= 6, "{}", tombstones(patient));
    assert_eq!(tombstones(hasty), 0);
    assert!(markers(hasty) < markers(patient), "{}", markers(hasty));
}

#[test]
fn kafka_reads_what_our_cleaner_has_written_as_we_do() -> Result<()> {
    let (Some(jars), Some(program)) = (Client::ApacheKafka.find(), Client::ConfluentKafka.find())
    else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let mut command = NodeCommand::serve(&data);
    for setting in [
        "log.cleaner.backoff.ms=50",
        "log.flush.offset.checkpoint.interval.ms=200",
        "offsets.topic.num.partitions=1",
        "offsets.topic.segment.bytes=2048",
        "transaction.state.log.num.partitions=1",
        "transaction.state.log.segment.bytes=4096",
    ] {
        command = command.arguments(["--set", setting]);
    }
    let node = command.start()?;
    let address = node.kafka.to_string();
    client(&program, &address, "write")?;
    // A marker takes three passes: one removes the transaction's data, the next gives the marker its horizon, and one
    // after the horizon removes it. A slow machine makes no more passes than are waited for here.
    let topics = ["patient", "hasty"];
    let mut cleaned_to = BTreeMap::new();
    for topic in topics {
        cleaned_to.insert(topic, wait_for_pass(&data, topic, 0)?);
    }
    let between = last(&program, &address)?;
    for _ in 0..2 {
        client(&program, &address, "more")?;
        for (topic, to) in &mut cleaned_to {
            *to = wait_for_pass(&data, topic, *to)?;
        }
    }
    for topic in ["__consumer_offsets", "__transaction_state"] {
        wait_for_pass(&data, topic, 0)?;
    }
    let seen = last(&program, &address)?;
    let stopped = node.stop()?;
    ensure!(stopped.status.success(), "{stopped:?}");

    let mut found = Vec::new();
    for topic in topics {
        let dir = data.join(format!("{topic}-0"));
        found.push(compare_segments(&jars, &dir)?);
        check_indexes(&jars, &dir)?;
        compare_small_files(&jars, &dir)?;
        ensure!(
            files(&dir, "log")?.len() > 1,
            "one segment of {topic} says little"
        );
        for (key, value) in &between[topic] {
            let is_filler = key.starts_with("filler");
            let now = seen[topic].get(key);
            let is_same = now == Some(value) || (value.is_none() && now.is_none());
            ensure!(
                is_filler || is_same,
                "{topic}, {key}: {value:?}, then {now:?}"
            );
        }
    }
    check_what_is_left(&found[0], &found[1]);
    let has_aborts = !files(&data.join("patient-0"), "txnindex")?.is_empty();
    ensure!(has_aborts, "no index of aborted transactions is left");
    for topic in ["__consumer_offsets", "__transaction_state"] {
        let dir = data.join(format!("{topic}-0"));
        let items = compare_segments(&jars, &dir)?;
        ensure!(lacks_batches(&items), "nothing of {topic} was removed");
        check_indexes(&jars, &dir)?;
    }
    check_internal_topics(&jars, &data, "patient")?;
    let path = data.display().to_string();
    let verified = millstream(&["log", "verify", "--deep", &path])?;
    ensure!(verified.status.success(), "{verified:?}");
    Ok(())
}
