//! A topic's settings in the form in which the broker and its logs use them.

use millstream_cluster::configs::EffectiveConfig;
use millstream_log::{CleanupPolicy, LogConfig, Writers};
use millstream_records::{Compression, TimestampType};

/// The settings of a topic in effect.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    /// `min.insync.replicas`
    pub min_insync_replicas: usize,
    /// The codec in which batches are stored; none keeps the producer's.
    pub compression: Option<Compression>,
    /// What the log itself must know.
    pub log: LogConfig,
}

impl TopicSettings {
    /// Reads the settings in effect. Values were checked when they were set; sizes beyond what a log can take are
    /// cut to it.
    pub fn of(config: EffectiveConfig<'_>) -> TopicSettings {
        let size = |name: &str| u32::try_from(config.whole(name)).unwrap_or(u32::MAX);
        let compression = match &*config.text("compression.type") {
            "gzip" => Some(Compression::Gzip),
            "snappy" => Some(Compression::Snappy),
            "lz4" => Some(Compression::Lz4),
            "zstd" => Some(Compression::Zstd),
            "uncompressed" => Some(Compression::None),
            _ => None,
        };
        let timestamp_type = match &*config.text("message.timestamp.type") {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        };
        TopicSettings {
            min_insync_replicas: usize::try_from(config.whole("min.insync.replicas")).unwrap_or(1),
            compression,
            log: LogConfig {
                // The topic's name says that, not its settings.
                writers: Writers::Anyone,
                segment_bytes: size("segment.bytes").min(LogConfig::SEGMENT_BYTES_MAX),
                segment_ms: config.whole("segment.ms"),
                segment_index_bytes: size("segment.index.bytes"),
                index_interval_bytes: size("index.interval.bytes"),
                max_message_bytes: size("max.message.bytes"),
                timestamp_type,
                timestamp_before_max_ms: config.whole("message.timestamp.before.max.ms"),
                timestamp_after_max_ms: config.whole("message.timestamp.after.max.ms"),
                compression_type: compression,
                cleanup: CleanupPolicy {
                    delete: config.lists("cleanup.policy", "delete"),
                    compact: config.lists("cleanup.policy", "compact"),
                },
                retention_ms: config.whole("retention.ms"),
                retention_bytes: config.whole("retention.bytes"),
                file_delete_delay_ms: config.whole("file.delete.delay.ms"),
                segment_jitter_ms: config.whole("segment.jitter.ms"),
                preallocate: config.flag("preallocate"),
                min_cleanable_dirty_ratio: config.real("min.cleanable.dirty.ratio"),
                min_compaction_lag_ms: config.whole("min.compaction.lag.ms"),
                max_compaction_lag_ms: config.whole("max.compaction.lag.ms"),
                delete_retention_ms: config.whole("delete.retention.ms"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn settings_reach_the_log_and_defaults_fill_the_rest() {
        let topic: BTreeMap<String, String> = [
            ("cleanup.policy", "compact"),
            ("compression.type", "zstd"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.insync.replicas", "2"),
            ("segment.bytes", "4096"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let node = BTreeMap::new();
        let settings = TopicSettings::of(EffectiveConfig {
            topic: &topic,
            node: &node,
        });
        assert!(settings.log.cleanup.compact);
        assert!(!settings.log.cleanup.delete);
        assert_eq!(settings.compression, Some(Compression::Zstd));
        assert_eq!(settings.min_insync_replicas, 2);
        assert_eq!(settings.log.segment_bytes, 4096);
        assert_eq!(settings.log.timestamp_type, TimestampType::LogAppendTime);

        let defaults = TopicSettings::of(EffectiveConfig {
            topic: &node,
            node: &node,
        });
        assert_eq!(defaults.log, LogConfig::default());
    }
}
