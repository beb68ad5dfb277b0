//! Topics whose records have the times of a file, not of the moment: a source with `timestamp` gives them, and stages
//! hand them on. By Kafka's `retention.ms` such records may be too old on the day on which they are produced, so these
//! topics are created without that limit, unless the manifest sets one.

use std::collections::BTreeMap;

use super::TopicFacts;
use super::settings::BySetting;
use super::{topics_fed, topics_written};
use crate::manifest::{Manifest, SourceSection};

/// The setting that counts a record's age from its timestamp.
pub const RETENTION_MS: &str = "retention.ms";
/// Its value for a topic whose records no age removes.
pub const UNLIMITED: &str = "-1";

/// Topics fed by a source with `timestamp`, directly or through stages, dead letters included; with one such source.
#[derive(Debug, Default)]
pub struct EventTime<'m>(BTreeMap<&'m str, &'m SourceSection>);

impl<'m> EventTime<'m> {
    pub fn of(manifest: &'m Manifest) -> Self {
        let mut fed = BTreeMap::new();
        let sources = manifest.sources.iter();
        for source in sources.filter(|source| source.timestamp.is_some()) {
            for topic in topics_fed(source) {
                fed.entry(topic.get_ref().as_str()).or_insert(source);
            }
        }
        // Every round adds a topic, so this ends, whatever the order of the stages and even in a cycle of them.
        loop {
            let before = fed.len();
            for stage in &manifest.stages {
                let mut inputs = stage.inputs.iter();
                let Some(source) = inputs.find_map(|input| fed.get(input.topic.get_ref().as_str()))
                else {
                    continue;
                };
                let source = *source;
                for topic in topics_written(stage) {
                    fed.entry(topic.get_ref().as_str()).or_insert(source);
                }
            }
            if fed.len() == before {
                return EventTime(fed);
            }
        }
    }

    /// Whether the topic is created without a limit of age: it is fed with the times of a file, and the manifest sets
    /// no `retention.ms` of its own.
    pub fn lifts_retention(&self, topic: &str, settings: &BySetting<'_>) -> bool {
        self.0.contains_key(topic) && !sets_retention(topic, settings)
    }

    /// What the owner should know of the topics that are created without a limit of age; `None` when there are none.
    pub fn notice<'t>(&self, topics: impl IntoIterator<Item = &'t str>) -> Option<String> {
        let topics: Vec<&str> = topics.into_iter().collect();
        let source = self.0.get(topics.first()?)?;
        Some(format!(
            "created with {RETENTION_MS}={UNLIMITED}, since their records have the times of a file (source {}): {}",
            source.name.get_ref(),
            topics.join(", ")
        ))
    }

    /// The topics that would be created without a limit of age, if none existed.
    pub fn without_limit(&self, settings: &BySetting<'_>) -> Vec<&'m str> {
        let topics = self.0.keys().copied();
        topics
            .filter(|topic| self.lifts_retention(topic, settings))
            .collect()
    }

    /// What the owner should know of topics that exist and lose records by their age, though those have the times of a
    /// file; `None` when there are none.
    pub fn too_short(&self, settings: &BySetting<'_>, facts: &TopicFacts) -> Option<String> {
        let limited = |topic: &&str| {
            let info = facts.existing.get(*topic)?;
            let limit = info.settings.get(RETENTION_MS)?;
            let is_limited = limit.parse::<i64>().is_ok_and(|limit| limit >= 0);
            let policy = info.settings.get("cleanup.policy");
            let deletes = policy.is_none_or(|policy| policy.contains("delete"));
            (is_limited && deletes && !sets_retention(topic, settings))
                .then(|| format!("{topic} ({limit})"))
        };
        let topics: Vec<String> = self.0.keys().filter_map(limited).collect();
        (!topics.is_empty()).then(|| {
            format!(
                "topics exist with a {RETENTION_MS} that removes records by the times that a file gives them: {}; \
                 `millstream topic alter TOPIC --set {RETENTION_MS}={UNLIMITED}` keeps them",
                topics.join(", ")
            )
        })
    }
}

fn sets_retention(topic: &str, settings: &BySetting<'_>) -> bool {
    let settings = settings.get(topic).into_iter().flatten();
    let mut names = settings.map(|setting| setting.name.get_ref());
    names.any(|name| name == RETENTION_MS)
}
