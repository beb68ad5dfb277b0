//! `cargo xtask test`: the whole suite.

use anyhow::Result;
use clap::Args;

use crate::{foreign, shell};

#[derive(Args)]
pub struct TestArguments {
    /// Handed on to `cargo test`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(arguments: &TestArguments) -> Result<()> {
    let clients = foreign::install()?;
    // The end-to-end tests start the product itself, as users build it.
    shell::run(shell::cargo().args(["build", "--release", "--workspace", "--all-targets"]))?;
    let mut test = shell::cargo();
    test.args(["test", "--release", "--workspace"])
        .args(&arguments.rest);
    shell::run(test.envs(clients.environment()))
}
