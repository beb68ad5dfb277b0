//! Settings as DescribeConfigs shows them: the value in effect, where it comes from, and all that was given.

use millstream_cluster::configs::{ConfigType, TOPIC_SETTINGS, TopicSetting, Unit};

use super::{
    BrokerConfig, ConfigSource, UpdateMode, Values,
    layers::Given,
    setting::{NodeSetting, node_settings, setting_of_topic},
};

/// One setting of a topic or of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedSetting {
    pub name: &'static str,
    /// None for a name that counts in another unit and was not given.
    pub value: Option<String>,
    pub source: ConfigSource,
    /// Whether IncrementalAlterConfigs refuses it.
    pub read_only: bool,
    pub kind: ConfigType,
    pub doc: &'static str,
    /// All that was given under any name, as it was given, the strongest first; the default comes last.
    pub synonyms: Vec<SettingSynonym>,
}

/// A value under one of a setting's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingSynonym {
    pub name: &'static str,
    pub value: String,
    pub source: ConfigSource,
}

impl BrokerConfig {
    /// Every setting of the node under each of its names, in order of name.
    pub fn describe(&self) -> Vec<DescribedSetting> {
        let mut all: Vec<DescribedSetting> = node_settings()
            .iter()
            .flat_map(|setting| self.described(setting))
            .collect();
        all.sort_by_key(|setting| setting.name);
        all
    }

    /// What was set on all nodes at run time, in order of name.
    pub fn describe_default_broker(&self) -> Vec<DescribedSetting> {
        let mut all = self.describe();
        all.retain(|setting| self.layers.default_broker.contains_key(setting.name));
        for setting in &mut all {
            setting.value = self.layers.default_broker.get(setting.name).cloned();
            setting.source = ConfigSource::DefaultBroker;
            setting
                .synonyms
                .retain(|synonym| synonym.source == ConfigSource::DefaultBroker);
        }
        all
    }

    /// Every setting of a topic that has set these.
    pub fn describe_topic(&self, topic: &Values) -> Vec<DescribedSetting> {
        let described = |setting: &'static TopicSetting| {
            let own = topic.get(setting.name).map(|value| SettingSynonym {
                name: setting.name,
                value: value.clone(),
                source: ConfigSource::Topic,
            });
            let mut synonyms = self.synonyms(setting_of_topic(setting));
            synonyms.splice(0..0, own);
            DescribedSetting {
                name: setting.name,
                value: Some(self.effective(topic).text(setting.name).into_owned()),
                source: synonyms[0].source,
                read_only: false,
                kind: setting.kind,
                doc: setting.doc,
                synonyms,
            }
        };
        TOPIC_SETTINGS.iter().map(described).collect()
    }

    /// A setting's value in effect, in its own unit.
    pub(super) fn in_effect(&self, setting: &NodeSetting) -> String {
        match setting.topic {
            None => self.own_text(setting.name()).unwrap_or_default(),
            Some(topic) => {
                let given = self.topic_defaults.get(topic.name);
                given.cloned().unwrap_or_else(|| setting.default.clone())
            }
        }
    }

    fn synonyms(&self, setting: &'static NodeSetting) -> Vec<SettingSynonym> {
        let given = self
            .layers
            .of(setting)
            .map(|given: Given<'_>| SettingSynonym {
                name: given.name.name,
                value: given.value.to_owned(),
                source: given.source,
            });
        let default = SettingSynonym {
            name: setting.name(),
            value: setting.default.clone(),
            source: ConfigSource::Default,
        };
        given.chain([default]).collect()
    }

    fn described(&self, setting: &'static NodeSetting) -> impl Iterator<Item = DescribedSetting> {
        let synonyms = self.synonyms(setting);
        let text = self.in_effect(setting);
        setting.names.iter().map(move |name| {
            let given = synonyms.iter().find(|synonym| {
                synonym.name == name.name && synonym.source != ConfigSource::Default
            });
            let (value, source) = match name.unit {
                Unit::Same => (Some(text.clone()), synonyms[0].source),
                Unit::Minutes | Unit::Hours => (
                    given.map(|given| given.value.clone()),
                    given.map_or(ConfigSource::Default, |given| given.source),
                ),
            };
            DescribedSetting {
                name: name.name,
                value,
                source,
                read_only: setting.mode_of(*name) == UpdateMode::ReadOnly,
                kind: setting.kind,
                doc: setting.doc,
                synonyms: synonyms.clone(),
            }
        })
    }
}
