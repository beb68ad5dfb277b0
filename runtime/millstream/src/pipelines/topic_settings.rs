//! The node's table of topic settings, for manifests to be checked against.

use millstream_cluster::configs::{ConfigError, TOPIC_SETTINGS, check_topic_setting};
use millstream_pipeline::plan::TopicSettings;

/// The settings that topics of a node take.
pub struct NodeTopicSettings;

impl TopicSettings for NodeTopicSettings {
    fn names(&self) -> Vec<&str> {
        TOPIC_SETTINGS.iter().map(|setting| setting.name).collect()
    }

    fn check(&self, name: &str, value: &str) -> Result<(), String> {
        match check_topic_setting(name, value) {
            Ok(_) => Ok(()),
            Err(ConfigError::Invalid { expected, .. }) => Err(expected),
            Err(other) => Err(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_own_rules_are_asked() {
        let settings = NodeTopicSettings;
        assert!(settings.names().contains(&"retention.ms"));
        assert_eq!(settings.check("compression.type", "zstd"), Ok(()));
        let expected = settings.check("compression.type", "zip").unwrap_err();
        assert!(expected.contains("zstd"), "{expected}");
        assert!(settings.check("retentions.ms", "5").is_err());
    }
}
