//! `cargo xtask bench` and `cargo xtask storm`: build the product, then start the tool that drives it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::{foreign, shell};

#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct ToolArguments {
    /// Handed on to the tool; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn bench(arguments: &ToolArguments) -> Result<()> {
    tool("millstream-bench", arguments)
}

pub fn storm(arguments: &ToolArguments) -> Result<()> {
    tool("millstream-storm", arguments)
}

fn tool(name: &str, arguments: &ToolArguments) -> Result<()> {
    let clients = foreign::install()?;
    shell::run(shell::cargo().args([
        "build",
        "--release",
        "--package",
        "millstream",
        "--package",
        name,
    ]))?;
    let mut tool = std::process::Command::new(programs_dir()?.join(name));
    shell::run(
        tool.args(&arguments.rest)
            .current_dir(shell::root())
            .envs(clients.environment()),
    )
}

/// Where cargo put the programs: beside this one.
fn programs_dir() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    Ok(own
        .parent()
        .expect("a program lies in a folder")
        .to_path_buf())
}
