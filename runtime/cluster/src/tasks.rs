//! Task ownership: which node runs a stage's task, under an epoch that rises with every acquisition.

use crate::{
    image::Image,
    record::{MetadataRecord, TaskKey, TaskTopics},
};

/// What the name of every stage's consumer group begins with.
const GROUP_PREFIX: &str = "millstream.";

/// The consumer group of a stage. A pipeline's id is its name, or one with `~` and a number behind it.
pub fn stage_group(pipeline_id: &str, stage: &str) -> String {
    format!("{GROUP_PREFIX}{pipeline_id}.{stage}")
}

/// Whether a consumer group is the one of a deployed stage: one that has tasks in the metadata. The tasks' records
/// outlive the processes that ran them, so the answer is the same while none runs.
pub fn is_stage_group(image: &Image, group: &str) -> bool {
    let Some(rest) = group.strip_prefix(GROUP_PREFIX) else {
        return false;
    };
    // Either name may hold dots, so every dot may be the one between them.
    rest.match_indices('.')
        .any(|(dot, _)| image.has_tasks(&rest[..dot], &rest[dot + 1..]))
}

/// What an acquisition gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquiredTask {
    /// The task's new epoch; it is the generation of the task's synthetic group member.
    pub epoch: i32,
}

/// Gives the task to `node_id` under the next epoch. Whoever held it before is fenced by that epoch. `None` when the
/// epochs have run out.
pub fn acquire_task(
    image: &Image,
    key: &TaskKey,
    node_id: i32,
) -> Option<(Vec<MetadataRecord>, AcquiredTask)> {
    let (epoch, topics) = match image.task(key) {
        Some(task) => (task.epoch.checked_add(1)?, task.topics.clone()),
        None => (0, TaskTopics::default()),
    };
    Some((
        vec![MetadataRecord::Task {
            key: key.clone(),
            node_id,
            epoch,
            topics,
        }],
        AcquiredTask { epoch },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stages_group_is_known_by_its_tasks() {
        let mut image = Image::default();
        for (pipeline, stage, partition) in [("p", "clean", 3), ("a.b", "c.d", 0), ("p~2", "s", -1)]
        {
            let key = TaskKey {
                pipeline: pipeline.to_owned(),
                stage: stage.to_owned(),
                partition,
            };
            let (records, _) = acquire_task(&image, &key, 1).unwrap();
            image = image.with(&records, 0).unwrap();
        }
        for (group, expected) in [
            ("millstream.p.clean", true),
            ("millstream.a.b.c.d", true),
            ("millstream.p~2.s", true),
            ("millstream.p.clea", false),
            ("millstream.p.clean2", false),
            ("millstream.p.s", false),
            ("millstream.p", false),
            ("millstream.p.", false),
            ("millstream..", false),
            ("millstream", false),
            ("p.clean", false),
            ("", false),
        ] {
            assert_eq!(is_stage_group(&image, group), expected, "{group}");
        }
    }

    #[test]
    fn every_acquisition_raises_the_epoch_of_that_task_alone() {
        let key = |partition| TaskKey {
            pipeline: "p".to_owned(),
            stage: "s".to_owned(),
            partition,
        };
        let mut image = Image::default();
        for (partition, node_id, expected) in [(0, 1, 0), (0, 1, 1), (1, 1, 0), (0, 2, 2)] {
            let (records, acquired) = acquire_task(&image, &key(partition), node_id).unwrap();
            assert_eq!(acquired.epoch, expected);
            image = image.with(&records, 0).unwrap();
            assert_eq!(image.task(&key(partition)).unwrap().node_id, node_id);
        }
        let last = MetadataRecord::Task {
            key: key(0),
            node_id: 1,
            epoch: i32::MAX,
            topics: TaskTopics::default(),
        };
        let image = image.with(&[last], 1).unwrap();
        assert!(acquire_task(&image, &key(0), 1).is_none());
    }
}
