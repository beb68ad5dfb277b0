//! `log repair` as a user runs it, and killed at each of its steps.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use millstream_end_to_end::{Node, NodeCommand, program};
use millstream_log::failpoint;
use millstream_log::fs::RealFs;
use millstream_log::inspect::{SegmentPiece, SegmentReader};
use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{millstream, millstream_ok};

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

fn repair(data: &Path, extra: &[&str], failpoints: &str) -> Result<Output> {
    let data = data.display().to_string();
    let words = ["log", "repair", &data, "--log", "t-0", "--output", "json"];
    Ok(Command::new(program())
        .args(words)
        .args(extra)
        .env(failpoint::ENVIRONMENT, failpoints)
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

#[test]
fn a_repair_that_is_killed_at_any_step_leaves_the_old_damage_or_none_and_goes_on() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let original = dir.path().join("original");
    damaged(&original)?;
    let mut killed = BTreeSet::new();
    for (name, _) in failpoint::list() {
        for nth in 1..=3 {
            let data = dir.path().join(format!("{name}-{nth}"));
            copied(&original, &data)?;
            let ended = repair(&data, &["--accept-loss"], &format!("{name}=kill@{nth}"))?;
            if ended.status.signal() != Some(Signal::KILL.as_raw()) {
                assert!(ended.status.success(), "{name}: {ended:?}");
                std::fs::remove_dir_all(&data)?;
                break;
            }
            killed.insert(*name);
            let shown = repair(&data, &[], "")?;
            let (found, given_up) = (
                losses(&shown, "losses")?,
                losses(&shown, "accepted_losses")?,
            );
            let is_old = found == [(6, 9)] && shown.status.code() == Some(1);
            let is_new = found.is_empty() && given_up == [(6, 9)] && shown.status.code() == Some(4);
            let is_swapping = std::fs::read_dir(data.join("t-0"))?
                .filter_map(Result::ok)
                .any(|entry| entry.path().extension().is_some_and(|end| end == "swap"));
            assert!(is_old || is_new || is_swapping, "{name} {nth}: {shown:?}");
            let again = repair(&data, &["--accept-loss"], "")?;
            assert!(again.status.success(), "{name} {nth}: {again:?}");
            let verified = millstream_ok(&["log", "verify", &data.display().to_string()])?;
            assert!(verified.contains("given up"), "{verified}");
            let node = NodeCommand::serve(&data).start()?;
            let mut expected = BATCHES.concat();
            expected.retain(|value| !value.starts_with('c'));
            assert_eq!(consume(&node)?, expected, "{name} {nth}");
            produce(&node, &["on"])?;
            expected.push("on");
            assert_eq!(consume(&node)?, expected, "{name} {nth}");
            drop(node);
            std::fs::remove_dir_all(&data)?;
        }
    }
    for step in [
        "repair.after_copies",
        "repair.after_note",
        "cleaner.before_sync",
        "cleaner.before_swap_name",
        "cleaner.after_swap_name",
        "segments.after_swap",
        "segments.between_files",
        "segments.between_renames",
        "segments.before_own_name",
        "store.before_checkpoint",
        "checkpoint.before_rename",
        "store.before_clean_marker",
    ] {
        assert!(killed.contains(step), "{step} is not reached: {killed:?}");
    }
    Ok(())
}

#[test]
fn each_state_that_is_not_repaired_has_its_message_and_its_code() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let path = damaged(&data)?;
    let text = data.display().to_string();
    let said = |words: &[&str]| -> Result<(Option<i32>, String)> {
        let output = millstream(&[&["log", "repair"], words].concat())?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(said)?))
    };
    let (code, shown) = said(&[&text, "--log", "t-0"])?;
    assert_eq!(code, Some(1), "{shown}");
    for part in [
        &*path.display().to_string(),
        "offsets 6 to 8",
        " UTC",
        "compacted",
        "nothing was changed",
        &format!("millstream log repair {text} --log t-0 --accept-loss"),
    ] {
        assert!(shown.contains(part), "no {part:?} in:\n{shown}");
    }
    for (log, dir, code, part) in [
        ("t-1", &*text, 4, "there is no log t-1"),
        (
            "__cluster_metadata-0",
            &*text,
            4,
            "nothing is damaged in __cluster_metadata-0",
        ),
        ("t-0", "/nowhere", 4, "/nowhere"),
    ] {
        for extra in [&[][..], &["--accept-loss"]] {
            let (found, said) = said(&[&[dir, "--log", log], extra].concat())?;
            assert_eq!(found, Some(code), "{log} {dir} {extra:?}: {said}");
            assert!(said.contains(part), "{said}");
        }
    }
    let node = NodeCommand::serve(&data).start()?;
    let (code, said_beside) = said(&[&text, "--log", "t-0", "--accept-loss"])?;
    assert_eq!(code, Some(3), "{said_beside}");
    assert!(said_beside.contains("stop it first"), "{said_beside}");
    let (code, shown_beside) = said(&[&text, "--log", "t-0"])?;
    assert_eq!(code, Some(1), "{shown_beside}");
    assert!(shown_beside.contains("offsets 6 to 8"), "{shown_beside}");
    drop(node);
    Ok(())
}
