//! The settings of one log and of the store, with Kafka's names and defaults.

use std::path::PathBuf;
use std::sync::Arc;

use millstream_records::{Compression, TimestampType};

use crate::cleaner::CleanerOptions;
use crate::clock::Clock;
use crate::fs::FileSystem;
use crate::log::{AppendOrigin, LogId};

/// How a node makes appended bytes durable; a setting of the node, not of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushMode {
    /// Every append also goes to the shared journal; the high watermark waits for its flush.
    #[default]
    Journal,
    /// Page cache only, as Kafka: the high watermark is the log end at once.
    Os,
}

impl FlushMode {
    /// The word that users write for the setting `flush`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Os => "os",
        }
    }
}

impl std::fmt::Display for FlushMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for FlushMode {
    type Err = UnknownFlushMode;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "journal" => Ok(Self::Journal),
            "os" => Ok(Self::Os),
            _ => Err(UnknownFlushMode {
                found: word.to_owned(),
            }),
        }
    }
}

/// A `flush` setting that is neither `journal` nor `os`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("flush is {found:?}, it must be \"journal\" or \"os\"")]
pub struct UnknownFlushMode {
    pub found: String,
}

/// What happens to old records; `cleanup.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments go by age and size.
    pub delete: bool,
    /// Of each key the last record stays.
    pub compact: bool,
}

/// Whose appends a log takes. No setting of a topic: the node gives it to the logs that hold its own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writers {
    #[default]
    Anyone,
    /// Stages and sources of this node, and its coordinators.
    Node,
    /// This node's coordinators alone.
    Coordinators,
}

impl Writers {
    pub fn admit(self, origin: AppendOrigin) -> bool {
        match self {
            Self::Anyone => true,
            Self::Node => origin != AppendOrigin::Client,
            Self::Coordinators => origin == AppendOrigin::Coordinator,
        }
    }
}

/// Settings of one log. Each keeps the meaning of Kafka's topic setting of the same name.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// Who may append.
    pub writers: Writers,
    /// `segment.bytes`: the active segment is rolled before it grows beyond this.
    pub segment_bytes: u32,
    /// `segment.ms`: the active segment is rolled when its first batch is this old.
    pub segment_ms: i64,
    /// `segment.index.bytes`: most bytes of an offset index; a full index rolls the segment.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: one index entry for at least so many bytes of batches.
    pub index_interval_bytes: u32,
    /// `max.message.bytes`: largest batch that a client may append.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a client's timestamp may lie behind the clock.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far a client's timestamp may lie before the clock.
    pub timestamp_after_max_ms: i64,
    /// `compression.type`: the codec that the topic asks for; none means that the producer chooses.
    /// The log stores what it is given; whoever appends re-encodes beforehand.
    pub compression_type: Option<Compression>,
    /// `cleanup.policy`
    pub cleanup: CleanupPolicy,
    /// `retention.ms`: a rolled segment whose newest record is older goes; negative: never.
    pub retention_ms: i64,
    /// `retention.bytes`: the oldest segments go while the rest is at least so large; negative: never.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`: how long the files of a segment stay after it has left the log.
    pub file_delete_delay_ms: i64,
    /// `segment.jitter.ms`: most that is taken off `segment.ms`, so that not all logs roll at once.
    pub segment_jitter_ms: i64,
    /// `preallocate`: a new segment's file gets its room at once.
    pub preallocate: bool,
    /// `min.cleanable.dirty.ratio`: the log is compacted when so much of it is dirty.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: younger records are not compacted.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: a record that is older makes the log due for compaction at any ratio.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`: how long a tombstone, or a marker without data, stays after compaction met it.
    pub delete_retention_ms: i64,
}

impl LogConfig {
    /// Positions in an offset index are signed 32-bit numbers, so no segment is larger than this.
    pub const SEGMENT_BYTES_MAX: u32 = i32::MAX as u32;

    /// The defaults for a log of which nothing is ever deleted or compacted.
    pub fn keeping_all() -> LogConfig {
        LogConfig {
            cleanup: CleanupPolicy {
                delete: false,
                compact: false,
            },
            ..LogConfig::default()
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            writers: Writers::Anyone,
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * 60 * 1000,
            compression_type: None,
            cleanup: CleanupPolicy {
                delete: true,
                compact: false,
            },
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            segment_jitter_ms: 0,
            preallocate: false,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 24 * 60 * 60 * 1000,
        }
    }
}

/// What a store needs to open its directory.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The data directory; created when it is missing.
    pub dir: PathBuf,
    pub flush: FlushMode,
    pub fs: Arc<dyn FileSystem>,
    pub clock: Arc<dyn Clock>,
    pub node_id: i32,
    /// Written into `meta.properties` of a new directory; a random one when absent. An existing directory
    /// of another cluster is refused.
    pub cluster_id: Option<String>,
    /// The log that says what the others are. With it a directory that holds logs, and not this one, is refused.
    pub metadata_log: Option<LogId>,
    /// Most files of segments and indexes that are open at once.
    pub open_files_max: usize,
    /// How often dirty logs are synced in the background and their recovery points written, ms.
    pub checkpoint_interval_ms: u64,
    /// A checkpoint is also taken when the journal has grown by so many bytes since the last one.
    pub checkpoint_journal_bytes: u64,
    /// `log.retention.check.interval.ms`: how often retention looks at all logs. It can be changed later.
    pub retention_check_interval_ms: u64,
    /// `millstream.scrub.interval.ms`: how often all rolled segments are read again in the background; 0: never.
    pub scrub_interval_ms: u64,
    /// `millstream.scrub.bytes.per.second`: most that this reads.
    pub scrub_bytes_per_second: u64,
    /// Size of the journal's files at most; the first ones of a start are smaller.
    pub journal_file_bytes_max: u64,
    /// `producer.id.expiration.ms`: a producer's state is forgotten after so long without an append.
    pub producer_id_expiration_ms: i64,
    /// How logs are compacted at the start; see [`crate::LogStore::set_cleaner_options`].
    pub cleaner: CleanerOptions,
}

impl StoreOptions {
    /// The defaults, with the real file system and clock.
    pub fn new(dir: impl Into<PathBuf>, flush: FlushMode) -> Self {
        Self {
            dir: dir.into(),
            flush,
            fs: Arc::new(crate::fs::RealFs),
            clock: Arc::new(crate::clock::SystemClock),
            node_id: 1,
            cluster_id: None,
            metadata_log: None,
            open_files_max: 4096,
            checkpoint_interval_ms: 60_000,
            checkpoint_journal_bytes: 256 << 20,
            retention_check_interval_ms: 300_000,
            scrub_interval_ms: 7 * 24 * 60 * 60 * 1000,
            scrub_bytes_per_second: 16 << 20,
            journal_file_bytes_max: 16 << 20,
            producer_id_expiration_ms: 24 * 60 * 60 * 1000,
            cleaner: CleanerOptions::default(),
        }
    }
}
