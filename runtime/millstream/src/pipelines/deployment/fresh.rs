//! `run --fresh`: which topics hold what the pipeline has written, and whom their removal concerns beside itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use millstream_broker::GroupWithOffsets;
use millstream_cluster::{Image, TopicImage, stage_group};
use millstream_pipeline::plan::Plan;
use uuid::Uuid;

use super::{each_once, written};
use crate::asking::Question;
use crate::pipelines::incarnation;

/// Names that are listed one by one; of more, only their number is given.
const NAMES_MAX: usize = 4;

/// A topic that is removed and made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    pub topic: String,
    pub id: Uuid,
    /// Records at most.
    pub records: u64,
    /// Why it is not the pipeline's alone. When there is nothing, nobody is asked.
    pub concerns: Vec<Concern>,
}

/// Whose a topic is, beside the pipeline's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// It was created by somebody else: by that pipeline, or by nobody who is known.
    Created { by: Option<String> },
    /// A stage of another pipeline reads or writes it.
    Stage { pipeline: String, stage: String },
    /// Groups have offsets in it, which lose their meaning.
    Groups(Vec<String>),
}

/// The topics to be renewed: those that the pipeline writes and that hold something, which `records` has. `groups` are
/// those with offsets in them.
pub fn renewals(
    plan: &Plan,
    image: &Image,
    records: &BTreeMap<String, u64>,
    groups: &[GroupWithOffsets],
) -> Vec<Renewal> {
    let written = each_once(written(plan)).into_iter();
    let renewal = |topic: String| {
        let records = *records.get(&topic)?;
        let known = image.topic(&topic)?;
        Some(Renewal {
            id: known.id,
            records,
            concerns: concerns(&plan.pipeline, image, known, groups),
            topic,
        })
    };
    written.filter_map(renewal).collect()
}

fn concerns(
    pipeline: &str,
    image: &Image,
    topic: &TopicImage,
    groups: &[GroupWithOffsets],
) -> Vec<Concern> {
    let mut concerns = Vec::new();
    if topic.created_by.as_deref() != Some(pipeline) {
        let by = topic.created_by.clone();
        concerns.push(Concern::Created { by });
    }
    let mut named = BTreeSet::new();
    for (key, task) in image.tasks() {
        let topics = &task.topics;
        let uses = topics.reads.contains(&topic.name) || topics.writes.contains(&topic.name);
        if uses
            && incarnation::number(&key.pipeline, pipeline).is_none()
            && named.insert(stage_group(&key.pipeline, &key.stage))
        {
            concerns.push(Concern::Stage {
                pipeline: key.pipeline.clone(),
                stage: key.stage.clone(),
            });
        }
    }
    let foreign = groups.iter().filter(|one| {
        one.topics.contains(&topic.name)
            && !is_own_group(&one.group, pipeline)
            && !named.contains(&one.group)
    });
    let foreign: Vec<String> = foreign.map(|one| one.group.clone()).collect();
    if !foreign.is_empty() {
        concerns.push(Concern::Groups(foreign));
    }
    concerns
}

/// Whether a group is, or was, the one of a stage of this pipeline. No name of a pipeline or stage has a dot.
fn is_own_group(group: &str, pipeline: &str) -> bool {
    let named = group.strip_prefix("millstream.");
    let named = named.and_then(|rest| rest.split_once('.'));
    named.is_some_and(|(id, _)| incarnation::number(id, pipeline).is_some())
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Concern::Created { by: Some(by) } => write!(f, "pipeline {by} created it"),
            Concern::Created { by: None } => f.write_str("this pipeline did not create it"),
            Concern::Stage { pipeline, stage } => {
                write!(f, "pipeline {pipeline} works on it (stage {stage})")
            }
            Concern::Groups(groups) => {
                let verb = if groups.len() == 1 { "group" } else { "groups" };
                let shown = groups.len().min(NAMES_MAX);
                write!(f, "{verb} {}", groups[..shown].join(", "))?;
                match groups.len() - shown {
                    0 => {}
                    more => write!(f, " and {more} more")?,
                }
                let has = if groups.len() == 1 { "has" } else { "have" };
                write!(f, " {has} offsets in it")
            }
        }
    }
}

/// What the owner is asked when topics are not the pipeline's alone.
pub fn question(renewals: &[Renewal]) -> Option<Question> {
    let (shared, own): (Vec<&Renewal>, Vec<&Renewal>) = renewals
        .iter()
        .partition(|renewal| !renewal.concerns.is_empty());
    if shared.is_empty() {
        return None;
    }
    let mut consequences = String::from(
        "`run --fresh` removes topics that are not this pipeline's alone, with all their records, and makes them anew:",
    );
    for renewal in shared {
        let concerns: Vec<String> = renewal.concerns.iter().map(Concern::to_string).collect();
        consequences += &format!(
            "\n  {} (up to {} records): {}",
            renewal.topic,
            renewal.records,
            concerns.join("; ")
        );
    }
    if !own.is_empty() {
        let own: Vec<Renewal> = own.into_iter().cloned().collect();
        consequences += &format!("\nand beside them its own: {}", names(&own));
    }
    Some(Question {
        consequences,
        otherwise: "To keep them, let the manifest name other topics, or run without --fresh: then the pipeline goes on where it stopped.".to_owned(),
    })
}

/// What the owner is told when nobody has to be asked.
pub fn notice(renewals: &[Renewal]) -> Option<String> {
    if renewals.is_empty() || renewals.iter().any(|one| !one.concerns.is_empty()) {
        return None;
    }
    Some(format!(
        "removed with all their records and made anew: {}",
        names(renewals)
    ))
}

/// The topics, for a sentence.
pub fn names(renewals: &[Renewal]) -> String {
    let names: Vec<&str> = renewals.iter().map(|one| one.topic.as_str()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
