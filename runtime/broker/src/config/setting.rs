//! One shape for all settings of a node: its own, and those that are topics' defaults.

use std::sync::LazyLock;

use millstream_cluster::configs::{ConfigType, NodeName, Rule, TOPIC_SETTINGS, TopicSetting, Unit};

use super::{BrokerConfig, OWN_SETTINGS};

/// When a setting of a node may change: Kafka's update modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// With the node's start only.
    ReadOnly,
    /// At run time, for one node.
    PerBroker,
    /// At run time, for one node or for all.
    ClusterWide,
}

/// One setting of the node.
#[derive(Debug)]
pub struct NodeSetting {
    /// Its names, the strongest first; the first one is Kafka's, or our own where Kafka has none.
    pub names: &'static [NodeName],
    pub kind: ConfigType,
    pub rule: Rule,
    pub mode: UpdateMode,
    pub default: String,
    pub doc: &'static str,
    /// How somebody sees that the setting works.
    pub observed: &'static str,
    /// The topic setting whose default this is.
    pub topic: Option<&'static TopicSetting>,
}

/// A row of the table of the node's own settings; the default stands in `BrokerConfig::default()`.
#[derive(Debug)]
pub(super) struct OwnSetting {
    pub names: &'static [NodeName],
    pub kind: ConfigType,
    pub rule: Rule,
    pub mode: UpdateMode,
    pub doc: &'static str,
    pub observed: &'static str,
}

/// Every setting of the node, in order of name.
pub fn node_settings() -> &'static [NodeSetting] {
    static ALL: LazyLock<Vec<NodeSetting>> = LazyLock::new(|| {
        let defaults = BrokerConfig::default();
        let own = OWN_SETTINGS.iter().map(|row| NodeSetting {
            names: row.names,
            kind: row.kind,
            rule: row.rule,
            mode: row.mode,
            default: defaults.own_text(row.names[0].name).unwrap_or_default(),
            doc: row.doc.trim_ascii(),
            observed: row.observed,
            topic: None,
        });
        let topics = TOPIC_SETTINGS.iter().map(|row| NodeSetting {
            names: row.node_names,
            kind: row.kind,
            rule: row.rule,
            mode: UpdateMode::ClusterWide,
            default: row.default.to_owned(),
            doc: row.doc,
            observed: row.observed,
            topic: Some(row),
        });
        let mut all: Vec<NodeSetting> = own.chain(topics).collect();
        all.sort_by_key(NodeSetting::name);
        all
    });
    &ALL
}

/// The setting that has this name, and the name with its unit.
pub(super) fn node_setting(name: &str) -> Option<(&'static NodeSetting, NodeName)> {
    node_settings().iter().find_map(|setting| {
        let known = setting.names.iter().find(|known| known.name == name)?;
        Some((setting, *known))
    })
}

/// The node's setting that gives a topic setting's default.
pub(super) fn setting_of_topic(topic: &TopicSetting) -> &'static NodeSetting {
    let (setting, _) = node_setting(topic.node_name()).expect("built from the same table");
    setting
}

impl NodeSetting {
    /// Kafka's name.
    pub fn name(&self) -> &'static str {
        self.names[0].name
    }

    /// When the setting may change under this name: Kafka changes no setting in minutes or hours at run time.
    pub fn mode_of(&self, name: NodeName) -> UpdateMode {
        match name.unit {
            Unit::Same => self.mode,
            Unit::Minutes | Unit::Hours => UpdateMode::ReadOnly,
        }
    }

    /// A trimmed value under one of the names, in the setting's own unit and canonical form.
    pub(super) fn canonical(&self, name: NodeName, value: &str) -> Result<String, String> {
        let converted = name
            .unit
            .convert(value)
            .ok_or_else(|| "it must be a whole number".to_owned())?;
        self.rule.check(&converted)?;
        Ok(self.rule.canonical(&converted).into_owned())
    }
}
