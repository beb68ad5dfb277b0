//! Records that partitions have lost before a stage consumed them.

use millstream_broker::{Local, RemovedUnread};
use millstream_console::{MetricKind, Sample};

/// One series where something is gone, none where all is there.
pub(super) fn samples(local: &Local) -> Vec<Sample> {
    local.removed_unread().iter().map(sample).collect()
}

fn sample(removed: &RemovedUnread) -> Sample {
    Sample {
        name: "stage_removed_unread_offsets",
        help: "Offsets (at most so many records) that left a partition before the stage of the group consumed them",
        kind: MetricKind::Gauge,
        labels: vec![
            ("group", removed.group.clone()),
            ("topic", removed.topic.clone()),
            ("partition", removed.partition.to_string()),
        ],
        value: removed.offsets() as f64,
    }
}
