//! Our own node: one process is broker and pipeline.

use std::path::{Path, PathBuf};

use anyhow::Result;
use millstream_end_to_end::{Node, NodeCommand};

use super::{Durability, INPUT, OUTPUT, PipelineSetup, Setup, System};

#[derive(Debug)]
pub struct Millstream {
    node: Node,
}

impl Millstream {
    pub fn start(setup: &Setup<'_>) -> Result<Millstream> {
        Ok(Millstream {
            node: command(setup)?.start()?,
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
}

/// How the node is started; the manifest is written beside its data.
fn command(setup: &Setup<'_>) -> Result<NodeCommand> {
    let data_dir = setup.data_dir.join("data");
    let command = match setup.pipeline {
        Some(pipeline) => NodeCommand::run(&write_manifest(setup.data_dir, pipeline)?, &data_dir),
        None => NodeCommand::serve(&data_dir),
    };
    let flush = match setup.durability {
        Durability::Os => "os",
        Durability::Flushed => "journal",
    };
    Ok(command.arguments(["--flush", flush]))
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
