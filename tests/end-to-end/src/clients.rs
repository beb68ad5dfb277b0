//! Clients that others wrote. `cargo xtask test` installs them and says where they are.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A foreign program that a test wants to drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Kcat,
    ConfluentKafka,
    ApacheKafka,
    /// To stop a program at one of its system calls.
    Strace,
}

impl Client {
    fn variable(self) -> &'static str {
        match self {
            Client::Kcat => "MILLSTREAM_TEST_KCAT",
            Client::ConfluentKafka => "MILLSTREAM_TEST_PYTHON",
            Client::ApacheKafka => "MILLSTREAM_TEST_KAFKA_JARS",
            Client::Strace => "MILLSTREAM_TEST_STRACE",
        }
    }

    /// Where it is. Without it a test has nothing to say: it prints that it is left out, and with
    /// `CI=true` it fails.
    pub fn find(self) -> Option<String> {
        if let Ok(place) = std::env::var(self.variable()) {
            return Some(place);
        }
        let complaint = format!(
            "{} is not set: run the tests with `cargo xtask test`",
            self.variable()
        );
        assert!(std::env::var_os("CI").is_none(), "{complaint}");
        eprintln!("left out: {self:?}: {complaint}");
        None
    }
}

/// Runs kcat with the given standard input and gives back its standard output.
pub fn kcat(kcat: &str, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    run(Command::new(kcat).args(arguments), input)
}

/// What kcat reads of a topic from the beginning to its end with `read_committed`: one JSON object per line.
pub fn kcat_read_committed(kcat_program: &str, broker: SocketAddr, topic: &str) -> Result<Vec<u8>> {
    let broker = broker.to_string();
    let isolation = "isolation.level=read_committed";
    let arguments = [
        "-b", &broker, "-X", isolation, "-C", "-e", "-q", "-J", "-t", topic,
    ];
    kcat(kcat_program, &arguments, b"")
}

/// Runs a Python script.
pub fn python(python: &str, script: &Path, arguments: &[&str]) -> Result<String> {
    let output = run(Command::new(python).arg(script).args(arguments), b"")?;
    Ok(String::from_utf8(output)?)
}

/// Runs one of Apache Kafka's command-line classes.
pub fn kafka_tool(jars: &str, class: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("java");
    command.args([
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &format!("{jars}/*"),
        class,
    ]);
    let output = run(command.args(arguments), b"")?;
    Ok(String::from_utf8(output)?)
}

fn run(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    // Cargo leads to what the bench links there: another librdkafka than the one that kcat was made with.
    let mut child = command
        .env_remove("LD_LIBRARY_PATH")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    // A program that prints while it reads would block us both without a thread.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    let written = writer.join().expect("the writer does not panic");
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {said}", output.status);
    }
    written.context("the program did not read its input")?;
    Ok(output.stdout)
}
