//! The developer's commands, run as `cargo xtask …`.
//! Must not know: the product's crates, but for the one that builds plugins; it drives cargo and the built programs.
//! Read `cli.rs` first; each command has a file of its own.

mod arrows;
mod bindings;
mod check;
mod cli;
mod docs;
mod fail_points;
mod foreign;
mod load;
mod model;
mod plugins;
mod product_paths;
mod shell;
mod sources;
mod test;
mod unsafe_list;
mod walk;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
