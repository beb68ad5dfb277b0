//! What OffsetCommit and TxnOffsetCommit share: partitions that exist are parted from those that do not, and the
//! answers come back in the request's order.

use millstream_cluster::Image;
use millstream_wire::ErrorCode;

use crate::{coordinator::TopicPartition, group::OffsetToCommit};

/// One partition's part of a request.
pub(super) struct Wanted {
    pub index: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Option<String>,
}

/// All partitions of a request by topic, and whether they exist.
pub(super) struct Asked(Vec<(String, Vec<(i32, bool)>)>);

impl Asked {
    /// The offsets of the partitions that exist, for the coordinator, and what is needed to answer.
    pub fn part(
        image: &Image,
        wanted: impl IntoIterator<Item = (String, Vec<Wanted>)>,
    ) -> (Vec<OffsetToCommit>, Asked) {
        let mut offsets = Vec::new();
        let mut topics = Vec::new();
        for (topic, partitions) in wanted {
            let count = image
                .topic(&topic)
                .map_or(0, |topic| topic.partitions.len());
            let exists = |index: i32| usize::try_from(index).is_ok_and(|index| index < count);
            let known = partitions.iter().map(|one| (one.index, exists(one.index)));
            let known: Vec<(i32, bool)> = known.collect();
            for (one, (_, exists)) in partitions.into_iter().zip(&known) {
                if *exists {
                    offsets.push(OffsetToCommit {
                        partition: TopicPartition::new(topic.clone(), one.index),
                        offset: one.offset,
                        leader_epoch: one.leader_epoch,
                        metadata: one.metadata.unwrap_or_default(),
                    });
                }
            }
            topics.push((topic, known));
        }
        (offsets, Asked(topics))
    }

    /// The answers by topic: each partition with its code. `results` are the coordinator's, one for each offset.
    pub fn answers(
        self,
        results: Vec<ErrorCode>,
    ) -> impl Iterator<Item = (String, Vec<(i32, i16)>)> {
        let mut results = results.into_iter();
        self.0.into_iter().map(move |(topic, partitions)| {
            let answer = |(index, exists)| {
                let code = match exists {
                    true => results.next().unwrap_or(ErrorCode::UnknownServerError),
                    false => ErrorCode::UnknownTopicOrPartition,
                };
                (index, code.code())
            };
            (topic, partitions.into_iter().map(answer).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use millstream_cluster::MetadataRecord;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_partitions_that_exist_are_committed_and_the_answers_keep_their_order() {
        let topic_id = Uuid::from_u128(1);
        let records = [
            MetadataRecord::Topic {
                name: "t".to_owned(),
                id: topic_id,
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
        let wanted = |index| Wanted {
            index,
            offset: 5,
            leader_epoch: -1,
            metadata: None,
        };
        let request = [
            ("u".to_owned(), vec![wanted(0)]),
            ("t".to_owned(), vec![wanted(-1), wanted(0), wanted(1)]),
        ];
        let (offsets, asked) = Asked::part(&image, request);
        assert_eq!(offsets.len(), 1);
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        let answers: Vec<_> = asked.answers(vec![ErrorCode::None]).collect();
        let expected = [
            ("u".to_owned(), vec![(0, unknown)]),
            ("t".to_owned(), vec![(-1, unknown), (0, 0), (1, unknown)]),
        ];
        assert_eq!(answers, expected);
    }
}
