//! A pipeline of a test, and its node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use millstream_end_to_end::NodeCommand;
use serde_json::Value;

use crate::scene::millstream_ok;

/// How long a run may take, with the build of a plugin.
pub const RUN_LIMIT: Duration = Duration::from_secs(120);

/// A source that feeds the topic `rows` from the project's file.
pub const LINES: &str = "[source.rows]\nfile = \"rows\"\nformat = \"lines\"\ntopic = \"rows\"\n";

/// A folder with a manifest, a file of rows, and the node's data.
pub struct Project(tempfile::TempDir);

impl Project {
    /// The pipeline `p`.
    pub fn new(manifest: &str, rows: &str) -> Result<Project> {
        let project = Project(tempfile::tempdir()?);
        project.write_manifest(manifest)?;
        std::fs::write(project.dir().join("rows"), rows)?;
        Ok(project)
    }

    pub fn write_manifest(&self, manifest: &str) -> Result<()> {
        let text = format!("manifest = 1\npipeline = \"p\"\n{manifest}");
        Ok(std::fs::write(self.manifest(), text)?)
    }

    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    pub fn manifest(&self) -> PathBuf {
        self.dir().join("pipeline.toml")
    }

    pub fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    pub fn run_once(&self, arguments: &[&str]) -> NodeCommand {
        self.run_once_over(&self.data(), arguments)
    }

    /// The same over another directory of data.
    pub fn run_once_over(&self, data: &Path, arguments: &[&str]) -> NodeCommand {
        NodeCommand::run(&self.manifest(), data)
            .argument("--once")
            .arguments(arguments)
    }

    /// Runs to the end, which must be a good one; the summary and what was printed in front of it.
    pub fn ran_once(&self, arguments: &[&str]) -> Result<(Value, Vec<Value>)> {
        ran(self.run_once(arguments))
    }

    /// Runs, which must be refused with exit code 2; what the failure says.
    pub fn refused(&self, arguments: &[&str]) -> Result<String> {
        let stopped = self.run_once(arguments).start()?.wait_for(RUN_LIMIT)?;
        anyhow::ensure!(stopped.status.code() == Some(2), "{stopped:?}");
        let failure = &json_lines(&stopped.stdout)?[0];
        assert_eq!(failure["kind"], "usage", "{failure}");
        let error = failure["error"].as_str().context("an error")?;
        Ok(error.to_owned())
    }
}

/// Runs a command to its end, which must be a good one; the summary and what was printed in front of it.
pub fn ran(command: NodeCommand) -> Result<(Value, Vec<Value>)> {
    let stopped = command.start()?.wait_for(RUN_LIMIT)?;
    anyhow::ensure!(stopped.status.success(), "{stopped:?}");
    let mut lines = json_lines(&stopped.stdout)?;
    let summary = lines.pop().context("a run ends with its summary")?;
    Ok((summary, lines))
}

pub fn json_lines(text: &str) -> Result<Vec<Value>> {
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .with_context(|| text.to_owned())
}

/// The committed values in each of these topics, sorted.
pub fn committed(data: &Path, topics: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
    let node = NodeCommand::serve(data).start()?;
    let address = node.kafka.to_string();
    let mut found = BTreeMap::new();
    for topic in topics {
        let text = millstream_ok(&["consume", topic, "--node", &address])?;
        let mut values: Vec<String> = text.lines().map(str::to_owned).collect();
        values.sort();
        found.insert((*topic).to_owned(), values);
    }
    anyhow::ensure!(node.stop()?.status.success(), "the node ended badly");
    Ok(found)
}
