//! What a pipeline's run asks of the node before its tasks start.

use std::collections::BTreeSet;

use millstream_cluster::Deployment;
use millstream_wire::ErrorCode;

use super::{FetchedOffset, Local};
use crate::{group::GroupWithOffsets, topics::TopicFailure};

impl Local {
    /// Writes what a run begins with as one change, and removes the logs of the topics that it renews. Whoever wrote to
    /// those topics must be fenced by now.
    pub async fn deploy(&self, deployment: &Deployment) -> Result<(), TopicFailure> {
        self.broker.deploy(deployment).await
    }

    /// The groups that have offsets in these topics, in order of their names.
    pub async fn groups_with_offsets(
        &self,
        topics: &BTreeSet<String>,
    ) -> Result<Vec<GroupWithOffsets>, ErrorCode> {
        self.broker.groups().with_offsets_in(topics).await
    }

    /// All committed offsets of a group.
    pub async fn all_offsets(&self, group: &str) -> Result<Vec<FetchedOffset>, ErrorCode> {
        self.broker.groups().fetch_offsets(group, None, false).await
    }
}
