//! `log repair` as a user runs it.

mod groups;
mod killed;
mod messages;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use millstream_end_to_end::{Node, NodeCommand, program};
use millstream_log::fs::RealFs;
use millstream_log::inspect::{SegmentPiece, SegmentReader};
use serde_json::Value;

use crate::scene::millstream_ok;

/// Each is one batch.
const BATCHES: [[&str; 3]; 6] = [
    ["a0", "a1", "a2"],
    ["b0", "b1", "b2"],
    ["c0", "c1", "c2"],
    ["d0", "d1", "d2"],
    ["e0", "e1", "e2"],
    ["f0", "f1", "f2"],
];

fn produce(node: &Node, lines: &[&str]) -> Result<()> {
    let mut child = Command::new(program())
        .args(["produce", "t", "--node", &node.kafka.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let mut input = child.stdin.take().context("its input is a pipe")?;
    for line in lines {
        writeln!(input, "{line}{}", " ".repeat(150))?;
    }
    drop(input);
    assert!(child.wait()?.success());
    Ok(())
}

fn consume(node: &Node) -> Result<Vec<String>> {
    let said = millstream_ok(&["consume", "t", "--node", &node.kafka.to_string()])?;
    Ok(said.lines().map(|line| line.trim().to_owned()).collect())
}

/// A stopped node's directory with a topic of small segments, the third batch of which is damaged.
fn damaged(data: &Path) -> Result<PathBuf> {
    let node = NodeCommand::serve(data).start()?;
    let address = node.kafka.to_string();
    let words = ["topic", "create", "t", "--config", "segment.bytes=1200"];
    millstream_ok(&[&words[..], &["--node", &address]].concat())?;
    for lines in BATCHES {
        produce(&node, &lines)?;
    }
    assert!(node.stop()?.status.success());
    let mut found = None;
    for entry in std::fs::read_dir(data.join("t-0"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "log") {
            continue;
        }
        let mut reader = SegmentReader::open(&RealFs, &path)?;
        while let Some(piece) = reader.next_piece()? {
            if let SegmentPiece::Batch { position, header } = piece
                && header.base_offset == 6
            {
                found = Some((path.clone(), usize::try_from(position)? + 70));
            }
        }
    }
    let (path, at) = found.context("there is a third batch")?;
    let mut bytes = std::fs::read(&path)?;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes)?;
    Ok(path)
}

fn copied(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copied(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}

/// The command for the log of `damaged`, with its answer as JSON.
fn repair_words(data: &Path) -> Vec<String> {
    let data = data.display().to_string();
    ["log", "repair", &data, "--log", "t-0", "--output", "json"]
        .map(str::to_owned)
        .to_vec()
}

fn repair(data: &Path, extra: &[&str]) -> Result<Output> {
    Ok(Command::new(program())
        .args(repair_words(data))
        .args(extra)
        .output()?)
}

/// Offsets of what a repair shows or has given up.
fn losses(output: &Output, name: &str) -> Result<Vec<(i64, i64)>> {
    let document = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter::<Value>()
        .next()
        .context("a document")??;
    let losses = document[name].as_array().context("losses")?;
    let number = |value: &Value| value.as_i64().context("an offset");
    losses
        .iter()
        .map(|loss| {
            Ok((
                number(&loss["offsets"]["first"])?,
                number(&loss["offsets"]["end"])?,
            ))
        })
        .collect()
}
