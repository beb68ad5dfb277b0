//! The table of topic settings: Kafka's names, types, defaults and what values they take.

use std::collections::BTreeMap;

use thiserror::Error;

/// Kafka's types of settings, with the numbers that DescribeConfigs sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

/// Which values a setting takes, beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Any text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number in this closed range.
    Whole(i64, i64),
    /// A number in this closed range.
    Real(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A comma-separated, non-empty list of these words.
    ListOf(&'static [&'static str]),
}

/// One topic setting.
#[derive(Debug)]
pub struct TopicSetting {
    /// Kafka's name.
    pub name: &'static str,
    /// The node's setting that gives the default when a topic does not set its own.
    pub broker_name: &'static str,
    pub kind: ConfigType,
    pub default: &'static str,
    pub rule: Rule,
    pub doc: &'static str,
}

/// A setting that does not exist, or a value that it does not take.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("there is no topic setting {name}")]
    Unknown { name: String },
    #[error("setting {name} does not take {value:?}: {expected}")]
    Invalid {
        name: String,
        value: String,
        expected: String,
    },
}

const LONG_MAX: &str = "9223372036854775807";
const WEEK_MS: &str = "604800000";
const DAY_MS: &str = "86400000";

const fn setting(
    name: &'static str,
    broker_name: &'static str,
    kind: ConfigType,
    default: &'static str,
    rule: Rule,
    doc: &'static str,
) -> TopicSetting {
    TopicSetting {
        name,
        broker_name,
        kind,
        default,
        rule,
        doc,
    }
}

const fn long(
    name: &'static str,
    broker: &'static str,
    default: &'static str,
    min: i64,
    doc: &'static str,
) -> TopicSetting {
    setting(
        name,
        broker,
        ConfigType::Long,
        default,
        Rule::Whole(min, i64::MAX),
        doc,
    )
}

const fn int(
    name: &'static str,
    broker: &'static str,
    default: &'static str,
    min: i64,
    doc: &'static str,
) -> TopicSetting {
    setting(
        name,
        broker,
        ConfigType::Int,
        default,
        Rule::Whole(min, i32::MAX as i64),
        doc,
    )
}

const fn boolean(
    name: &'static str,
    broker: &'static str,
    default: &'static str,
    doc: &'static str,
) -> TopicSetting {
    setting(
        name,
        broker,
        ConfigType::Boolean,
        default,
        Rule::Boolean,
        doc,
    )
}

/// Every topic setting.
pub static TOPIC_SETTINGS: [TopicSetting; 25] = [
    setting(
        "cleanup.policy",
        "log.cleanup.policy",
        ConfigType::List,
        "delete",
        Rule::ListOf(&["compact", "delete"]),
        "What happens to old records: delete by age and size, compact by key, or both.",
    ),
    setting(
        "compression.type",
        "compression.type",
        ConfigType::String,
        "producer",
        Rule::OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "The codec in which batches are stored; 'producer' keeps the producer's.",
    ),
    long(
        "delete.retention.ms",
        "log.cleaner.delete.retention.ms",
        DAY_MS,
        0,
        "How long a compacted topic keeps tombstones.",
    ),
    long(
        "file.delete.delay.ms",
        "log.segment.delete.delay.ms",
        "60000",
        0,
        "How long a deleted segment's file stays before it is removed.",
    ),
    long(
        "flush.messages",
        "log.flush.interval.messages",
        LONG_MAX,
        1,
        "Records after which Kafka forces a flush; a durable node flushes before every acknowledgement.",
    ),
    long(
        "flush.ms",
        "log.flush.interval.ms",
        LONG_MAX,
        0,
        "Time after which Kafka forces a flush; a durable node flushes before every acknowledgement.",
    ),
    int(
        "index.interval.bytes",
        "log.index.interval.bytes",
        "4096",
        0,
        "Bytes of log between two entries of the offset index.",
    ),
    long(
        "max.compaction.lag.ms",
        "log.cleaner.max.compaction.lag.ms",
        LONG_MAX,
        1,
        "How long a record may stay uncompacted.",
    ),
    int(
        "max.message.bytes",
        "message.max.bytes",
        "1048588",
        0,
        "Largest record batch that is taken.",
    ),
    long(
        "message.timestamp.after.max.ms",
        "log.message.timestamp.after.max.ms",
        "3600000",
        0,
        "How far a record's timestamp may lie in the future.",
    ),
    long(
        "message.timestamp.before.max.ms",
        "log.message.timestamp.before.max.ms",
        LONG_MAX,
        0,
        "How far a record's timestamp may lie in the past.",
    ),
    setting(
        "message.timestamp.type",
        "log.message.timestamp.type",
        ConfigType::String,
        "CreateTime",
        Rule::OneOf(&["CreateTime", "LogAppendTime"]),
        "Whether a record keeps the producer's timestamp or gets the node's.",
    ),
    setting(
        "min.cleanable.dirty.ratio",
        "log.cleaner.min.cleanable.ratio",
        ConfigType::Double,
        "0.5",
        Rule::Real(0.0, 1.0),
        "Share of uncompacted bytes at which a log is compacted.",
    ),
    long(
        "min.compaction.lag.ms",
        "log.cleaner.min.compaction.lag.ms",
        "0",
        0,
        "How long a record stays uncompacted at least.",
    ),
    int(
        "min.insync.replicas",
        "min.insync.replicas",
        "1",
        1,
        "In-sync replicas that a write with acks=all needs.",
    ),
    boolean(
        "preallocate",
        "log.preallocate",
        "false",
        "Whether a new segment's file is allocated at once.",
    ),
    long(
        "retention.bytes",
        "log.retention.bytes",
        "-1",
        -1,
        "Size of a partition above which old segments go; -1: none.",
    ),
    long(
        "retention.ms",
        "log.retention.ms",
        WEEK_MS,
        -1,
        "Age above which old segments go; -1: none.",
    ),
    int(
        "segment.bytes",
        "log.segment.bytes",
        "1073741824",
        1024,
        "Size at which a new segment is begun.",
    ),
    int(
        "segment.index.bytes",
        "log.index.size.max.bytes",
        "10485760",
        4,
        "Largest size of a segment's index.",
    ),
    long(
        "segment.jitter.ms",
        "log.roll.jitter.ms",
        "0",
        0,
        "Random share subtracted from segment.ms.",
    ),
    long(
        "segment.ms",
        "log.roll.ms",
        WEEK_MS,
        1,
        "Age at which a new segment is begun.",
    ),
    boolean(
        "unclean.leader.election.enable",
        "unclean.leader.election.enable",
        "false",
        "Whether a replica outside the ISR may become leader, losing records.",
    ),
    // Streams and older tools send these; they are kept and described.
    boolean(
        "remote.storage.enable",
        "remote.log.storage.system.enable",
        "false",
        "Tiered storage, which this node does not have: only 'false' has an effect.",
    ),
    boolean(
        "message.downconversion.enable",
        "log.message.downconversion.enable",
        "true",
        "Conversion to old record formats, which no longer exist: it has no effect.",
    ),
];

