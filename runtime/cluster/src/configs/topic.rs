//! The table of topic settings.

use super::{ConfigError, ConfigType, NodeName, Rule};

/// One topic setting.
#[derive(Debug)]
pub struct TopicSetting {
    /// Kafka's name.
    pub name: &'static str,
    /// The node's settings that give the default when a topic does not set its own, the strongest first. The first
    /// one is Kafka's own name for it.
    pub node_names: &'static [NodeName],
    pub kind: ConfigType,
    pub default: &'static str,
    pub rule: Rule,
    pub doc: &'static str,
    /// How somebody sees that the setting works.
    pub observed: &'static str,
}

const LONG_MAX: &str = "9223372036854775807";
const WEEK_MS: &str = "604800000";
const DAY_MS: &str = "86400000";

/// Every topic setting, in order of name.
pub static TOPIC_SETTINGS: [TopicSetting; 21] = [
    TopicSetting {
        name: "cleanup.policy",
        node_names: &[NodeName::new("log.cleanup.policy")],
        kind: ConfigType::List,
        default: "delete",
        rule: Rule::ListOf {
            words: &["compact", "delete"],
            spellings: &[("delete_and_compact", "compact,delete")],
        },
        doc: "What happens to old records: delete by age and size, compact by key, or both (also spelled delete_and_compact).",
        observed: "With compact, a record without a key is refused with INVALID_RECORD.",
    },
    TopicSetting {
        name: "compression.type",
        node_names: &[NodeName::new("compression.type")],
        kind: ConfigType::String,
        default: "producer",
        rule: Rule::OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        doc: "The codec in which batches are stored; 'producer' keeps the producer's.",
        observed: "A fetched batch has this codec.",
    },
    TopicSetting {
        name: "delete.retention.ms",
        node_names: &[
            NodeName::new("log.cleaner.delete.retention.ms"),
            NodeName::new("delete.retention.ms"),
        ],
        kind: ConfigType::Long,
        default: DAY_MS,
        rule: Rule::Whole(0, i64::MAX),
        doc: "How long a compacted topic keeps tombstones after compaction first met them.",
        observed: "A tombstone is gone from a read from the start after two passes that lie so far apart.",
    },
    TopicSetting {
        name: "file.delete.delay.ms",
        node_names: &[NodeName::new("log.segment.delete.delay.ms")],
        kind: ConfigType::Long,
        default: "60000",
        rule: Rule::Whole(0, i64::MAX),
        doc: "How long the files of a deleted segment stay, renamed, before they are removed.",
        observed: "Files that end in .deleted stay that long.",
    },
    TopicSetting {
        name: "index.interval.bytes",
        node_names: &[NodeName::new("log.index.interval.bytes")],
        kind: ConfigType::Int,
        default: "4096",
        rule: Rule::Whole(0, i32::MAX as i64),
        doc: "Bytes of log between two entries of the offset index.",
        observed: "The number of entries in a segment's .index.",
    },
    TopicSetting {
        name: "max.compaction.lag.ms",
        node_names: &[
            NodeName::new("log.cleaner.max.compaction.lag.ms"),
            NodeName::new("max.compaction.lag.ms"),
        ],
        kind: ConfigType::Long,
        default: LONG_MAX,
        rule: Rule::Whole(1, i64::MAX),
        doc: "How long a record may stay uncompacted, however small the dirty share.",
        observed: "A pass compacts the log although its dirty ratio is low.",
    },
    TopicSetting {
        name: "max.message.bytes",
        node_names: &[NodeName::new("message.max.bytes")],
        kind: ConfigType::Int,
        default: "1048588",
        rule: Rule::Whole(0, i32::MAX as i64),
        doc: "Largest record batch that is taken.",
        observed: "A larger batch is refused with MESSAGE_TOO_LARGE.",
    },
    TopicSetting {
        name: "message.timestamp.after.max.ms",
        node_names: &[NodeName::new("log.message.timestamp.after.max.ms")],
        kind: ConfigType::Long,
        default: "3600000",
        rule: Rule::Whole(0, i64::MAX),
        doc: "How far a record's timestamp may lie in the future.",
        observed: "A record beyond it is refused with INVALID_TIMESTAMP.",
    },
    TopicSetting {
        name: "message.timestamp.before.max.ms",
        node_names: &[NodeName::new("log.message.timestamp.before.max.ms")],
        kind: ConfigType::Long,
        default: LONG_MAX,
        rule: Rule::Whole(0, i64::MAX),
        doc: "How far a record's timestamp may lie in the past.",
        observed: "A record beyond it is refused with INVALID_TIMESTAMP.",
    },
    TopicSetting {
        name: "message.timestamp.type",
        node_names: &[NodeName::new("log.message.timestamp.type")],
        kind: ConfigType::String,
        default: "CreateTime",
        rule: Rule::OneOf(&["CreateTime", "LogAppendTime"]),
        doc: "Whether a record keeps the producer's timestamp or gets the node's.",
        observed: "The timestamp type in a fetched batch.",
    },
    TopicSetting {
        name: "min.cleanable.dirty.ratio",
        node_names: &[
            NodeName::new("log.cleaner.min.cleanable.ratio"),
            NodeName::new("min.cleanable.dirty.ratio"),
        ],
        kind: ConfigType::Double,
        default: "0.5",
        rule: Rule::Real(0.0, 1.0),
        doc: "Share of uncompacted bytes at which a log is compacted.",
        observed: "A pass compacts a log above it and leaves one below it.",
    },
    TopicSetting {
        name: "min.compaction.lag.ms",
        node_names: &[
            NodeName::new("log.cleaner.min.compaction.lag.ms"),
            NodeName::new("min.compaction.lag.ms"),
        ],
        kind: ConfigType::Long,
        default: "0",
        rule: Rule::Whole(0, i64::MAX),
        doc: "How long a record stays uncompacted at least.",
        observed: "A pass leaves younger records alone.",
    },
    TopicSetting {
        name: "min.insync.replicas",
        node_names: &[NodeName::new("min.insync.replicas")],
        kind: ConfigType::Int,
        default: "1",
        rule: Rule::Whole(1, i32::MAX as i64),
        doc: "In-sync replicas that a write with acks=all needs.",
        observed: "With fewer, such a write is refused with NOT_ENOUGH_REPLICAS.",
    },
    TopicSetting {
        name: "preallocate",
        node_names: &[NodeName::new("log.preallocate")],
        kind: ConfigType::Boolean,
        default: "false",
        rule: Rule::Boolean,
        doc: "Whether a new segment's file gets its room on disk at once.",
        observed: "The size of a new segment's file.",
    },
    TopicSetting {
        name: "retention.bytes",
        node_names: &[NodeName::new("log.retention.bytes")],
        kind: ConfigType::Long,
        default: "-1",
        rule: Rule::Whole(-1, i64::MAX),
        doc: "Size of a partition above which old segments go; -1: none.",
        observed: "The log start offset after a check.",
    },
    TopicSetting {
        name: "retention.ms",
        node_names: &[
            NodeName::new("log.retention.ms"),
            NodeName::minutes("log.retention.minutes"),
            NodeName::hours("log.retention.hours"),
        ],
        kind: ConfigType::Long,
        default: WEEK_MS,
        rule: Rule::Whole(-1, i64::MAX),
        doc: "Age above which old segments go; -1: none.",
        observed: "The log start offset after a check.",
    },
    TopicSetting {
        name: "segment.bytes",
        node_names: &[NodeName::new("log.segment.bytes")],
        kind: ConfigType::Int,
        default: "1073741824",
        rule: Rule::Whole(1024, i32::MAX as i64),
        doc: "Size at which a new segment is begun.",
        observed: "The number of segments.",
    },
    TopicSetting {
        name: "segment.index.bytes",
        node_names: &[NodeName::new("log.index.size.max.bytes")],
        kind: ConfigType::Int,
        default: "10485760",
        rule: Rule::Whole(4, i32::MAX as i64),
        doc: "Largest size of a segment's index; a full one begins a new segment.",
        observed: "The number of segments.",
    },
    TopicSetting {
        name: "segment.jitter.ms",
        node_names: &[
            NodeName::new("log.roll.jitter.ms"),
            NodeName::hours("log.roll.jitter.hours"),
        ],
        kind: ConfigType::Long,
        default: "0",
        rule: Rule::Whole(0, i64::MAX),
        doc: "Most that is taken off segment.ms, at random, so that not all logs roll at once.",
        observed: "A segment is rolled before it is segment.ms old.",
    },
    TopicSetting {
        name: "segment.ms",
        node_names: &[
            NodeName::new("log.roll.ms"),
            NodeName::new("log.segment.ms"),
            NodeName::hours("log.roll.hours"),
        ],
        kind: ConfigType::Long,
        default: WEEK_MS,
        rule: Rule::Whole(1, i64::MAX),
        doc: "Age at which a new segment is begun.",
        observed: "The number of segments.",
    },
    TopicSetting {
        name: "unclean.leader.election.enable",
        node_names: &[NodeName::new("unclean.leader.election.enable")],
        kind: ConfigType::Boolean,
        default: "false",
        rule: Rule::OneOf(&["false"]),
        doc: "Replicas outside the ISR never become leader here, because that loses records: only 'false' is taken.",
        observed: "'true' is refused with INVALID_CONFIG.",
    },
];

/// The setting of that name.
pub fn topic_setting(name: &str) -> Option<&'static TopicSetting> {
    TOPIC_SETTINGS.iter().find(|setting| setting.name == name)
}

impl TopicSetting {
    /// Kafka's name of the node's setting that gives the default.
    pub fn node_name(&self) -> &'static str {
        self.node_names[0].name
    }

    /// Checks a value and returns it as it is to be stored (trimmed).
    pub fn check(&self, value: &str) -> Result<String, ConfigError> {
        let value = value.trim();
        self.rule
            .check(value)
            .map(|()| value.to_owned())
            .map_err(|expected| ConfigError::Invalid {
                name: self.name.to_owned(),
                value: value.to_owned(),
                expected,
            })
    }
}
