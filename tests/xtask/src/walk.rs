//! `cargo xtask walk`: every file of a small node's data directory, damaged in every way.

use anyhow::Result;
use clap::Args;

use crate::shell;

#[derive(Args)]
pub struct WalkArguments {
    /// Cases of each kind of stop; all of them, half an hour or more, when this is left out
    #[arg(long)]
    cases: Option<u64>,
    /// The cases whose names contain this: a file, or a line that the walk printed up to its colon
    #[arg(long, value_name = "TEXT", conflicts_with = "cases")]
    only: Option<String>,
}

pub fn run(arguments: &WalkArguments) -> Result<()> {
    let cases = arguments
        .cases
        .map_or_else(|| "all".to_owned(), |cases| cases.to_string());
    let mut tests = shell::cargo();
    tests
        .args(["test", "--release", "--package", "millstream"])
        .args(["--test", "in_process", "walk::", "--", "--nocapture"])
        .env("MILLSTREAM_WALK", cases);
    if let Some(only) = &arguments.only {
        tests.env("MILLSTREAM_WALK_ONLY", only);
    }
    shell::run(&mut tests)
}
