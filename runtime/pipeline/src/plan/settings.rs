//! Topic settings in a manifest: whether the engine knows them, and whether a topic that exists has
//! them.

use std::collections::BTreeMap;

use super::TopicFacts;
use crate::manifest::{Manifest, Problem, Setting, nearest};

/// The topic settings that an engine takes.
pub trait TopicSettings {
    /// Every name, for what a misspelt one may have meant.
    fn names(&self) -> Vec<&str>;

    /// Whether a setting of that name takes the value; the error says what would be right.
    fn check(&self, name: &str, value: &str) -> Result<(), String>;
}

/// Settings by topic.
pub type BySetting<'m> = BTreeMap<&'m str, Vec<&'m Setting>>;

/// The settings of the manifest that no topic of the engine takes.
pub fn check(manifest: &Manifest, known: &dyn TopicSettings) -> Vec<Problem> {
    let names = known.names();
    let check = |(topic, setting): (&str, &Setting)| {
        let (name, value) = (setting.name.get_ref(), setting.value.get_ref());
        if !names.contains(&name.as_str()) {
            let problem = Problem::new(format!("there is no topic setting `{name}`"))
                .at(setting.name.span())
                .label("not known");
            return Some(match nearest(name, names.iter().copied()) {
                Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                None => problem.help("topics have the settings of Kafka, by Kafka's names"),
            });
        }
        let expected = known.check(name, value).err()?;
        Some(
            Problem::new(format!(
                "`{name}` of the topic `{topic}` does not take `{value}`"
            ))
            .at(setting.value.span())
            .label(expected),
        )
    };
    all(manifest).filter_map(check).collect()
}

/// Tells where topics that exist have other settings than the manifest says.
pub fn compare(settings: &BySetting<'_>, facts: &TopicFacts, problems: &mut Vec<Problem>) {
    for (topic, settings) in settings {
        let Some(info) = facts.existing.get(*topic) else {
            continue;
        };
        for setting in settings {
            let name = setting.name.get_ref();
            let Some(found) = info.settings.get(name) else {
                continue;
            };
            if same(found, setting.value.get_ref()) {
                continue;
            }
            problems.push(
                Problem::new(format!(
                    "the topic `{topic}` exists with `{name}` = `{found}`"
                ))
                .at(setting.value.span())
                .label(format!("must be `{found}`"))
                .help("say the same here, leave it out, or change the topic first"),
            );
        }
    }
}

/// Do two texts mean the same value? Numbers and truth values may be written in several ways, and
/// the words of a list stand in any order.
fn same(one: &str, other: &str) -> bool {
    let words = |text: &str| {
        let words = text.split(',').map(|word| word.trim().to_ascii_lowercase());
        let mut words: Vec<String> = words.collect();
        words.sort();
        words
    };
    let numbers = || {
        Some((
            one.trim().parse::<f64>().ok()?,
            other.trim().parse::<f64>().ok()?,
        ))
    };
    let whole = |text: &str| text.trim().parse::<i64>().ok();
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one == other,
        _ => words(one) == words(other) || numbers().is_some_and(|(one, other)| one == other),
    }
}

/// Every setting of the manifest with its topic.
fn all(manifest: &Manifest) -> impl Iterator<Item = (&str, &Setting)> {
    let declared = manifest.topics.iter().flat_map(|topic| {
        let name = topic.name.get_ref().as_str();
        topic.config.iter().map(move |setting| (name, setting))
    });
    let outputs = manifest.stages.iter().flat_map(|stage| &stage.outputs);
    declared.chain(outputs.flat_map(|output| {
        let name = output.topic.get_ref().as_str();
        output.config.iter().map(move |setting| (name, setting))
    }))
}

/// Settings by topic, from `[topic.NAME]` and from outputs; they must not contradict each other.
pub fn by_topic<'m>(manifest: &'m Manifest, problems: &mut Vec<Problem>) -> BySetting<'m> {
    let mut by_topic: BySetting<'_> = BTreeMap::new();
    for (topic, setting) in all(manifest) {
        let known = by_topic.entry(topic).or_default();
        match known
            .iter()
            .find(|k| k.name.get_ref() == setting.name.get_ref())
        {
            None => known.push(setting),
            Some(other) if other.value.get_ref() == setting.value.get_ref() => {}
            Some(other) => problems.push(
                Problem::new(format!(
                    "`{}` of the topic `{topic}` has two values",
                    setting.name.get_ref()
                ))
                .at(setting.value.span())
                .label(format!("elsewhere it is `{}`", other.value.get_ref())),
            ),
        }
    }
    by_topic
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn values_are_compared_by_what_they_mean() {
        for (one, other) in [
            ("5", "05"),
            ("0.5", "0.50"),
            ("1", "1.0"),
            ("True", "true"),
            ("compact,delete", "delete, compact"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        // The nearest numbers of 64 bits that a float cannot tell apart.
        for (one, other) in [
            ("9223372036854775807", "9223372036854775806"),
            ("compact", "compact,delete"),
            ("zstd", "lz4"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }
}
