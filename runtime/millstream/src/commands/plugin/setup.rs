//! `millstream plugin setup`: a wasm toolchain.

use std::path::Path;

use millstream_plugin_build::WASM_TARGET;

use crate::outcome::Outcome;
use crate::output::{OutputFormat, print_json};

pub fn run(output: OutputFormat) -> Outcome {
    millstream_plugin_build::setup(Path::new("."), false, &mut |line| eprintln!("+ {line}"))?;
    if output.is_json() {
        return Ok(print_json(&serde_json::json!({ "target": WASM_TARGET }))?);
    }
    println!("{WASM_TARGET} is available");
    Ok(())
}
