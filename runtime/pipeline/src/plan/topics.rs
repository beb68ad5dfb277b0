//! The topics of a plan: partition counts, settings, what has to be created.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::event_time::{EventTime, RETENTION_MS, UNLIMITED};
use super::settings::{self, BySetting};
use super::{TopicFacts, compaction, dead_letters_of, topics_fed, topics_written};
use crate::manifest::{IfNoOffset, Manifest, Problem, StageSection};
use crate::ports::TopicSpec;

/// What was found out about the topics.
pub struct Topics {
    pub to_create: Vec<TopicSpec>,
    pub notices: Vec<String>,
    /// Partitions by topic, of those whose count is known.
    partitions: BTreeMap<String, i32>,
}

impl Topics {
    /// Tasks of a stage: the partitions of its inputs, which were checked to be equal.
    pub fn tasks_of(&self, stage: &StageSection) -> i32 {
        let first = stage.inputs.first().map(|input| input.topic.get_ref());
        first
            .and_then(|topic| self.partitions.get(topic))
            .copied()
            .unwrap_or(0)
    }
}

/// Settles every topic's partition count: what exists, else what is declared, else the count of
/// the stage that writes it, else the node's default. `order` has the stages upstream first.
///
/// Without facts any topic may exist, so that only a declared count is sure; what would have to be
/// compared with another one is left to the plan over the node.
pub fn resolve(
    manifest: &Manifest,
    order: &[usize],
    facts: Option<&TopicFacts>,
    problems: &mut Vec<Problem>,
) -> Topics {
    let settings = settings::by_topic(manifest, problems);
    if let Some(facts) = facts {
        settings::compare(&settings, facts, problems);
    }
    compaction::check(manifest, &settings, facts, problems);
    let mut resolver = Resolver {
        facts,
        settings,
        event_time: EventTime::of(manifest),
        unlimited: Vec::new(),
        topics: Topics {
            to_create: Vec::new(),
            notices: Vec::new(),
            partitions: BTreeMap::new(),
        },
    };
    for topic in &manifest.topics {
        refuse_internal(&topic.name, "cannot be declared by a pipeline", problems);
        resolver.declared(topic.name.get_ref(), topic.partitions.as_ref(), problems);
    }
    for source in &manifest.sources {
        for topic in topics_fed(source) {
            refuse_internal(topic, UNWRITABLE, problems);
        }
        let topic = source.topic.get_ref();
        resolver.settle(topic, None);
        if let Some(dead) = dead_letters_of(source.on_error, &source.dead_letters) {
            let count = resolver.topics.partitions.get(topic).copied();
            resolver.settle(dead.get_ref(), count);
        }
    }
    // Topics of a count taken from the stage that writes them, for comparison with a second one.
    let mut taken: BTreeMap<&str, (&str, i32)> = BTreeMap::new();
    for &index in order {
        let stage = &manifest.stages[index];
        let count = resolver.inputs(stage, problems);
        check_start(stage, count, problems);
        for topic in topics_written(stage) {
            refuse_internal(topic, UNWRITABLE, problems);
            let name = topic.get_ref().as_str();
            let settled = resolver.settle(name, count);
            let Some(count) = count else { continue };
            if settled {
                taken.insert(name, (stage.name.get_ref(), count));
            } else if let Some((other, theirs)) = taken.get(name)
                && *theirs != count
            {
                problems.push(
                    Problem::new(format!(
                        "the stages `{other}` ({theirs} partitions) and `{}` ({count}) both write `{name}`",
                        stage.name.get_ref()
                    ))
                    .at(topic.span())
                    .label("how many partitions should it have?")
                    .help(format!("say so: [topic.\"{name}\"] with partitions = {theirs}")),
                );
            }
        }
    }
    resolver.finish()
}

struct Resolver<'m> {
    facts: Option<&'m TopicFacts>,
    settings: BySetting<'m>,
    event_time: EventTime<'m>,
    /// Topics to create without a limit of age.
    unlimited: Vec<String>,
    topics: Topics,
}

