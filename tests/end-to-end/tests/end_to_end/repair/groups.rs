//! One bad bit in what the node keeps of groups.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use millstream_end_to_end::{Client, Node, NodeCommand, kcat, program};
use millstream_records::batches;
use serde_json::Value;

use super::{losses, produce};
use crate::scene::{millstream, millstream_ok};

const LOG: &str = "__consumer_offsets-0";

fn serve(data: &Path, stderr: Stdio) -> Result<Node> {
    NodeCommand::serve(data)
        .arguments(["--set", "offsets.topic.num.partitions=1"])
        .stderr(stderr)
        .start()
}

/// A group reads all that it has not read, and commits.
fn read_as(program: &str, group: &str, node: &Node) -> Result<usize> {
    let address = node.kafka.to_string();
    let said = kcat(
        program,
        &[
            "-b",
            &address,
            "-X",
            "auto.offset.reset=earliest",
            "-e",
            "-q",
            "-G",
            group,
            "t",
        ],
        b"",
    )?;
    Ok(String::from_utf8(said)?.lines().count())
}

/// The last commit of the group: its segment, the position of its batch there, and the batch's offsets.
fn last_commit(data: &Path, group: &str) -> Result<(PathBuf, usize, (i64, i64))> {
    let path = data.join(LOG).join("00000000000000000000.log");
    let bytes = std::fs::read(&path)?;
    let (mut at, mut found) = (0, None);
    for batch in batches(&bytes) {
        let batch = batch?;
        let is_commit = |key: &[u8]| {
            key.starts_with(&[0, 1])
                && key
                    .windows(group.len())
                    .any(|part| part == group.as_bytes())
        };
        let records = batch.records(1 << 20)?;
        for record in records.iter() {
            if record?.key.is_some_and(is_commit) {
                let header = batch.header();
                found = Some((at, (header.base_offset, header.next_offset())));
            }
        }
        at += batch.header().size_in_bytes();
    }
    let (at, offsets) = found.context("the group has committed")?;
    Ok((path, at, offsets))
}

fn describe(node: &Node, group: &str) -> Result<Output> {
    let address = node.kafka.to_string();
    millstream(&[
        "group", "describe", group, "--node", &address, "--output", "json",
    ])
}

fn committed(node: &Node, group: &str) -> Result<Option<i64>> {
    let output = describe(node, group)?;
    let report: Value =
        serde_json::from_slice(&output.stdout).with_context(|| format!("{group}: {output:?}"))?;
    Ok(report["partitions"][0]["committed"].as_i64())
}

/// All files below a directory, and what they hold.
fn content(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(content(&path)?),
            false => drop(found.insert(path.clone(), std::fs::read(&path)?)),
        }
    }
    Ok(found)
}

#[test]
fn one_bad_bit_refuses_the_groups_of_a_partition_until_it_is_given_up() -> Result<()> {
    let Some(reader) = Client::Kcat.find() else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let node = serve(&data, Stdio::inherit())?;
    produce(&node, &["a", "b", "c"])?;
    assert_eq!(read_as(&reader, "moved", &node)?, 3);
    produce(&node, &["d", "e"])?;
    assert_eq!(read_as(&reader, "moved", &node)?, 2);
    assert_eq!(read_as(&reader, "whole", &node)?, 5);
    assert!(node.stop()?.status.success());
    let (path, at, offsets) = last_commit(&data, "moved")?;
    let mut bytes = std::fs::read(&path)?;
    bytes[at + 70] ^= 4;
    std::fs::write(&path, bytes)?;

    // The node says it once, and whoever asks for a group is told.
    let said = dir.path().join("said");
    let node = serve(&data, File::create(&said)?.into())?;
    let command = format!("millstream log repair {} --log {LOG}", data.display());
    for group in ["moved", "whole", "moved"] {
        let refused = describe(&node, group)?;
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        let told = String::from_utf8([refused.stdout, refused.stderr].concat())?;
        assert!(told.contains(&command), "{told}");
    }
    assert!(node.stop()?.status.success());
    let said = std::fs::read_to_string(&said)?;
    assert_eq!(said.matches(&command).count(), 1, "{said}");

    let before = content(&data)?;
    let words = ["log", "repair", &data.display().to_string(), "--log", LOG].map(str::to_owned);
    let repair = |extra: &[&str]| Command::new(program()).args(&words).args(extra).output();
    let shown = repair(&[])?;
    assert_eq!(shown.status.code(), Some(1), "{shown:?}");
    let text = String::from_utf8([shown.stdout, shown.stderr].concat())?;
    for part in [
        &*path.display().to_string(),
        &format!("position {at}"),
        "groups go back",
        " UTC",
        "nothing was changed",
        &format!("{command} --accept-loss"),
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    let shown = repair(&["--output", "json"])?;
    assert_eq!(losses(&shown, "losses")?, [offsets]);
    assert!(content(&data)? == before, "something was changed");

    let repaired = repair(&["--accept-loss", "--output", "json"])?;
    assert!(repaired.status.success(), "{repaired:?}");
    assert_eq!(losses(&repaired, "losses")?, [offsets]);
    let verified = millstream_ok(&["log", "verify", &data.display().to_string()])?;
    assert!(verified.contains("given up"), "{verified}");
    let copy = format!("{}.0.damaged", path.display());
    assert_eq!(std::fs::read(copy)?, before[&path]);

    let node = serve(&data, Stdio::inherit())?;
    assert_eq!(committed(&node, "whole")?, Some(5));
    assert_eq!(committed(&node, "moved")?, Some(3));
    assert_eq!(read_as(&reader, "moved", &node)?, 2);
    assert_eq!(read_as(&reader, "whole", &node)?, 0);
    assert_eq!(committed(&node, "moved")?, Some(5));
    Ok(())
}