/// The setting of that name.
pub fn topic_setting(name: &str) -> Option<&'static TopicSetting> {
    TOPIC_SETTINGS.iter().find(|setting| setting.name == name)
}

/// The setting whose default the node's setting `broker_name` gives.
pub fn topic_setting_of_broker(broker_name: &str) -> Option<&'static TopicSetting> {
    TOPIC_SETTINGS
        .iter()
        .find(|setting| setting.broker_name == broker_name)
}

/// Checks a value and returns it as it is to be stored (trimmed).
pub fn check_topic_setting(name: &str, value: &str) -> Result<String, ConfigError> {
    let found = topic_setting(name).ok_or_else(|| ConfigError::Unknown {
        name: name.to_owned(),
    })?;
    found.check(value)
}

impl TopicSetting {
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

impl Rule {
    /// Checks a trimmed value; the error says what would be right.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let (good, expected) = match self {
            Rule::Text => (true, String::new()),
            Rule::Boolean => {
                let good =
                    value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false");
                (good, "it must be true or false".to_owned())
            }
            Rule::Whole(min, max) => {
                let good = value
                    .parse::<i64>()
                    .is_ok_and(|number| (*min..=*max).contains(&number));
                (
                    good,
                    format!("it must be a whole number from {min} to {max}"),
                )
            }
            Rule::Real(min, max) => {
                let good = value
                    .parse::<f64>()
                    .is_ok_and(|number| (*min..=*max).contains(&number));
                (good, format!("it must be a number from {min} to {max}"))
            }
            Rule::OneOf(words) => (
                words.contains(&value),
                format!("it must be one of {}", words.join(", ")),
            ),
            Rule::ListOf(words) => {
                let good = value.split(',').all(|word| words.contains(&word.trim()));
                (good, format!("it must be a list of {}", words.join(", ")))
            }
        };
        if good { Ok(()) } else { Err(expected) }
    }
}

/// A topic's settings in effect: its own value, else the node's, else the default.
#[derive(Clone, Copy, Debug)]
pub struct EffectiveConfig<'a> {
    /// Settings of the topic.
    pub topic: &'a BTreeMap<String, String>,
    /// Defaults that the node's own settings give, by topic setting name.
    pub node: &'a BTreeMap<String, String>,
}

impl<'a> EffectiveConfig<'a> {
    /// The text in effect.
    ///
    /// # Panics
    /// When the table has no setting of that name: the caller's mistake, not a client's.
    pub fn text(&self, name: &str) -> &'a str {
        let own = self
            .topic
            .get(name)
            .or_else(|| self.node.get(name))
            .map(String::as_str);
        own.unwrap_or_else(|| {
            topic_setting(name)
                .unwrap_or_else(|| panic!("no topic setting {name}"))
                .default
        })
    }

    /// The number in effect. A stored value that is not one (checked when it was stored) counts as the default.
    pub fn whole(&self, name: &str) -> i64 {
        let fallback = || {
            topic_setting(name)
                .and_then(|setting| setting.default.parse().ok())
                .unwrap_or(0)
        };
        self.text(name).parse().unwrap_or_else(|_| fallback())
    }

    /// The fraction in effect; as [`EffectiveConfig::whole`].
    pub fn real(&self, name: &str) -> f64 {
        let fallback = || {
            topic_setting(name)
                .and_then(|setting| setting.default.parse().ok())
                .unwrap_or(0.0)
        };
        self.text(name).parse().unwrap_or_else(|_| fallback())
    }

    /// Whether a flag is set.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    /// Whether a list holds a word.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        self.text(name).split(',').any(|entry| entry.trim() == word)
    }
}

#[cfg(test)]
mod tests;
