//! What several modules need: the example's folder, the command line of the product.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use millstream_end_to_end::program;

/// What lets a node choose its ports.
pub const FREE_PORTS: [&str; 4] = ["--kafka-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"];

/// The workspace's root.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors()
        .nth(2)
        .expect("two levels below the root")
        .to_path_buf()
}

/// Runs `millstream` with these words.
pub fn millstream(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(program()).args(arguments).output()?)
}

/// Runs `millstream`, which must succeed, and gives back its standard output.
pub fn millstream_ok(arguments: &[&str]) -> Result<String> {
    let output = millstream(arguments)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "millstream {arguments:?} ended with {}: {said}",
            output.status
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Produces lines as records without keys.
pub fn produce(address: &str, topic: &str, lines: &[u8]) -> Result<()> {
    produce_with(&[topic, "--node", address], lines)
}

/// Runs `millstream produce` with these words over these lines.
pub fn produce_with(arguments: &[&str], lines: &[u8]) -> Result<()> {
    let mut produce = Command::new(program())
        .arg("produce")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let stdin = produce.stdin.take();
    stdin.context("stdin is piped")?.write_all(lines)?;
    anyhow::ensure!(produce.wait()?.success(), "nothing was produced");
    Ok(())
}
