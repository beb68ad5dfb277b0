//! The systems under test: ours and the peer, behind one shape.

mod kafka;
mod millstream;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::cases::client;

pub use kafka::Kafka;
pub use millstream::Millstream;

/// How long our pipeline may take until its first output, the plugin's build included.
const START_MAX: Duration = Duration::from_secs(120);

/// What a case runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemKind {
    Millstream,
    Kafka,
}

impl fmt::Display for SystemKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            SystemKind::Millstream => "millstream",
            SystemKind::Kafka => "kafka",
        })
    }
}

/// When the system flushes what it acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The page cache: Kafka's default.
    Os,
    /// Flushed before it is acknowledged.
    Flushed,
}

/// The topics of the pipeline that both systems run: digits of `in` become `#` in `out`.
pub const INPUT: &str = "in";
pub const OUTPUT: &str = "out";

/// A running system with the pipeline deployed, or without.
pub trait System {
    /// Where clients connect.
    fn address(&self) -> String;
    /// The processes whose CPU and memory count.
    fn processes(&self) -> Vec<u32>;
    /// Where the partitions' folders lie.
    fn logs(&self) -> PathBuf;
    /// How long the last pass of the cleaner over the topic's only partition took; none when there was none.
    fn compaction_time(&self, topic: &str) -> Result<Option<Duration>>;
}

/// What to start.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    pub data_dir: &'a Path,
    pub durability: Durability,
    /// The pipeline, with its commit interval in milliseconds.
    pub pipeline: Option<PipelineSetup>,
    /// Broker settings by Kafka's names, as `log.cleaner.threads=1`.
    pub settings: &'a [&'a str],
}

#[derive(Debug, Clone, Copy)]
pub struct PipelineSetup {
    pub commit_ms: u32,
    /// The first bytes of a value that are left alone.
    pub keep_bytes: u32,
}

/// Starts a system and waits until it answers.
pub fn start(kind: SystemKind, setup: &Setup<'_>) -> Result<Box<dyn System>> {
    Ok(match kind {
        SystemKind::Millstream => {
            let node = Millstream::start(setup)?;
            if setup.pipeline.is_some() {
                client::wait_for_pipeline(&node.address(), START_MAX)?;
            }
            Box::new(node)
        }
        SystemKind::Kafka => Box::new(Kafka::start(setup)?),
    })
}
