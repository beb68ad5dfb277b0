//! Compacted topics: what must not be sent to one, as far as that shows before anything runs.

use std::ops::Range;

use toml::Spanned;

use super::settings::BySetting;
use super::{TopicFacts, dead_letters, dead_letters_of};
use crate::manifest::{Manifest, Problem};

/// The setting that says whether a topic is compacted.
const CLEANUP_POLICY: &str = "cleanup.policy";

/// Reports compacted dead-letter topics, and sources without keys that feed a compacted topic. Without facts only what
/// the manifest says of its topics is known.
pub fn check(
    manifest: &Manifest,
    settings: &BySetting<'_>,
    facts: Option<&TopicFacts>,
    problems: &mut Vec<Problem>,
) {
    let topics = Topics { settings, facts };
    let of_stages = manifest.stages.iter().filter_map(dead_letters);
    let of_sources = manifest.sources.iter();
    let of_sources =
        of_sources.filter_map(|source| dead_letters_of(source.on_error, &source.dead_letters));
    for topic in of_stages.chain(of_sources) {
        problems.extend(topics.dead_letters(topic));
    }
    for source in manifest
        .sources
        .iter()
        .filter(|source| source.key.is_none())
    {
        let topic = source.topic.get_ref();
        let Some(policy) = topics.compacting_policy(topic) else {
            continue;
        };
        problems.push(
            Problem::new(format!(
                "the source `{}` gives its records no key, and the topic `{topic}` is compacted ({policy})",
                source.name.get_ref()
            ))
            .at(source.topic.span())
            .label("compaction would drop every record")
            .help("name a column as `key`, or feed a topic that is not compacted"),
        );
    }
}

struct Topics<'a> {
    settings: &'a BySetting<'a>,
    facts: Option<&'a TopicFacts>,
}

impl Topics<'_> {
    /// What a topic's cleanup policy is or will be, when it names `compact`, and where that comes from.
    fn compacting_policy(&self, topic: &str) -> Option<String> {
        let of_node = |facts: &TopicFacts| facts.defaults.get(CLEANUP_POLICY).cloned();
        let existing = self.facts.and_then(|facts| facts.existing.get(topic));
        let (policy, whose) = match existing {
            Some(info) => (info.settings.get(CLEANUP_POLICY).cloned(), "it exists with"),
            None => match self.declared(topic) {
                Some(declared) => (Some(declared.to_owned()), "it is declared with"),
                None => (self.facts.and_then(of_node), "by the node's default of"),
            },
        };
        let policy = policy.filter(|policy| names_compact(policy))?;
        Some(format!("{whose} {CLEANUP_POLICY} = {policy}"))
    }

    fn declared(&self, topic: &str) -> Option<&str> {
        let mut settings = self.settings.get(topic)?.iter();
        let setting = settings.find(|setting| setting.name.get_ref() == CLEANUP_POLICY)?;
        Some(setting.value.get_ref())
    }

    fn dead_letters(&self, topic: &Spanned<String>) -> Option<Problem> {
        let policy = self.compacting_policy(topic.get_ref())?;
        let at: Range<usize> = topic.span();
        let name = topic.get_ref();
        Some(
            Problem::new(format!(
                "the dead-letter topic `{name}` is compacted ({policy})"
            ))
            .at(at)
            .label("of refused records with the same key only the last would stay")
            .help("send dead letters to a topic that is not compacted"),
        )
    }
}

fn names_compact(policy: &str) -> bool {
    let mut words = policy.split(',').map(str::trim);
    words.any(|word| word.eq_ignore_ascii_case("compact"))
}
