//! What has to be known of the node to decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_broker::{Broker, GroupWithOffsets};
use millstream_cluster::stage_group;
use millstream_pipeline::plan::Plan;
use millstream_pipeline::run::{beginnings, fed_before};
use millstream_wire::ErrorCode;

use super::renamed::{PartFacts, Replaced};
use crate::engine::LocalEngine;
use crate::outcome::Outcome;

/// How many records each of these topics has, at most: markers of transactions count too. Topics that do not exist, or
/// in which nothing was ever written, are not in it.
pub fn records(broker: &Arc<Broker>, topics: &BTreeSet<String>) -> BTreeMap<String, u64> {
    let local = broker.local();
    let mut found = BTreeMap::new();
    for name in topics {
        let Some(topic) = local.topic(name) else {
            continue;
        };
        let (mut records, mut was_written) = (0, false);
        for index in 0..topic.partitions {
            match local.partition(name, index) {
                Ok(partition) => {
                    let offsets = partition.offsets();
                    was_written |= offsets.log_end > 0;
                    records += u64::try_from(offsets.log_end - offsets.log_start).unwrap_or(0);
                }
                // What cannot be read is not empty.
                Err(_) => was_written = true,
            }
        }
        if was_written {
            found.insert(name.clone(), records);
        }
    }
    found
}

/// The groups that have offsets in these topics.
pub async fn groups(
    broker: &Arc<Broker>,
    topics: &BTreeSet<String>,
) -> Outcome<Vec<GroupWithOffsets>> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let found = broker.local().groups_with_offsets(topics).await;
    found.map_err(|code| cannot_read(code).into())
}

/// What parts that are gone leave behind, and where those begin that have come.
pub async fn of_parts(
    plan: &Plan,
    replaced: &Replaced<'_>,
    broker: &Arc<Broker>,
) -> Outcome<PartFacts> {
    let (local, engine) = (broker.local(), LocalEngine::new(broker));
    let mut facts = PartFacts::default();
    for stage in replaced.gone.keys() {
        let group = stage_group(&plan.pipeline_id, stage);
        let offsets = local.all_offsets(&group).await.map_err(cannot_read)?;
        let topics = offsets.into_iter().map(|(partition, _)| partition.topic);
        facts.left.insert((*stage).to_owned(), topics.collect());
    }
    for stage in &plan.stages {
        if replaced.come.contains(stage.name.as_str()) {
            let begins = beginnings(stage, &engine).await?;
            facts.begins.insert(stage.name.clone(), begins);
        }
    }
    let mut fed = BTreeSet::new();
    for source in &plan.sources {
        if replaced.come.contains(source.task.stage.as_str()) {
            if let Some(records) = fed_before(source, &engine).await? {
                facts.fed_before.insert(source.name.clone(), records);
            }
            fed.insert(source.topic.clone());
        }
    }
    facts.records = records(broker, &fed);
    Ok(facts)
}

fn cannot_read(code: ErrorCode) -> anyhow::Error {
    anyhow::anyhow!("the groups of this node cannot be read: {code}")
}
