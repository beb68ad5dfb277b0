//! The image of a metadata log that has lost records, and whose loss somebody has accepted.
//!
//! What is lost may have been anything. So all numbers that only rise go up by as much as the lost records can have
//! raised them: no producer id, no leader epoch and no task's epoch is given twice. And a later record that contradicts
//! the image, because what it rests on is lost, is no proof of damage any more.

use crate::{
    image::{ApplyError, Image},
    producer_ids::PRODUCER_ID_BLOCK,
    record::MetadataRecord,
};

impl Image {
    /// The image behind so many lost records, the last of which had offset `last_offset`.
    pub(crate) fn after_loss(&mut self, lost: i64, last_offset: i64) {
        let epochs = i32::try_from(lost).unwrap_or(i32::MAX);
        self.raise_all(epochs, lost.saturating_mul(PRODUCER_ID_BLOCK));
        self.set_offset(last_offset);
    }

    /// Applies records behind a loss. Returns those that could not be applied, and why.
    pub(crate) fn advance_leniently<'r>(
        &mut self,
        records: &'r [MetadataRecord],
        last_offset: i64,
    ) -> Vec<(&'r MetadataRecord, ApplyError)> {
        let mut left_out = Vec::new();
        for record in records {
            if let Err(error) = self.apply_leniently(record) {
                left_out.push((record, error));
            }
        }
        self.set_offset(last_offset);
        left_out
    }

    fn apply_leniently(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        match record {
            // The removal of the topic that had the name is lost.
            MetadataRecord::Topic { name, id, .. } => {
                let former = [self.topic(name), self.topic_by_id(id)];
                let former: Vec<_> = former.into_iter().flatten().map(|one| one.id).collect();
                for id in former {
                    // The second may be the first.
                    let _ = self.apply(&MetadataRecord::RemoveTopic { id });
                }
                self.apply(record)
            }
            MetadataRecord::ProducerIds { next } if *next < self.next_producer_id() => Ok(()),
            MetadataRecord::Partition {
                topic_id,
                index,
                leader,
                leader_epoch,
                replicas,
                isr,
            } => {
                let known = usize::try_from(*index).ok().and_then(|index| {
                    let topic = self.topic_by_id(topic_id)?;
                    Some(topic.partitions.get(index)?.leader_epoch)
                });
                self.apply(&MetadataRecord::Partition {
                    topic_id: *topic_id,
                    index: *index,
                    leader: *leader,
                    leader_epoch: known.map_or(*leader_epoch, |known| known.max(*leader_epoch)),
                    replicas: replicas.clone(),
                    isr: isr.clone(),
                })
            }
            MetadataRecord::Task {
                key,
                node_id,
                epoch,
                topics,
            } => {
                let known = self.task(key).map(|task| task.epoch);
                self.apply(&MetadataRecord::Task {
                    key: key.clone(),
                    node_id: *node_id,
                    epoch: known.map_or(*epoch, |known| known.max(*epoch)),
                    topics: topics.clone(),
                })
            }
            _ => self.apply(record),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        producer_ids::allocate_producer_ids,
        record::{ConfigResource, TaskKey, TaskTopics},
        tasks::acquire_task,
    };

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    fn topic(name: &str, id: Uuid) -> MetadataRecord {
        MetadataRecord::Topic {
            name: name.to_owned(),
            id,
            created_by: None,
        }
    }

    fn partition(topic_id: Uuid, index: i32, leader_epoch: i32) -> MetadataRecord {
        MetadataRecord::Partition {
            topic_id,
            index,
            leader: 1,
            leader_epoch,
            replicas: vec![1],
            isr: vec![1],
        }
    }

    fn task() -> TaskKey {
        TaskKey {
            pipeline: "p".to_owned(),
            stage: "s".to_owned(),
            partition: 0,
        }
    }

    fn image() -> Image {
        let records = [
            topic("a", A),
            partition(A, 0, 0),
            MetadataRecord::ProducerIds { next: 1000 },
            MetadataRecord::Task {
                key: task(),
                node_id: 1,
                epoch: 4,
                topics: TaskTopics::default(),
            },
        ];
        Image::default().with(&records, 3).unwrap()
    }

    #[test]
    fn nothing_that_rises_is_given_twice() {
        let restart = MetadataRecord::Restart { node_id: 1 };
        let (ids, _) = allocate_producer_ids(&image()).unwrap();
        let (tasks, _) = acquire_task(&image(), &task(), 1).unwrap();
        let lost = [restart, ids[0].clone(), tasks[0].clone()];
        let whole = image().with(&lost, 6).unwrap();
        let mut image = image();
        image.after_loss(3, 6);
        assert_eq!(image.offset(), whole.offset());
        assert!(image.next_producer_id() >= whole.next_producer_id());
        assert!(image.task(&task()).unwrap().epoch >= whole.task(&task()).unwrap().epoch);
        let epoch = |image: &Image| image.topic("a").unwrap().partitions[0].leader_epoch;
        assert!(epoch(&image) >= epoch(&whole));
        // A later record does not take it back.
        let behind = [
            MetadataRecord::ProducerIds { next: 2000 },
            partition(A, 0, 1),
            MetadataRecord::Task {
                key: task(),
                node_id: 1,
                epoch: 6,
                topics: TaskTopics::default(),
            },
        ];
        let before = image.clone();
        assert!(image.advance_leniently(&behind, 9).is_empty());
        assert_eq!(image.next_producer_id(), before.next_producer_id());
        assert_eq!(epoch(&image), epoch(&before));
        assert_eq!(image.task(&task()).unwrap().epoch, 7);
        assert_eq!(image.offset(), Some(9));
    }

    #[test]
    fn a_topic_whose_creation_is_lost_is_unknown_and_its_records_are_left_out() {
        let mut image = image();
        image.after_loss(2, 5);
        let set = MetadataRecord::Config {
            resource: ConfigResource::Topic("b".to_owned()),
            name: "retention.ms".to_owned(),
            value: Some("5".to_owned()),
        };
        let records = [
            partition(B, 1, 0),
            set,
            partition(A, 1, 0),
            partition(A, 3, 0),
            MetadataRecord::RemoveTopic { id: B },
        ];
        let left_out = image.advance_leniently(&records, 10);
        let left_out: Vec<_> = left_out.into_iter().map(|(record, _)| record).collect();
        assert_eq!(
            left_out,
            [&records[0], &records[1], &records[3], &records[4]]
        );
        assert_eq!(image.topic("a").unwrap().partitions.len(), 2);
    }

    #[test]
    fn a_topic_whose_removal_is_lost_gives_way_to_the_next_of_its_name() {
        let mut image = image();
        image.after_loss(1, 4);
        let records = [topic("a", B), partition(B, 0, 0)];
        assert!(image.advance_leniently(&records, 6).is_empty());
        assert_eq!(image.topic("a").unwrap().id, B);
        assert!(image.topic_by_id(&A).is_none());
        assert_eq!(image.topic_by_id(&B).unwrap().partitions.len(), 1);
    }
}
