//! How far the member of a held group has read, beside what it has committed.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::coordinator::TopicPartition;

/// Where nothing was read yet.
const NOT_READ: i64 = -1;

/// The next offset to read of each partition of one member. Its task writes, tools are told.
#[derive(Debug)]
pub struct ReadPositions {
    partitions: Vec<(TopicPartition, AtomicI64)>,
}

impl ReadPositions {
    pub(crate) fn new(partitions: &[TopicPartition]) -> ReadPositions {
        let mut partitions = partitions.to_vec();
        partitions.sort();
        ReadPositions {
            partitions: partitions
                .into_iter()
                .map(|partition| (partition, AtomicI64::new(NOT_READ)))
                .collect(),
        }
    }

    /// Notes that the task reads this partition from `offset` on. A partition of another member is left alone.
    pub fn set(&self, topic: &str, partition: i32, offset: i64) {
        let place = self
            .partitions
            .iter()
            .find(|(known, _)| known.partition == partition && known.topic == topic);
        if let Some((_, position)) = place {
            position.store(offset, Ordering::Relaxed);
        }
    }

    /// Where the task reads, of each partition that it has begun to read.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        let places = self.partitions.iter();
        let known = places.map(|(place, position)| (place, position.load(Ordering::Relaxed)));
        known.filter(|(_, position)| *position != NOT_READ)
    }

    /// As the user data of the member's assignment: one big-endian int64 for each partition that is shown, in order of
    /// topic and index.
    pub(crate) fn to_user_data(&self, is_shown: impl Fn(&TopicPartition) -> bool) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.partitions.len() * size_of::<i64>());
        let shown = self.partitions.iter();
        for (_, position) in shown.filter(|(partition, _)| is_shown(partition)) {
            bytes.put_i64(position.load(Ordering::Relaxed));
        }
        bytes.freeze()
    }
}

/// The positions in an assignment's user data, in its order; `None` where nothing was read yet. Empty when the bytes
/// are not those of a held group's member with so many partitions.
pub fn positions_in_user_data(mut user_data: Bytes, partitions: usize) -> Vec<Option<i64>> {
    if partitions.checked_mul(size_of::<i64>()) != Some(user_data.len()) {
        return Vec::new();
    }
    (0..partitions)
        .map(|_| Some(user_data.get_i64()).filter(|position| *position != NOT_READ))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_back_in_order_of_topic_and_index() {
        let partitions = [
            TopicPartition::new("b", 0),
            TopicPartition::new("a", 2),
            TopicPartition::new("a", 1),
        ];
        let positions = ReadPositions::new(&partitions);
        positions.set("b", 0, 7);
        positions.set("a", 1, 1 << 40);
        positions.set("a", 3, 9);
        let user_data = positions.to_user_data(|_| true);
        assert_eq!(
            positions_in_user_data(user_data.clone(), 3),
            [Some(1 << 40), None, Some(7)]
        );
        assert_eq!(positions_in_user_data(user_data, 2), []);
        let of_a = positions.to_user_data(|partition| partition.topic == "a");
        assert_eq!(positions_in_user_data(of_a, 2), [Some(1 << 40), None]);
        assert_eq!(positions_in_user_data(Bytes::new(), usize::MAX), []);
    }
}
