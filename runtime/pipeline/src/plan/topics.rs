//! The topics of a plan: partition counts, settings, what has to be created.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::{TopicFacts, dead_letters};
use crate::manifest::{IfNoOffset, Manifest, Problem, Setting, StageSection};
use crate::ports::TopicSpec;

/// What was found out about the topics.
pub struct Topics {
    pub to_create: Vec<TopicSpec>,
    pub notices: Vec<String>,
    /// Partitions by topic.
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
pub fn resolve(
    manifest: &Manifest,
    order: &[usize],
    facts: &TopicFacts,
    problems: &mut Vec<Problem>,
) -> Topics {
    let mut resolver = Resolver {
        facts,
        settings: settings(manifest, problems),
        topics: Topics {
            to_create: Vec::new(),
            notices: Vec::new(),
            partitions: BTreeMap::new(),
        },
    };
    for topic in &manifest.topics {
        resolver.declared(topic.name.get_ref(), topic.partitions.as_ref(), problems);
    }
    for source in &manifest.sources {
        refuse_internal(&source.topic, problems);
        resolver.settle(source.topic.get_ref(), None, None);
    }
    // Topics of a count taken from the stage that writes them, for comparison with a second one.
    let mut taken: BTreeMap<&str, (&str, i32)> = BTreeMap::new();
    for &index in order {
        let stage = &manifest.stages[index];
        let count = resolver.inputs(stage, problems);
        check_start(stage, count, problems);
        let outputs = stage.outputs.iter().map(|output| &output.topic);
        for topic in outputs.chain(dead_letters(stage)) {
            refuse_internal(topic, problems);
            let name = topic.get_ref().as_str();
            if resolver.settle(name, Some(count), None) {
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
    resolver.topics
}

struct Resolver<'m> {
    facts: &'m TopicFacts,
    settings: BTreeMap<&'m str, Vec<&'m Setting>>,
    topics: Topics,
}

impl Resolver<'_> {
    fn declared(&mut self, name: &str, count: Option<&Spanned<i32>>, problems: &mut Vec<Problem>) {
        if let (Some(info), Some(declared)) = (self.facts.existing.get(name), count)
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
        // A declared topic without a count may still take its writer's.
        if count.is_some() || self.facts.existing.contains_key(name) {
            self.settle(name, count.map(|count| *count.get_ref()), None);
        }
    }

    /// Fixes a topic's count unless it is fixed; true when this call did.
    fn settle(&mut self, name: &str, count: Option<i32>, notice: Option<String>) -> bool {
        if self.topics.partitions.contains_key(name) {
            return false;
        }
        if let Some(info) = self.facts.existing.get(name) {
            self.topics
                .partitions
                .insert(name.to_owned(), info.partitions);
            return false;
        }
        let partitions = count.unwrap_or(self.facts.default_partitions);
        self.topics.partitions.insert(name.to_owned(), partitions);
        let settings = self.settings.get(name).into_iter().flatten();
        self.topics.to_create.push(TopicSpec {
            name: name.to_owned(),
            partitions: Some(partitions),
            config: settings
                .map(|setting| {
                    (
                        setting.name.get_ref().clone(),
                        setting.value.get_ref().clone(),
                    )
                })
                .collect(),
        });
        self.topics.notices.extend(notice);
        true
    }

    /// The partitions of a stage's inputs, which must be equal.
    fn inputs(&mut self, stage: &StageSection, problems: &mut Vec<Problem>) -> i32 {
        let mut first: Option<(&str, i32)> = None;
        for input in &stage.inputs {
            let name = input.topic.get_ref().as_str();
            let notice = format!(
                "the topic {name} does not exist and nothing in this pipeline writes it: it is created empty"
            );
            self.settle(name, None, Some(notice));
            let count = self.topics.partitions[name];
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
        first.map_or(self.facts.default_partitions, |(_, count)| count)
    }
}

/// Settings by topic, from `[topic.NAME]` and from outputs; they must not contradict each other.
fn settings<'m>(
    manifest: &'m Manifest,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'m str, Vec<&'m Setting>> {
    let declared = manifest.topics.iter().flat_map(|topic| {
        topic
            .config
            .iter()
            .map(|s| (topic.name.get_ref().as_str(), s))
    });
    let outputs = manifest.stages.iter().flat_map(|stage| &stage.outputs);
    let outputs = outputs.flat_map(|output| {
        let name = output.topic.get_ref().as_str();
        output.config.iter().map(move |setting| (name, setting))
    });
    let mut by_topic: BTreeMap<&str, Vec<&Setting>> = BTreeMap::new();
    for (topic, setting) in declared.chain(outputs) {
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

fn refuse_internal(topic: &Spanned<String>, problems: &mut Vec<Problem>) {
    if topic.get_ref().starts_with("__") {
        problems.push(
            Problem::new(format!(
                "the topic `{}` belongs to the system",
                topic.get_ref()
            ))
            .at(topic.span())
            .label("cannot be written by a pipeline"),
        );
    }
}

fn check_start(stage: &StageSection, count: i32, problems: &mut Vec<Problem>) {
    let span: Range<usize> = stage.if_no_offset.span();
    let IfNoOffset::Offsets(offsets) = stage.if_no_offset.get_ref() else {
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
