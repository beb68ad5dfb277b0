//! What `validate` and `run` tell the owner of a sound manifest: what may not do what was meant, what became of rows
//! that cannot be used, and how to look at what a run has left.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use millstream_end_to_end::{NodeCommand, program};
use serde_json::Value;

use crate::scene::{FREE_PORTS, millstream, millstream_ok};

/// A folder with a manifest, a file of rows, and the node's data.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new(manifest: &str, rows: &str) -> Result<Scene> {
        let scene = Scene(tempfile::tempdir()?);
        let text = format!("manifest = 1\npipeline = \"p\"\n{manifest}");
        std::fs::write(scene.manifest(), text)?;
        std::fs::write(scene.0.path().join("rows"), rows)?;
        Ok(scene)
    }

    fn manifest(&self) -> PathBuf {
        self.0.path().join("p.toml")
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// `run --once`, in words for people.
    fn run(&self, ports: &[&str]) -> Result<Output> {
        let (manifest, data) = (self.manifest(), self.data());
        let mut command = Command::new(program());
        command.arg("run").arg(manifest).arg("--once").args(ports);
        Ok(command.arg("--data-dir").arg(data).output()?)
    }
}

const SOURCE: &str = "[source.rows]\nfile = \"rows\"\nformat = \"jsonl\"\ntopic = \"rows\"\n";
const STAGE: &str =
    "[stage.mask]\nplugin = \"mask-digits\"\ninputs = \"rwos\"\noutputs = \"out\"\n";

#[test]
fn what_may_not_be_meant_is_warned_of_with_its_place() -> Result<()> {
    let scene = Scene::new(&format!("{SOURCE}{STAGE}"), "{\"id\":1}\n")?;
    let manifest = scene.manifest().display().to_string();
    let valid = millstream_ok(&["validate", "--output", "json", &manifest])?;
    let valid: Value = serde_json::from_str(&valid)?;
    let warnings = valid["warnings"].as_array().context("warnings")?;
    let told: Vec<_> = warnings
        .iter()
        .map(|warning| {
            let place = (warning["line"].as_u64(), warning["column"].as_u64());
            (
                place,
                warning["severity"].as_str(),
                warning["help"].as_str(),
            )
        })
        .collect();
    let meant = "did you mean `rows`? Else, when clients feed it, declare it: [topic.rwos]";
    assert_eq!(
        told,
        [
            (
                (Some(6), Some(9)),
                Some("warning"),
                Some("did you mean `rwos`?")
            ),
            ((Some(9), Some(10)), Some("warning"), Some(meant)),
        ],
        "{valid}"
    );
    let text = millstream(&["validate", &manifest])?;
    assert!(text.status.success(), "{text:?}");
    let ran = scene.run(&FREE_PORTS)?;
    assert!(ran.status.success(), "{ran:?}");
    for (said, label) in [
        (text.stderr, "only clients can feed it"),
        (ran.stderr, "it does not exist, and is created empty"),
    ] {
        let said = String::from_utf8(said)?;
        for part in ["p.toml:6:9", "p.toml:9:10", "2 warnings", label] {
            assert!(said.contains(part), "{part} is missing in {said}");
        }
        assert!(!said.contains("nothing was changed"), "{said}");
    }
    // What nothing uses is a mistake.
    let text = std::fs::read_to_string(scene.manifest())?;
    std::fs::write(
        scene.manifest(),
        format!("{text}[topic.other]\npartitions = 1\n"),
    )?;
    let refused = millstream(&["validate", "--output", "json", &manifest])?;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let refused: Value = serde_json::from_slice(&refused.stdout)?;
    let problems = refused["problems"].as_array().context("problems")?;
    let severities: Vec<_> = problems
        .iter()
        .map(|one| (&one["line"], &one["severity"]))
        .collect();
    assert_eq!(severities.len(), 3, "{refused}");
    assert_eq!(problems[2]["line"], 11, "{refused}");
    assert_eq!(problems[2]["severity"], "error", "{refused}");
    Ok(())
}

#[test]
fn a_row_that_cannot_be_used_is_a_dead_letter_when_the_source_says_so() -> Result<()> {
    let source = format!("{SOURCE}key = \"id\"\non_error = \"dead-letter\"\n");
    let scene = Scene::new(&source, "{\"id\":1}\nbroken\n{\"id\":2}\n")?;
    let ran = scene.run(&FREE_PORTS)?;
    assert!(ran.status.success(), "{ran:?}");
    let text = String::from_utf8(ran.stdout)?;
    assert!(text.contains("dead letters 1, skipped 0"), "{text}");
    let node = NodeCommand::serve(&scene.data()).start()?;
    let address = node.kafka.to_string();
    let consume = [
        "consume",
        "p.source.rows.dead",
        "--output",
        "json",
        "--node",
        &address,
    ];
    let letter = millstream_ok(&consume)?;
    let letter: Value = serde_json::from_str(letter.trim())?;
    assert_eq!(letter["value"], "broken", "{letter}");
    let headers = letter["headers"].to_string();
    for part in [
        "source.rows",
        "65537",
        "row 2, at byte 9: the line is no JSON object",
    ] {
        assert!(headers.contains(part), "{part} is missing in {letter}");
    }
    Ok(())
}

/// A node that a shell has started; killed when dropped.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_commands_that_a_summary_ends_with_can_be_typed() -> Result<()> {
    let scene = Scene::new(SOURCE, "{\"id\":1}\n{\"id\":2}\n")?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let kafka = format!("127.0.0.1:{port}");
    let ran = scene.run(&["--kafka-addr", &kafka, "--http-addr", "127.0.0.1:0"])?;
    let text = String::from_utf8(ran.stdout)?;
    ensure!(ran.status.success(), "{text}");
    let row: Vec<&str> = text
        .lines()
        .find(|line| line.starts_with("rows "))
        .context("the input topic")?
        .split_whitespace()
        .collect();
    assert_eq!(row, ["rows", "2", "-"], "{text}");
    let data = scene.data().display().to_string();
    assert!(
        text.contains(&format!("the data lie in {data}; to look at them:")),
        "{text}"
    );
    let commands: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect();
    let [serve, consume, list] = commands[..] else {
        panic!("{text}");
    };
    let mut node = Command::new("sh");
    // The shell becomes the node, so that it is the node that is killed.
    node.args(["-c", &format!("exec {serve} --http-addr 127.0.0.1:0")]);
    let mut node = Shell(node.stdout(Stdio::piped()).spawn()?);
    let stdout = node.0.stdout.take().context("stdout is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    assert!(line.contains(&kafka), "{line}");
    for (command, expected) in [(consume, "{\"id\":1}"), (list, "rows")] {
        let output = Command::new("sh").args(["-c", command]).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains(expected),
            "{command}: {output:?}"
        );
    }
    Ok(())
}
