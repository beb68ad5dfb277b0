//! `cargo xtask bench`: every figure that the README gives, measured on this machine.
//! Must not know: the product's crates, but for the log engine, which some cases measure alone. It drives programs
//! and reads `/proc`.
//! Read `cli.rs` first, then `cases/mod.rs`.

mod cases;
mod cli;
mod probe;
mod report;
mod system;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
