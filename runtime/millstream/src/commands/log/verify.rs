//! `millstream log verify`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use millstream_log::fs::{FileSystem, RealFs};
use millstream_log::inspect::{self, Damage, Report};
use serde_json::{Value, json};

use super::repair::{accepted_loss_in, accepted_text};
use crate::outcome::{Failure, FailureKind, Outcome};
use crate::output::{OutputFormat, print_json};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Data directories, or directories of partitions
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Decompress and decode every record too, not only compute checksums
    #[arg(long)]
    deep: bool,
}

/// Ends with code 1 when anything is damaged. Beside a running node, what the node may be writing is left out.
pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFs);
    let mut reports = Vec::new();
    for path in &arguments.paths {
        if !fs.exists(path)? {
            let error = anyhow::anyhow!("there is no {}", path.display());
            return Err(Failure::new(FailureKind::NotFound, error));
        }
        let report = inspect::verify(&fs, path, arguments.deep)
            .with_context(|| format!("cannot read {}", path.display()))?;
        reports.push((path, report));
    }
    if output.is_json() {
        let reports: Vec<_> = reports
            .iter()
            .map(|(path, report)| document(path, report))
            .collect();
        print_json(&reports)?;
    } else {
        for (path, report) in &reports {
            print(path, report);
        }
    }
    let damages: usize = reports.iter().map(|(_, report)| report.damages.len()).sum();
    if damages == 0 {
        return Ok(());
    }
    let error = anyhow::anyhow!("{damages} damaged places");
    Err(Failure::new(FailureKind::Failed, error))
}

fn print(path: &std::path::Path, report: &Report) {
    for damage in &report.damages {
        println!("{damage}");
    }
    for (dir, loss) in &report.accepted {
        let text = accepted_text(loss);
        println!("given up by a repair: {}: {text}", dir.display());
    }
    for end in &report.unfinished {
        println!("not damaged, a write that was cut short by a crash: {end}");
    }
    if report.is_open {
        println!(
            "{}: a node has it open; its journal, its checkpoint and the ends of its logs were left out",
            path.display()
        );
    }
    println!(
        "{}: {} partitions, {} segments, {} batches, {} bytes, {} journal entries: {}",
        path.display(),
        report.partitions,
        report.segments,
        report.batches,
        report.bytes,
        report.journal_entries,
        match report.damages.len() {
            0 => "sound".to_owned(),
            count => format!("{count} damaged places"),
        }
    );
}

fn document(path: &std::path::Path, report: &Report) -> Value {
    json!({
        "path": path.display().to_string(),
        "sound": report.damages.is_empty(),
        "open": report.is_open,
        "partitions": report.partitions,
        "segments": report.segments,
        "batches": report.batches,
        "records": report.records,
        "bytes": report.bytes,
        "journal_entries": report.journal_entries,
        "damages": report.damages.iter().map(damage).collect::<Vec<_>>(),
        "accepted_losses": report
            .accepted
            .iter()
            .map(|(dir, loss)| accepted_loss_in(dir, loss))
            .collect::<Vec<_>>(),
        "unfinished": report.unfinished.iter().map(damage).collect::<Vec<_>>(),
    })
}

/// An end of the offsets that is not known is null.
pub fn damage(damage: &Damage) -> Value {
    let offsets = damage.offsets.as_ref().map(|offsets| {
        let end = (offsets.end != i64::MAX).then_some(offsets.end);
        json!({ "first": offsets.start, "end": end })
    });
    json!({
        "path": damage.path.display().to_string(),
        "position": damage.position,
        "offsets": offsets,
        "reason": damage.reason,
    })
}
