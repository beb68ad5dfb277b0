//! Topic settings: Kafka's names, types, defaults, what values they take, and which settings of a node give their
//! defaults. `topic.rs` is the table.

mod effective;
mod node_name;
mod rule;
mod topic;

use thiserror::Error;

pub use effective::{EffectiveConfig, check_together};
pub use node_name::{NodeName, Unit};
pub use rule::{ConfigType, Rule};
pub use topic::{TOPIC_SETTINGS, TopicSetting, topic_setting};

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

/// Checks a value and returns it as it is to be stored (trimmed).
pub fn check_topic_setting(name: &str, value: &str) -> Result<String, ConfigError> {
    let found = topic_setting(name).ok_or_else(|| ConfigError::Unknown {
        name: name.to_owned(),
    })?;
    found.check(value)
}

#[cfg(test)]
mod tests;
