//! What a shard appends on behalf of others: commits, the ends of transactions,
//! and tombstones.

use bytes::Bytes;
use millstream_log::{Appended, VerificationGuard};
use millstream_records::Marker;
use millstream_wire::ErrorCode;

use super::offsets::CommittedOffset;
use super::shard::{Change, Shard};
use super::stored;
use crate::coordinator::{Now, TopicPartition, batch_of};

/// Most bytes of keys in one batch of tombstones, well below what a topic takes.
const TOMBSTONES_BYTES: usize = 256 * 1024;

impl Shard {
    /// Appends a plain commit.
    pub(crate) fn commit(
        &mut self,
        group: &str,
        offsets: Vec<(TopicPartition, CommittedOffset)>,
        now: Now,
    ) -> Result<Appended, ErrorCode> {
        let batch = offsets_batch(group, &offsets, now, None)?;
        let appended = self.led.append(batch, None)?;
        let group = group.to_owned();
        self.enqueue(appended, Change::Offsets { group, offsets });
        Ok(appended)
    }

    /// Appends a commit within a transaction. It is pending from now on.
    pub(crate) fn commit_transactional(
        &mut self,
        group: &str,
        producer: (i64, i16),
        verification: Option<VerificationGuard>,
        offsets: Vec<(TopicPartition, CommittedOffset)>,
        now: Now,
    ) -> Result<Appended, ErrorCode> {
        let batch = offsets_batch(group, &offsets, now, Some(producer))?;
        let appended = self.led.append(batch, verification)?;
        let entry = self.entry(group, now);
        for (partition, value) in offsets {
            entry
                .offsets
                .commit_pending(producer.0, partition, value, appended.last_offset);
        }
        self.open
            .entry(producer.0)
            .or_default()
            .insert(group.to_owned());
        Ok(appended)
    }

    /// Appends the end of a producer's transaction; its offsets materialise
    /// or vanish once the marker is committed.
    pub(crate) fn append_marker(
        &mut self,
        marker: Marker,
        producer: (i64, i16),
        coordinator_epoch: i32,
        now: Now,
    ) -> Result<Appended, ErrorCode> {
        let (producer_id, producer_epoch) = producer;
        let appended =
            self.led
                .append_marker(marker, producer_id, producer_epoch, coordinator_epoch)?;
        let change = Change::End {
            producer_id,
            marker,
        };
        self.enqueue(appended, change);
        self.settle(now);
        Ok(appended)
    }

    /// Appends tombstones for the offsets of these partitions, in as many
    /// batches as they need, and at last one for the group itself if it goes.
    pub(super) fn append_tombstones(
        &mut self,
        group: &str,
        partitions: Vec<TopicPartition>,
        with_group: bool,
        now: Now,
    ) -> Result<(), ErrorCode> {
        let unencodable = |_| ErrorCode::UnknownServerError;
        let mut keys = Vec::new();
        let mut bytes = 0;
        let mut of_keys = Vec::new();
        let count = partitions.len();
        for (index, partition) in partitions.into_iter().enumerate() {
            let key = stored::offset_key(group, &partition).map_err(unencodable)?;
            bytes += key.len();
            keys.push(key);
            of_keys.push(partition);
            if bytes >= TOMBSTONES_BYTES && index + 1 < count {
                self.append_keys(group, std::mem::take(&mut keys), of_keys, now)?;
                (bytes, of_keys) = (0, Vec::new());
            }
        }
        if with_group {
            keys.push(stored::group_key(group).map_err(unencodable)?);
        }
        if !keys.is_empty() {
            self.append_keys(group, keys, of_keys, now)?;
        }
        Ok(())
    }

    fn append_keys(
        &mut self,
        group: &str,
        keys: Vec<Bytes>,
        partitions: Vec<TopicPartition>,
        now: Now,
    ) -> Result<(), ErrorCode> {
        let records = keys.iter().map(|key| (&key[..], None));
        let batch = batch_of(records, now.wall_ms, None)?;
        let appended = self.led.append(batch, None)?;
        let group = group.to_owned();
        self.enqueue(appended, Change::Tombstones { group, partitions });
        Ok(())
    }
}

fn offsets_batch(
    group: &str,
    offsets: &[(TopicPartition, CommittedOffset)],
    now: Now,
    producer: Option<(i64, i16)>,
) -> Result<Vec<u8>, ErrorCode> {
    let unencodable = |_| ErrorCode::InvalidCommitOffsetSize;
    let mut records = Vec::with_capacity(offsets.len());
    for (partition, value) in offsets {
        records.push((
            stored::offset_key(group, partition).map_err(unencodable)?,
            stored::offset_value(value).map_err(unencodable)?,
        ));
    }
    let records = records
        .iter()
        .map(|(key, value)| (&key[..], Some(&value[..])));
    batch_of(records, now.wall_ms, producer)
}
