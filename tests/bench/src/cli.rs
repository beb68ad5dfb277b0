//! Which cases run, against which systems, and where the figures go.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use crate::cases::{CASES, Case};
use crate::probe::ram;
use crate::report::Report;
use crate::system::SystemKind;

/// Measures the product on this machine; absolute times mean little elsewhere, ratios more.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// Cases to run; all when none is named
    #[arg(value_parser = case)]
    cases: Vec<&'static Case>,
    /// Runs this system beside ours, in the order ours, peer, peer, ours
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// Shortens every case to about this share of its usual length
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    scale: f64,
    /// Also writes the figures as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Memory to touch beforehand, in MiB, so that the page cache meets no page for the first time
    #[arg(long, default_value_t = 6_144)]
    touch_mib: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Peer {
    Kafka,
}

fn case(name: &str) -> Result<&'static Case, String> {
    let names = || {
        CASES
            .iter()
            .map(|case| case.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    CASES
        .iter()
        .find(|case| case.name == name)
        .ok_or_else(|| format!("no such case; there are {}", names()))
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.01..=10.0).contains(&share) => Ok(share),
        _ => Err("a number from 0.01 to 10".to_string()),
    }
}

pub fn run() -> Result<()> {
    let arguments = Arguments::parse();
    ram::touch(arguments.touch_mib);
    let order: &[SystemKind] = match arguments.peer {
        None => &[SystemKind::Millstream],
        Some(Peer::Kafka) => {
            use SystemKind::{Kafka, Millstream};
            &[Millstream, Kafka, Kafka, Millstream]
        }
    };
    let mut chosen = arguments.cases.clone();
    if chosen.is_empty() {
        chosen = CASES.iter().collect();
    }
    let mut report = Report::default();
    for case in chosen {
        for &kind in order {
            eprintln!("== {} on {kind}", case.name);
            let rows = (case.run)(kind, arguments.scale)
                .with_context(|| format!("case {} on {kind}", case.name))?;
            report.add(case.name, kind, rows);
        }
    }
    print!("{report}");
    if let Some(path) = arguments.json {
        std::fs::write(&path, report.json()?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
