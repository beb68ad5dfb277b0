//! Our own node: one process is broker and pipeline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use millstream_end_to_end::{Node, NodeCommand};

use super::{Durability, INPUT, OUTPUT, PipelineSetup, Setup, System};

#[derive(Debug)]
pub struct Millstream {
    node: Node,
    data_dir: PathBuf,
}

impl Millstream {
    pub fn start(setup: &Setup<'_>) -> Result<Millstream> {
        Ok(Millstream {
            node: command(setup)?.start()?,
            data_dir: data_dir(setup),
        })
    }

    /// SIGKILL, now.
    pub fn kill(self) -> Result<()> {
        self.node.kill()
    }

    /// Stops the node cleanly.
    pub fn stop(self) -> Result<()> {
        let stopped = self.node.stop()?;
        anyhow::ensure!(
            stopped.status.success(),
            "the node ended with {}",
            stopped.status
        );
        Ok(())
    }
}

impl System for Millstream {
    fn address(&self) -> String {
        self.node.kafka.to_string()
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.node.id()]
    }

    fn logs(&self) -> PathBuf {
        self.data_dir.clone()
    }

    fn compaction_time(&self, topic: &str) -> Result<Option<Duration>> {
        let written = std::fs::read_to_string(self.data_dir.join("cleaner-offset-checkpoint"));
        let pass = format!("{topic} 0 ");
        if !written.is_ok_and(|text| text.lines().any(|line| line.starts_with(&pass))) {
            return Ok(None);
        }
        let (_, metrics) = self.node.http_get("/metrics")?;
        let mut lines = metrics.lines();
        let seconds =
            lines.find_map(|line| line.strip_prefix("millstream_cleaner_last_pass_seconds "));
        Ok(seconds
            .map(str::parse)
            .transpose()?
            .map(Duration::from_secs_f64))
    }
}

/// How the node is started; the manifest is written beside its data.
fn command(setup: &Setup<'_>) -> Result<NodeCommand> {
    let data_dir = data_dir(setup);
    let command = match setup.pipeline {
        Some(pipeline) => NodeCommand::run(&write_manifest(setup.data_dir, pipeline)?, &data_dir),
        None => NodeCommand::serve(&data_dir),
    };
    let flush = match setup.durability {
        Durability::Os => "os",
        Durability::Flushed => "journal",
    };
    let settings = setup.settings.iter().flat_map(|one| ["--set", one]);
    Ok(command.arguments(["--flush", flush]).arguments(settings))
}

fn data_dir(setup: &Setup<'_>) -> PathBuf {
    setup.data_dir.join("data")
}

fn write_manifest(dir: &Path, pipeline: PipelineSetup) -> Result<PathBuf> {
    let PipelineSetup {
        commit_ms,
        keep_bytes,
    } = pipeline;
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/mask-digits");
    let plugin = plugin.canonicalize()?;
    let text = format!(
        r#"manifest = 1
pipeline = "bench"
commit = {{ max_interval = "{commit_ms}ms" }}
[topic.{INPUT}]
partitions = 1
[stage.mask]
plugin = "{}"
inputs = "{INPUT}"
outputs = "{OUTPUT}"
config = {{ keep = {keep_bytes} }}
"#,
        plugin.display()
    );
    let path = dir.join("pipeline.toml");
    std::fs::write(&path, text)?;
    Ok(path)
}
