//! Stages whose `start` is set and has no effect.

use crate::manifest::IfNoOffset;
use crate::plan::{Plan, StagePlan};
use crate::ports::{Engine, PortError};

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
