//! `cargo xtask walk`: every file of a small node's data directory, damaged in every way.

use anyhow::Result;
use clap::Args;

use crate::shell;

#[derive(Args)]
pub struct WalkArguments {
    /// Cases of each kind of stop; all of them, an hour or more, when this is left out
    #[arg(long)]
    cases: Option<u64>,
}

pub fn run(arguments: &WalkArguments) -> Result<()> {
    let cases = arguments
        .cases
        .map_or_else(|| "all".to_owned(), |cases| cases.to_string());
    shell::run(
        shell::cargo()
            .args(["test", "--release", "--package", "millstream"])
            .args(["--test", "in_process", "walk::", "--", "--nocapture"])
            .env("MILLSTREAM_WALK", cases),
    )
}
