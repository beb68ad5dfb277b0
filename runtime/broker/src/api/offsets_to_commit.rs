//! What OffsetCommit and TxnOffsetCommit share: partitions that exist are parted from those that do not, and the
//! answers come back in the request's order. In OffsetCommit's words, which TxnOffsetCommit's are the same as.

use millstream_cluster::Image;
use millstream_wire::{
    ErrorCode,
    offset_commit::{
        OffsetCommitRequestTopic, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
    },
};

use uuid::Uuid;

use crate::{coordinator::TopicPartition, group::OffsetToCommit};

/// All partitions of a request by topic, and whether they exist.
pub(super) struct Asked(Vec<(String, Vec<(i32, bool)>)>);

impl Asked {
    /// The offsets of the partitions that exist, for the coordinator, and what is needed to answer.
    pub fn part(
        image: &Image,
        topics: impl IntoIterator<Item = OffsetCommitRequestTopic>,
    ) -> (Vec<OffsetToCommit>, Asked) {
        let mut offsets = Vec::new();
        let mut asked = Vec::new();
        for OffsetCommitRequestTopic { name, partitions } in topics {
            let topic = image.topic(&name);
            let (topic_id, count) =
                topic.map_or((Uuid::nil(), 0), |topic| (topic.id, topic.partitions.len()));
            let exists = |index: i32| usize::try_from(index).is_ok_and(|index| index < count);
            let mut known = Vec::with_capacity(partitions.len());
            for one in partitions {
                let index = one.partition_index;
                known.push((index, exists(index)));
                if exists(index) {
                    offsets.push(OffsetToCommit {
                        partition: TopicPartition::new(name.clone(), index),
                        topic_id,
                        offset: one.committed_offset,
                        leader_epoch: one.committed_leader_epoch,
                        metadata: one.committed_metadata.unwrap_or_default(),
                    });
                }
            }
            asked.push((name, known));
        }
        (offsets, Asked(asked))
    }

    /// The answers by topic: each partition with its code. `results` are the coordinator's, one for each offset.
    pub fn answers(
        self,
        results: Vec<ErrorCode>,
    ) -> impl Iterator<Item = OffsetCommitResponseTopic> {
        let mut results = results.into_iter();
        self.0.into_iter().map(move |(name, partitions)| {
            let answer = |(partition_index, exists)| {
                let code = match exists {
                    true => results.next().unwrap_or(ErrorCode::UnknownServerError),
                    false => ErrorCode::UnknownTopicOrPartition,
                };
                OffsetCommitResponsePartition {
                    partition_index,
                    error_code: code.code(),
                }
            };
            OffsetCommitResponseTopic {
                name,
                partitions: partitions.into_iter().map(answer).collect(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use millstream_cluster::MetadataRecord;
    use millstream_wire::offset_commit::OffsetCommitRequestPartition;

    use super::*;

    #[test]
    fn only_partitions_that_exist_are_committed_and_the_answers_keep_their_order() {
        let topic_id = Uuid::from_u128(1);
        let records = [
            MetadataRecord::Topic {
                name: "t".to_owned(),
                id: topic_id,
                created_by: None,
            },
            MetadataRecord::Partition {
                topic_id,
                index: 0,
                leader: 1,
                leader_epoch: 0,
                replicas: vec![1],
                isr: vec![1],
            },
        ];
        let image = Image::default().with(&records, 1).unwrap();
        let wanted = |partition_index| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: 5,
            ..OffsetCommitRequestPartition::default()
        };
        let topic = |name: &str, partitions: &[i32]| OffsetCommitRequestTopic {
            name: name.to_owned(),
            partitions: partitions.iter().copied().map(wanted).collect(),
        };
        let (offsets, asked) = Asked::part(&image, [topic("u", &[0]), topic("t", &[-1, 0, 1])]);
        assert_eq!(offsets.len(), 1);
        assert_eq!(offsets[0].topic_id, topic_id);
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        let answers: Vec<_> = asked
            .answers(vec![ErrorCode::None])
            .flat_map(|topic| {
                let code = move |one: OffsetCommitResponsePartition| {
                    (topic.name.clone(), one.partition_index, one.error_code)
                };
                topic.partitions.into_iter().map(code)
            })
            .collect();
        let expected = [
            ("u".to_owned(), 0, unknown),
            ("t".to_owned(), -1, unknown),
            ("t".to_owned(), 0, 0),
            ("t".to_owned(), 1, unknown),
        ];
        assert_eq!(answers, expected);
    }
}
