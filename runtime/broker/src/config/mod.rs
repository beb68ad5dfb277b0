//! The node's settings, with Kafka's names, defaults and meanings. `table.rs` is the table.

mod alter;
mod derived;
mod describe;
mod layers;
mod page;
mod setting;
mod table;

use millstream_cluster::configs::{EffectiveConfig, NodeName};
use thiserror::Error;

pub(crate) use alter::{Change, Refused, alter_node, alter_topic};
pub use describe::{DescribedSetting, SettingSynonym};
pub use layers::{ConfigSource, Values};
pub use page::settings_page;
pub use setting::{NodeSetting, UpdateMode, node_settings};
pub use table::BrokerConfig;

use layers::Given;
use setting::node_setting;
use table::OWN_SETTINGS;

/// A setting that does not exist, or a value that it does not take.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SettingError {
    #[error("there is no setting {name}")]
    Unknown { name: String },
    #[error("setting {name} does not take {value:?}: {expected}")]
    Invalid {
        name: String,
        value: String,
        expected: String,
    },
}

impl BrokerConfig {
    /// Sets one setting, by any of its names, as given to the node at its start.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let (setting, known) = find(name)?;
        let value = value.trim();
        check(setting, known, value)?;
        self.layers.start.insert(name.to_owned(), value.to_owned());
        self.settle(setting);
        Ok(())
    }

    /// These settings with what was set at run time: on all nodes, and on this one.
    pub fn with_dynamic(&self, default_broker: &Values, broker: &Values) -> BrokerConfig {
        let mut config = self.clone();
        config.layers.default_broker = default_broker.clone();
        config.layers.broker = broker.clone();
        for setting in node_settings() {
            config.settle(setting);
        }
        config
    }

    /// A topic's settings in effect on this node.
    pub fn effective<'a>(&'a self, topic: &'a Values) -> EffectiveConfig<'a> {
        EffectiveConfig {
            topic,
            node: &self.topic_defaults,
        }
    }

    /// Brings the strongest value that was given into effect.
    fn settle(&mut self, setting: &'static NodeSetting) {
        let in_effect = self.layers.of(setting).find_map(|given: Given<'_>| {
            // Checked when it was set; a value that a newer program stored, or an older one, may still be none here.
            let value = setting.canonical(given.name, given.value);
            value
                .inspect_err(|expected| {
                    tracing::warn!(setting = given.name.name, value = given.value, %expected, "a stored setting is left out");
                })
                .ok()
        });
        match setting.topic {
            Some(topic) => match in_effect {
                Some(value) => drop(self.topic_defaults.insert(topic.name.to_owned(), value)),
                None => drop(self.topic_defaults.remove(topic.name)),
            },
            None => {
                let value = in_effect.unwrap_or_else(|| setting.default.clone());
                assert!(
                    self.assign(setting.name(), &value),
                    "{} does not take {value:?}, which its rule lets pass",
                    setting.name()
                );
            }
        }
    }
}

fn find(name: &str) -> Result<(&'static NodeSetting, NodeName), SettingError> {
    node_setting(name).ok_or_else(|| SettingError::Unknown {
        name: name.to_owned(),
    })
}

fn check(setting: &NodeSetting, name: NodeName, value: &str) -> Result<(), SettingError> {
    let invalid = |expected| SettingError::Invalid {
        name: name.name.to_owned(),
        value: value.to_owned(),
        expected,
    };
    setting.canonical(name, value).map(drop).map_err(invalid)
}

#[cfg(test)]
mod tests;
