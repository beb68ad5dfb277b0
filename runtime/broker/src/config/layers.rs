//! Where a node's settings come from: its start, and the cluster's metadata at run time.

use std::collections::BTreeMap;

use super::setting::NodeSetting;

/// Where a value comes from, with Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic = 1,
    /// Set on this node at run time.
    Broker = 2,
    /// Set on all nodes at run time.
    DefaultBroker = 3,
    /// Given to the node at its start.
    Static = 4,
    /// Nobody has set it.
    Default = 5,
}

/// Values by name, as they were given.
pub type Values = BTreeMap<String, String>;

/// All that was given, by where it came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers {
    pub broker: Values,
    pub default_broker: Values,
    pub start: Values,
}

/// One value that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given<'a> {
    pub name: millstream_cluster::configs::NodeName,
    pub value: &'a str,
    pub source: ConfigSource,
}

impl Layers {
    /// What was given for a setting, the strongest first.
    pub fn of<'a>(&'a self, setting: &'static NodeSetting) -> impl Iterator<Item = Given<'a>> {
        let layers = [
            (&self.broker, ConfigSource::Broker),
            (&self.default_broker, ConfigSource::DefaultBroker),
            (&self.start, ConfigSource::Static),
        ];
        layers.into_iter().flat_map(move |(values, source)| {
            setting.names.iter().filter_map(move |name| {
                let value = values.get(name.name)?;
                Some(Given {
                    name: *name,
                    value,
                    source,
                })
            })
        })
    }
}
