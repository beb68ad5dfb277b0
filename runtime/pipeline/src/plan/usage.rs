//! Whether the parts of a manifest have to do with each other: topics that are declared and not used, read and not
//! written, fed and not read. Most of these are slips of the keyboard.

use std::collections::BTreeSet;

use super::{TopicFacts, topics_fed, topics_written};
use crate::manifest::{Manifest, Problem, nearest};

/// Declared topics that nothing uses.
pub fn mistakes(manifest: &Manifest) -> Vec<Problem> {
    let topics = Topics::of(manifest);
    let used: BTreeSet<&str> = topics.written.union(&topics.read).copied().collect();
    let unused = manifest.topics.iter().map(|topic| &topic.name);
    let unused = unused.filter(|name| !used.contains(name.get_ref().as_str()));
    let problem = |name: &toml::Spanned<String>| {
        let problem = Problem::new(format!(
            "no source and no stage of this manifest uses the topic `{}`",
            name.get_ref()
        ))
        .at(name.span())
        .label("not used");
        match nearest(name.get_ref(), used.iter().copied()) {
            Some(meant) => problem.help(format!("did you mean `{meant}`?")),
            None => problem.help("leave it out, or name it where it is read or written"),
        }
    };
    unused.map(problem).collect()
}

/// Inputs that only clients can feed, and sources that feed no stage. With facts it is said which of the inputs do not
/// exist.
pub fn warnings(manifest: &Manifest, facts: Option<&TopicFacts>) -> Vec<Problem> {
    let topics = Topics::of(manifest);
    let inputs = manifest.stages.iter().flat_map(|stage| {
        let inputs = stage.inputs.iter().map(|input| &input.topic);
        inputs.map(move |topic| (stage, topic))
    });
    let unfed = inputs.filter_map(|(stage, topic)| {
        let name = topic.get_ref().as_str();
        if topics.written.contains(name) || topics.declared.contains(name) || is_internal(name) {
            return None;
        }
        let exists = facts.is_none_or(|facts| facts.existing.contains_key(name));
        let declare = format!("when clients feed it, declare it: [topic.{}]", quoted(name));
        // A stage does not read what it writes itself.
        let is_own = |topic: &&str| topics_written(stage).any(|own| own.get_ref() == topic);
        let known = topics.written.union(&topics.declared).copied();
        let known = known.filter(|topic| !is_own(topic));
        Some(
            Problem::warning(format!(
                "nothing in this manifest writes the topic `{name}`, which stage `{}` reads",
                stage.name.get_ref()
            ))
            .at(topic.span())
            .label(match exists {
                true => "only clients can feed it",
                false => "it does not exist, and is created empty",
            })
            .help(match nearest(name, known) {
                Some(meant) => format!("did you mean `{meant}`? Else, {declare}"),
                None => declare,
            }),
        )
    });
    let sources = manifest.sources.iter();
    let sources = sources.filter(|_| !manifest.stages.is_empty());
    let unread = sources.filter_map(|source| {
        let name = source.topic.get_ref().as_str();
        if topics.read.contains(name) {
            return None;
        }
        let problem = Problem::warning(format!(
            "no stage reads the topic `{name}`, which source `{}` feeds",
            source.name.get_ref()
        ))
        .at(source.topic.span())
        .label("not read");
        let read = topics.read.iter().copied();
        Some(match nearest(name, read) {
            Some(meant) => problem.help(format!("did you mean `{meant}`?")),
            None => problem,
        })
    });
    unfed.chain(unread).collect()
}

/// The topics of a manifest by what is said of them.
struct Topics<'m> {
    declared: BTreeSet<&'m str>,
    /// By sources and stages, dead letters included.
    written: BTreeSet<&'m str>,
    read: BTreeSet<&'m str>,
}

impl<'m> Topics<'m> {
    fn of(manifest: &'m Manifest) -> Self {
        let (stages, sources) = (manifest.stages.iter(), manifest.sources.iter());
        let declared = manifest.topics.iter().map(|topic| &topic.name);
        let by_stages = stages.clone().flat_map(topics_written);
        let by_sources = sources.flat_map(topics_fed);
        let inputs = stages.flat_map(|stage| &stage.inputs);
        let name = |name: &'m toml::Spanned<String>| name.get_ref().as_str();
        Topics {
            declared: declared.map(name).collect(),
            written: by_stages.chain(by_sources).map(name).collect(),
            read: inputs.map(|input| name(&input.topic)).collect(),
        }
    }
}

/// The node itself writes such a topic.
fn is_internal(name: &str) -> bool {
    name.starts_with("__")
}

/// A topic's name as a TOML key.
fn quoted(name: &str) -> String {
    match name.contains('.') {
        true => format!("\"{name}\""),
        false => name.to_owned(),
    }
}
