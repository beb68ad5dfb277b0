//! Logs of the store that belong to no topic of the metadata, at a start.
//!
//! Only a removal that was read deletes. A log that the metadata have never heard of is somebody's: it is set aside.

use std::{collections::BTreeMap, sync::Arc};

use millstream_cluster::{ClusterMetadata, Image, METADATA_TOPIC_ID};
use millstream_log::{Log, LogStore, StoreError};
use uuid::Uuid;

/// Removes the logs of removed topics (a crash between the removal's record and the removal of the files leaves them
/// behind), and sets aside what the metadata do not know.
pub(crate) fn settle_logs(
    store: &Arc<LogStore>,
    cluster: &ClusterMetadata,
) -> Result<(), StoreError> {
    let image = cluster.image();
    let mut removed: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    let mut unknown: Vec<Arc<Log>> = Vec::new();
    for log in store.logs() {
        let id = log.id();
        if knows(&image, &id.topic_id, id.partition) {
            continue;
        }
        if cluster.has_removed(&id.topic_id) {
            tracing::info!(topic = %id.topic, partition = id.partition, "removing the log of a deleted topic");
            removed.entry(id.topic_id).or_default().push(id.partition);
        } else {
            unknown.push(log);
        }
    }
    for lost in store.lost_logs() {
        if cluster.has_removed(&lost.topic_id) {
            removed
                .entry(lost.topic_id)
                .or_default()
                .push(lost.partition);
        }
    }
    for (topic_id, partitions) in removed {
        store.begin_deletion(&topic_id, partitions)?.finish()?;
    }
    if !unknown.is_empty() {
        for moved_to in store.set_logs_aside(&unknown)? {
            tracing::error!(
                moved_to = %moved_to.display(),
                "a log of a topic that the metadata do not know is set aside: nothing of it is served, nothing is deleted"
            );
        }
    }
    Ok(())
}

fn knows(image: &Image, topic_id: &Uuid, partition: i32) -> bool {
    let Some(topic) = image.topic_by_id(topic_id) else {
        return *topic_id == METADATA_TOPIC_ID;
    };
    usize::try_from(partition).is_ok_and(|index| index < topic.partitions.len())
}
