//! `cargo xtask model`: the log engine against its model, for as long as one likes.

use anyhow::Result;
use clap::Args;

use crate::shell;

#[derive(Args)]
pub struct ModelArguments {
    /// Random histories
    #[arg(long, default_value_t = 100_000)]
    cases: u64,
    /// Seed of the first one; each next one has the next number
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(arguments: &ModelArguments) -> Result<()> {
    shell::run(
        shell::cargo()
            .args(["test", "--release", "--package", "millstream-log"])
            .args(["--test", "model", "--", "--nocapture"])
            .env("MILLSTREAM_MODEL_CASES", arguments.cases.to_string())
            .env("MILLSTREAM_MODEL_SEED", arguments.seed.to_string()),
    )
}
