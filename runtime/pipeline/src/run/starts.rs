//! Where stages and sources begin, and stages whose `start` is set and has no effect.

use crate::manifest::IfNoOffset;
use crate::plan::{Plan, SourcePlan, StagePlan};
use crate::ports::{Bounds, Engine, InputPartition as _, PortError};
use crate::source::progress;
use crate::task::first_offset;

/// Where a stage begins in one of its input topics, over all partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    pub topic: String,
    /// Offsets from there to the last stable one: records, and the markers of transactions.
    pub ahead: u64,
    /// In how many partitions it goes on at a committed offset.
    pub committed: usize,
}

/// Where a stage that was started now would begin, input by input. A topic that does not exist yet has nothing ahead.
pub async fn beginnings<E: Engine>(
    stage: &StagePlan,
    engine: &E,
) -> Result<Vec<Beginning>, PortError> {
    let mut beginnings = Vec::with_capacity(stage.inputs.len());
    for input in &stage.inputs {
        let topic = &input.topic;
        let mut beginning = Beginning {
            topic: topic.clone(),
            ahead: 0,
            committed: 0,
        };
        let partitions = match engine.topic(topic).await? {
            Some(info) => info.partitions,
            None => 0,
        };
        for partition in 0..partitions {
            let place = [(topic.clone(), partition)];
            let committed = match engine.committed(&stage.group, &place).await {
                Ok(offsets) => offsets.into_iter().next().flatten(),
                // An undecided transaction commits one: how far it goes is not known, that it goes on there is.
                Err(PortError::UnstableOffsets { .. }) => {
                    beginning.committed += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let port = engine.input(topic, partition).await?;
            let Bounds { last_stable, .. } = port.bounds().await?;
            let at = match committed {
                Some(offset) => offset,
                None => first_offset(&port, partition, &stage.if_no_offset).await?.0,
            };
            beginning.committed += usize::from(committed.is_some());
            beginning.ahead += u64::try_from(last_stable - at).unwrap_or(0);
        }
        beginnings.push(beginning);
    }
    Ok(beginnings)
}

/// How many records of its file a source has fed into the present topic already; it goes on behind them. None: it begins
/// at the beginning.
pub async fn fed_before<E: Engine>(
    source: &SourcePlan,
    engine: &E,
) -> Result<Option<u64>, PortError> {
    let Some(topic) = engine.topic(&source.topic).await? else {
        return Ok(None);
    };
    let known = progress::read_decided(engine, &progress::key(&source.task)).await?;
    let known = known.filter(|known| !known.is_of_another_topic(topic.id));
    Ok(known.map(|known| known.records))
}

/// One notice for each stage that the manifest tells where to begin, though its group has committed
/// offsets already.
pub async fn superseded_starts<E: Engine>(
    plan: &Plan,
    engine: &E,
) -> Result<Vec<String>, PortError> {
    let mut notices = Vec::new();
    let told = |stage: &&StagePlan| stage.if_no_offset != IfNoOffset::Earliest;
    for stage in plan.stages.iter().filter(told) {
        let claims = (0..stage.partitions).map(|partition| stage.claim(partition));
        let places: Vec<_> = claims.flat_map(|claim| claim.partitions).collect();
        let known = match engine.committed(&stage.group, &places).await {
            Ok(offsets) => offsets.iter().flatten().count(),
            // A transaction that commits offsets of the group was begun: the stage has run before.
            Err(PortError::UnstableOffsets { .. }) => places.len(),
            Err(error) => return Err(error),
        };
        let (name, group) = (&stage.name, &stage.group);
        let rest = "goes on from them; `run --fresh` starts over";
        if known == places.len() && known > 0 {
            notices.push(format!(
                "`start` of stage {name} no longer applies: its group {group} has committed offsets and {rest}"
            ));
        } else if known > 0 {
            notices.push(format!(
                "`start` of stage {name} applies to partitions without an offset only: its group {group} has committed offsets of {known} in {} partitions and {rest}",
                places.len()
            ));
        }
    }
    Ok(notices)
}