impl Resolver<'_> {
    fn declared(&mut self, name: &str, count: Option<&Spanned<i32>>, problems: &mut Vec<Problem>) {
        let existing = self.facts.and_then(|facts| facts.existing.get(name));
        if let (Some(info), Some(declared)) = (existing, count)
            && info.partitions != *declared.get_ref()
        {
            problems.push(
                Problem::new(format!(
                    "the topic `{name}` exists with {} partitions",
                    info.partitions
                ))
                .at(declared.span())
                .label(format!("must be {}", info.partitions)),
            );
        }
        if let (None, Some(declared)) = (self.facts, count) {
            let partitions = &mut self.topics.partitions;
            partitions.insert(name.to_owned(), *declared.get_ref());
        }
        // A declared topic without a count may still take its writer's.
        if count.is_some() || existing.is_some() {
            self.settle(name, count.map(|count| *count.get_ref()));
        }
    }

    /// Fixes a topic's count unless it is fixed; true when this call did.
    fn settle(&mut self, name: &str, count: Option<i32>) -> bool {
        if self.topics.partitions.contains_key(name) {
            return false;
        }
        let partitions = &mut self.topics.partitions;
        let Some(facts) = self.facts else {
            return false;
        };
        if let Some(info) = facts.existing.get(name) {
            partitions.insert(name.to_owned(), info.partitions);
            return false;
        }
        let count = count.unwrap_or(facts.default_partitions);
        partitions.insert(name.to_owned(), count);
        let config = self.config(name);
        self.topics.to_create.push(TopicSpec {
            name: name.to_owned(),
            partitions: Some(count),
            config,
        });
        true
    }

    /// What a topic is created with: what the manifest says, and what it needs not say.
    fn config(&mut self, name: &str) -> Vec<(String, String)> {
        let settings = self.settings.get(name).into_iter().flatten();
        let text = |text: &Spanned<String>| text.get_ref().clone();
        let mut config: Vec<_> = settings
            .map(|setting| (text(&setting.name), text(&setting.value)))
            .collect();
        if self.event_time.lifts_retention(name, &self.settings) {
            config.push((RETENTION_MS.to_owned(), UNLIMITED.to_owned()));
            self.unlimited.push(name.to_owned());
        }
        config
    }

    fn finish(mut self) -> Topics {
        let unlimited = self.unlimited.iter().map(String::as_str);
        let created = self.event_time.notice(unlimited);
        let existing = self
            .facts
            .and_then(|facts| self.event_time.too_short(&self.settings, facts));
        self.topics
            .notices
            .extend(created.into_iter().chain(existing));
        self.topics
    }

    /// Whether the node is known to have no such topic.
    fn is_missing(&self, name: &str) -> bool {
        self.facts
            .is_some_and(|facts| !facts.existing.contains_key(name))
    }

    /// The partitions of a stage's inputs, which must be equal; `None` when no count is known.
    fn inputs(&mut self, stage: &StageSection, problems: &mut Vec<Problem>) -> Option<i32> {
        let mut first: Option<(&str, i32)> = None;
        for input in &stage.inputs {
            let name = input.topic.get_ref().as_str();
            if self.is_missing(name) {
                // It may be read, but is the system's to make.
                refuse_internal(&input.topic, "does not exist here", problems);
            }
            self.settle(name, None);
            let Some(&count) = self.topics.partitions.get(name) else {
                continue;
            };
            match first {
                None => first = Some((name, count)),
                Some((other, theirs)) if theirs != count => problems.push(
                    Problem::new(format!(
                        "the inputs of stage `{}` have different partition counts",
                        stage.name.get_ref()
                    ))
                    .at(input.topic.span())
                    .label(format!(
                        "`{name}` has {count} partitions, `{other}` has {theirs}"
                    ))
                    .help("records that belong together must have the same partition in each"),
                ),
                Some(_) => {}
            }
        }
        first
            .map(|(_, count)| count)
            .or(self.facts.map(|facts| facts.default_partitions))
    }
}

/// What the names of the system's topics begin with.
const SYSTEM_PREFIX: &str = "__";
const UNWRITABLE: &str = "cannot be written by a pipeline";

fn refuse_internal(topic: &Spanned<String>, label: &str, problems: &mut Vec<Problem>) {
    if topic.get_ref().starts_with(SYSTEM_PREFIX) {
        problems.push(
            Problem::new(format!(
                "the topic `{}` belongs to the system",
                topic.get_ref()
            ))
            .at(topic.span())
            .label(label),
        );
    }
}

fn check_start(stage: &StageSection, count: Option<i32>, problems: &mut Vec<Problem>) {
    let span: Range<usize> = stage.if_no_offset.span();
    let (IfNoOffset::Offsets(offsets), Some(count)) = (stage.if_no_offset.get_ref(), count) else {
        return;
    };
    for (partition, _) in offsets.iter().filter(|(partition, _)| *partition >= count) {
        problems.push(
            Problem::new(format!(
                "`start` names partition {partition} of stage `{}`, whose input has {count}",
                stage.name.get_ref()
            ))
            .at(span.clone())
            .label(format!("partitions are 0 to {}", count - 1)),
        );
    }
}
