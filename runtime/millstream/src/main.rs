//! The program: see the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    match millstream::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
