//! Parts of a pipeline (stages and sources) that the manifest has no more, beside others that it did not have: renamed
//! ones, most likely, and a new name begins where nothing was read.

use std::collections::{BTreeMap, BTreeSet};

use millstream_cluster::{TaskTopics, stage_group};
use millstream_pipeline::manifest::IfNoOffset;
use millstream_pipeline::plan::{Plan, SourcePlan, StagePlan};
use millstream_pipeline::run::Beginning;

use super::each_once;
use crate::asking::Question;

/// What the task of a source is called, before the source's name.
const SOURCE_PREFIX: &str = "source.";

/// Parts by the names that their tasks have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced<'p> {
    /// Those that are recorded and not planned, with their topics.
    pub gone: BTreeMap<&'p str, &'p TaskTopics>,
    /// Those that are planned and not recorded.
    pub come: BTreeSet<&'p str>,
}

/// What the question says of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartFacts {
    /// The topics in which the group of a gone stage has offsets.
    pub left: BTreeMap<String, BTreeSet<String>>,
    /// Where a stage that has come begins.
    pub begins: BTreeMap<String, Vec<Beginning>>,
    /// Records in the topics of sources that have come.
    pub records: BTreeMap<String, u64>,
    /// Records that a source that has come fed under its name already.
    pub fed_before: BTreeMap<String, u64>,
}

/// Compares the plan with the parts that have tasks in the metadata. Nothing to be said while parts have only come, or
/// only gone.
pub fn replaced<'p>(
    plan: &'p Plan,
    recorded: &BTreeMap<&'p str, &'p TaskTopics>,
) -> Option<Replaced<'p>> {
    let sources = plan.sources.iter().map(|source| source.task.stage.as_str());
    let stages = plan.stages.iter().map(|stage| stage.name.as_str());
    let planned: BTreeSet<&str> = sources.chain(stages).collect();
    let gone = recorded.iter().filter(|(part, _)| !planned.contains(*part));
    let gone: BTreeMap<&str, &TaskTopics> = gone.map(|(part, topics)| (*part, *topics)).collect();
    let come = planned
        .iter()
        .copied()
        .filter(|part| !recorded.contains_key(part));
    let come: BTreeSet<&str> = come.collect();
    (!gone.is_empty() && !come.is_empty()).then_some(Replaced { gone, come })
}

/// What the owner is asked.
pub fn question(plan: &Plan, replaced: &Replaced<'_>, facts: &PartFacts) -> Question {
    let gone: Vec<String> = replaced.gone.keys().map(|part| shown(part)).collect();
    let come: Vec<String> = replaced.come.iter().map(|part| shown(part)).collect();
    let mut consequences = format!(
        "the manifest has no {} any more, which ran before, and {} instead:",
        gone.join(", "),
        come.join(", ")
    );
    for (part, topics) in &replaced.gone {
        consequences += &format!("\n  {} leaves behind ", shown(part));
        consequences += &match part.strip_prefix(SOURCE_PREFIX) {
            Some(_) => left_by_source(topics),
            None => left_by_stage(&plan.pipeline_id, part, facts.left.get(*part)),
        };
    }
    for stage in &plan.stages {
        if replaced.come.contains(stage.name.as_str()) {
            for beginning in facts.begins.get(&stage.name).into_iter().flatten() {
                let processed = processed_by(&beginning.topic, replaced, facts);
                consequences += &format!("\n  {}", begins(stage, beginning, &processed));
            }
        }
    }
    for source in &plan.sources {
        if replaced.come.contains(source.task.stage.as_str()) {
            consequences += &format!("\n  {}", begins_to_feed(source, facts));
        }
    }
    Question {
        consequences,
        otherwise: "What was only renamed goes on where it stopped under its old name.".to_owned(),
    }
}

/// A part as its owner calls it.
fn shown(part: &str) -> String {
    match part.strip_prefix(SOURCE_PREFIX) {
        Some(source) => format!("source {source}"),
        None => format!("stage {part}"),
    }
}

fn left_by_source(topics: &TaskTopics) -> String {
    match topics.writes.as_slice() {
        [] => "the records that it has read".to_owned(),
        fed => format!("the records that it has read, in {}", fed.join(", ")),
    }
}

fn left_by_stage(pipeline_id: &str, stage: &str, offsets: Option<&BTreeSet<String>>) -> String {
    let offsets: Vec<&str> = offsets.into_iter().flatten().map(String::as_str).collect();
    let group = stage_group(pipeline_id, stage);
    match offsets.as_slice() {
        [] => format!("its group {group}, without offsets"),
        topics => format!(
            "its group {group} with the offsets in {}, as a group like any other, whose offsets expire",
            topics.join(", ")
        ),
    }
}

/// The gone stages that have worked on a topic.
fn processed_by<'p>(topic: &str, replaced: &Replaced<'p>, facts: &PartFacts) -> Vec<&'p str> {
    let has_read = |(part, topics): &(&&'p str, &&TaskTopics)| {
        let offsets = facts.left.get(**part);
        topics.reads.iter().any(|read| read == topic)
            || offsets.is_some_and(|topics| topics.contains(topic))
    };
    let gone = replaced.gone.iter().filter(has_read);
    gone.map(|(part, _)| *part).collect()
}

fn begins(stage: &StagePlan, beginning: &Beginning, processed: &[&str]) -> String {
    let topic = &beginning.topic;
    let has_all = usize::try_from(stage.partitions) == Ok(beginning.committed);
    let at = match &stage.if_no_offset {
        _ if has_all && beginning.committed > 0 => {
            format!("goes on in {topic} at the offsets that its group has")
        }
        IfNoOffset::Earliest => format!("begins at the earliest record of {topic}"),
        IfNoOffset::Latest => format!("begins at the end of {topic}"),
        IfNoOffset::Timestamp(_) | IfNoOffset::Offsets(_) => {
            format!("begins in {topic} where its `start` says")
        }
    };
    let mut text = format!("stage {} {at}: ", stage.name);
    if beginning.ahead == 0 {
        return text + "no record is there yet";
    }
    text += &format!("up to {} records", beginning.ahead);
    if !processed.is_empty() {
        text += &format!(", again after {}", processed.join(", "));
    }
    let writes = each_once(stage.written());
    if !writes.is_empty() {
        text += &format!(", with results in {}", writes.join(", "));
    }
    text
}

fn begins_to_feed(source: &SourcePlan, facts: &PartFacts) -> String {
    let (name, topic) = (&source.name, &source.topic);
    if let Some(records) = facts.fed_before.get(name) {
        return format!(
            "source {name} goes on in its file behind the {records} records that it has fed into {topic} before"
        );
    }
    let text = format!("source {name} reads its file from the beginning into {topic}");
    match facts.records.get(topic) {
        Some(records) => format!("{text}, which has up to {records} records"),
        None => text,
    }
}

#[cfg(test)]
mod tests;
