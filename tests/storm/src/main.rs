//! `cargo xtask storm`: SIGKILL at random moments of a running pipeline, then the oracle.
//! Must not know: the product's insides beyond its files, which it reads after each kill.
//! Read `storm.rs` first, then `crime_scene.rs`.

mod crime_scene;
mod manifest;
mod storm;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match storm::run(&storm::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
