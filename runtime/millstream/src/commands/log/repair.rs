//! `millstream log repair`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use millstream_cluster::metadata_log;
use millstream_log::clock::SystemClock;
use millstream_log::fs::RealFs;
use millstream_log::repair::{
    AcceptedLoss, Examination, Loss, RepairError, RepairTarget, Repaired, examine, repair,
    repair_command,
};
use serde_json::{Value, json};

use super::consequences::consequences;
use super::times::utc;
use crate::outcome::{Failure, FailureKind, Outcome};
use crate::output::{OutputFormat, print_json};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The node's data directory; no node may have it open when a loss is accepted
    #[arg(value_name = "DATA-DIR")]
    dir: PathBuf,
    /// The log, by the name of its directory
    #[arg(long, value_name = "TOPIC-N")]
    log: String,
    /// Give the damaged records up; a copy of the damaged files is kept
    #[arg(long)]
    accept_loss: bool,
}

/// Without `--accept-loss` it ends with code 1 when anything is damaged, as `log verify` does.
pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let target = RepairTarget {
        fs: Arc::new(RealFs),
        clock: Arc::new(SystemClock),
        dir: arguments.dir.clone(),
        log: arguments.log.clone(),
        metadata_log: Some(metadata_log()),
    };
    match arguments.accept_loss {
        true => accept(&target, output),
        false => show(&target, output),
    }
}

fn show(target: &RepairTarget, output: OutputFormat) -> Outcome {
    let found = examine(target).map_err(failure)?;
    let command = repair_command(&target.dir.join(&target.log)) + " --accept-loss";
    if output.is_json() {
        print_json(&json!({
            "log": target.log,
            "open": found.is_open,
            "losses": found.losses.iter().map(loss).collect::<Vec<_>>(),
            "accepted_losses": found.accepted.iter().map(accepted_loss).collect::<Vec<_>>(),
            "consequences": consequences(&target.log),
            "command": command,
        }))?;
    } else {
        print(target, &found, &command);
    }
    match found.losses.len() {
        0 => Err(failure(RepairError::NothingDamaged {
            log: target.log.clone(),
            accepted: found.accepted,
        })),
        1 => Err(anyhow::anyhow!(
            "{} is damaged in one place; nothing was changed",
            target.log
        )
        .into()),
        count => Err(anyhow::anyhow!(
            "{} is damaged in {count} places; nothing was changed",
            target.log
        )
        .into()),
    }
}

fn print(target: &RepairTarget, found: &Examination, command: &str) {
    for one in &found.accepted {
        println!("given up before: {}", accepted_text(one));
    }
    if found.losses.is_empty() {
        return;
    }
    println!("{} cannot be read in these places:", target.log);
    for one in &found.losses {
        println!("  {}", loss_text(one));
    }
    println!("When they are given up:");
    for line in consequences(&target.log) {
        println!("  {line}");
    }
    if found.is_open {
        println!(
            "A node has the directory open: the end of the log was left out, and the node must be stopped first."
        );
    }
    println!("If no copy of the file can be put back:");
    println!("  {command}");
}

fn accept(target: &RepairTarget, output: OutputFormat) -> Outcome {
    let repaired = match repair(target) {
        // An earlier call has come so far and was killed, or it was this very call.
        Err(RepairError::NothingDamaged { accepted, .. }) if !accepted.is_empty() => Repaired {
            losses: Vec::new(),
            copies: Vec::new(),
        },
        repaired => repaired.map_err(failure)?,
    };
    if output.is_json() {
        print_json(&json!({
            "log": target.log,
            "losses": repaired.losses.iter().map(loss).collect::<Vec<_>>(),
            "copies": repaired.copies.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
            "consequences": consequences(&target.log),
        }))?;
        return Ok(());
    }
    if repaired.losses.is_empty() {
        println!(
            "{} is sound: what was damaged was given up before.",
            target.log
        );
        return Ok(());
    }
    println!("{} is sound again without these records:", target.log);
    for one in &repaired.losses {
        println!("  {}", loss_text(one));
    }
    println!("From now on:");
    for line in consequences(&target.log) {
        println!("  {line}");
    }
    for copy in &repaired.copies {
        println!("the damaged file is kept as {}", copy.display());
    }
    Ok(())
}

fn failure(error: RepairError) -> Failure {
    let kind = match &error {
        RepairError::Locked { .. } => FailureKind::Refused,
        RepairError::NotANode { .. }
        | RepairError::UnknownLog { .. }
        | RepairError::NothingDamaged { .. } => FailureKind::NotFound,
        RepairError::Changed { .. }
        | RepairError::Io { .. }
        | RepairError::Store(_)
        | RepairError::Append(_)
        | RepairError::Swap(_)
        | RepairError::Checkpoint(_) => FailureKind::Failed,
    };
    Failure::new(kind, error)
}

fn loss_text(loss: &Loss) -> String {
    let offsets = match loss.offsets.end {
        i64::MAX => format!("offsets from {} on", loss.offsets.start),
        end if end == loss.offsets.start + 1 => format!("offset {}", loss.offsets.start),
        end => format!("offsets {} to {}", loss.offsets.start, end - 1),
    };
    let times = match (loss.before_ms, loss.after_ms) {
        (Some(before), Some(after)) => format!(", of between {} and {}", utc(before), utc(after)),
        (Some(before), None) => format!(", of after {}", utc(before)),
        (None, Some(after)) => format!(", of before {}", utc(after)),
        (None, None) => String::new(),
    };
    format!(
        "{offsets}{times}: {} at position {}: {}",
        loss.path.display(),
        loss.position,
        loss.reason
    )
}

/// For `log verify` too.
pub fn accepted_text(loss: &AcceptedLoss) -> String {
    format!("{loss} (accepted {})", utc(loss.accepted_ms))
}

/// What is not known is null.
fn loss(loss: &Loss) -> Value {
    let end = (loss.offsets.end != i64::MAX).then_some(loss.offsets.end);
    json!({
        "path": loss.path.display().to_string(),
        "position": loss.position,
        "offsets": { "first": loss.offsets.start, "end": end },
        "before_ms": loss.before_ms,
        "after_ms": loss.after_ms,
        "reason": loss.reason,
    })
}

/// For `log verify` too.
pub fn accepted_loss(loss: &AcceptedLoss) -> Value {
    json!({
        "offsets": { "first": loss.offsets.start, "end": loss.offsets.end },
        "accepted_ms": loss.accepted_ms,
        "file": loss.file,
        "position": loss.position,
        "reason": loss.reason,
    })
}

/// The same with the partition's directory.
pub fn accepted_loss_in(dir: &Path, loss: &AcceptedLoss) -> Value {
    let mut value = accepted_loss(loss);
    value["path"] = dir.display().to_string().into();
    value
}
