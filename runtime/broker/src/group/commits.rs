//! What the group coordinator is asked about offsets: commit and fetch.

use std::sync::Arc;
use std::time::Duration;

use millstream_log::{Appended, VerificationGuard};
use millstream_wire::ErrorCode;
use uuid::Uuid;

use super::coordinator::GroupCoordinator;
use super::offsets::{CommittedOffset, PresentTopics};
use super::session::Committer;
use super::shard::{GroupEntry, Shard};
use crate::coordinator::{LedLog, Now, TopicPartition};

/// One offset of a commit.
#[derive(Clone, Debug)]
pub(crate) struct OffsetToCommit {
    pub(crate) partition: TopicPartition,
    /// The topic that the offset is in.
    pub(crate) topic_id: Uuid,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// One offset of a fetch: nothing committed is `None`.
pub type FetchedOffset = (TopicPartition, Result<Option<CommittedOffset>, ErrorCode>);

/// A commit within a transaction whose partition was verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerifiedProducer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) guard: Option<VerificationGuard>,
}

impl GroupCoordinator {
    /// An OffsetCommit: one result for each offset, in order, once what was
    /// accepted is durable.
    pub(crate) async fn commit_offsets(
        self: &Arc<Self>,
        group: &str,
        committer: Committer<'_>,
        retention_ms: Option<i64>,
        offsets: Vec<OffsetToCommit>,
    ) -> Vec<ErrorCode> {
        let count = offsets.len();
        let all = |error| vec![error; count];
        if group.is_empty() && !committer.is_anonymous() {
            return all(ErrorCode::InvalidGroupId);
        }
        let metadata_bytes_max = self.settings.metadata_bytes_max;
        let appended = self
            .with_group(group, |shard, now| {
                if shard.group(group).is_none() && committer.generation >= 0 {
                    return Err(ErrorCode::IllegalGeneration);
                }
                self.check_commit(shard, group, committer, false, now)?;
                let rules = AcceptRules {
                    metadata_bytes_max,
                    retention_ms,
                    present: &|topic| self.topic_id(topic),
                };
                let (accepted, results) = accept(offsets, rules, now);
                if accepted.is_empty() {
                    shard.forget_if_empty(group);
                    return Ok((None, results));
                }
                let appended = shard.commit(group, accepted, now)?;
                Ok((Some((shard.led.clone(), appended.lsn)), results))
            })
            .await;
        match appended {
            Ok(Ok((None, results))) => results,
            Ok(Ok((Some((led, lsn)), results))) => {
                let limit = Duration::from_millis(self.settings.commit_timeout_ms);
                match tokio::time::timeout(limit, led.flushed(lsn)).await {
                    Ok(Ok(())) => results,
                    Ok(Err(error)) => all(commit_error(error)),
                    Err(_) => all(ErrorCode::CoordinatorNotAvailable),
                }
            }
            Ok(Err(error)) | Err(error) => all(commit_error(error)),
        }
    }

    /// A commit within a transaction, appended and not yet flushed. The
    /// partition must be loaded.
    pub(crate) fn commit_in_transaction(
        self: &Arc<Self>,
        partition: i32,
        group: &str,
        committer: Committer<'_>,
        producer: VerifiedProducer,
        offsets: Vec<OffsetToCommit>,
    ) -> Result<(Option<Appended>, Vec<ErrorCode>), ErrorCode> {
        let metadata_bytes_max = self.settings.metadata_bytes_max;
        self.with_loaded(partition, |shard, now| {
            if shard.group(group).is_none() && committer.generation >= 0 {
                return Err(ErrorCode::IllegalGeneration);
            }
            self.check_commit(shard, group, committer, true, now)?;
            let rules = AcceptRules {
                metadata_bytes_max,
                retention_ms: None,
                present: &|topic| self.topic_id(topic),
            };
            let (accepted, results) = accept(offsets, rules, now);
            if accepted.is_empty() {
                shard.forget_if_empty(group);
                return Ok((None, results));
            }
            let appended = shard
                .commit_transactional(
                    group,
                    (producer.id, producer.epoch),
                    producer.guard,
                    accepted,
                    now,
                )
                .map_err(commit_error)?;
            Ok((Some(appended), results))
        })
        .unwrap_or(Err(ErrorCode::CoordinatorLoadInProgress))
    }

    /// Whether this member may commit. A stage's group takes commits from the
    /// members that hold it, and from nobody while none does.
    fn check_commit(
        &self,
        shard: &mut Shard,
        group: &str,
        committer: Committer<'_>,
        transactional: bool,
        now: Now,
    ) -> Result<(), ErrorCode> {
        let entry = shard.entry(group, now);
        let checked = if entry.held.is_held() || self.is_stage_group(group) {
            entry
                .held
                .check_commit(committer.member_id, committer.generation)
        } else {
            entry
                .membership
                .check_commit(committer, transactional, now.monotonic_ms)
        };
        if checked.is_err() {
            shard.forget_if_empty(group);
        }
        checked
    }

    /// The log of a loaded partition.
    pub(crate) fn led(self: &Arc<Self>, partition: i32) -> Option<LedLog> {
        self.with_loaded(partition, |shard, _| shard.led.clone())
    }

    /// An OffsetFetch: the named partitions, or all that have an offset. With
    /// `require_stable`, UNSTABLE_OFFSET_COMMIT for those that an open
    /// transaction may still change; a transaction that has ended and is only
    /// not flushed yet is waited for.
    pub(crate) async fn fetch_offsets(
        self: &Arc<Self>,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        require_stable: bool,
    ) -> Result<Vec<FetchedOffset>, ErrorCode> {
        let look = |shard: &mut Shard, _: Now| {
            let fetched = shard.group(group).map(|entry| {
                entry.fetch(partitions, require_stable, &|topic| self.topic_id(topic))
            });
            let unstable = fetched.iter().flatten().any(|(_, result)| result.is_err());
            let wait = shard
                .unsettled()
                .filter(|_| unstable)
                .map(|lsn| (shard.led.clone(), lsn));
            (fetched, wait)
        };
        let (mut fetched, wait) = self.with_group(group, look).await?;
        if let Some((led, lsn)) = wait {
            led.flushed(lsn).await?;
            (fetched, _) = self.with_group(group, look).await?;
        }
        Ok(fetched.unwrap_or_else(|| {
            let named = partitions.unwrap_or_default();
            named.iter().map(|one| (one.clone(), Ok(None))).collect()
        }))
    }
}

impl GroupEntry {
    fn fetch(
        &self,
        partitions: Option<&[TopicPartition]>,
        require_stable: bool,
        present: PresentTopics<'_>,
    ) -> Vec<FetchedOffset> {
        let look = |partition: &TopicPartition| {
            if require_stable && self.offsets.is_unstable(partition, present) {
                return Err(ErrorCode::UnstableOffsetCommit);
            }
            Ok(self.offsets.committed(partition, present).cloned())
        };
        match partitions {
            Some(named) => named.iter().map(|one| (one.clone(), look(one))).collect(),
            None => self
                .offsets
                .all_committed(present)
                .map(|(one, _)| (one.clone(), look(one)))
                .collect(),
        }
    }
}

type Accepted = Vec<(TopicPartition, CommittedOffset)>;

/// What decides about the offsets of a commit.
struct AcceptRules<'a> {
    metadata_bytes_max: usize,
    retention_ms: Option<i64>,
    present: PresentTopics<'a>,
}

/// Sorts out offsets whose metadata is too long, and those of a topic that was
/// deleted since the commit began. Runs under the lock under which the others
/// are appended, so that the records of one name stand in the order in which
/// its topics came.
fn accept(
    offsets: Vec<OffsetToCommit>,
    rules: AcceptRules<'_>,
    now: Now,
) -> (Accepted, Vec<ErrorCode>) {
    let retention_ms = rules.retention_ms;
    let mut accepted = Vec::with_capacity(offsets.len());
    let mut results = Vec::with_capacity(offsets.len());
    for one in offsets {
        if (rules.present)(&one.partition.topic) != Some(one.topic_id) {
            results.push(ErrorCode::UnknownTopicOrPartition);
            continue;
        }
        if one.metadata.len() > rules.metadata_bytes_max {
            results.push(ErrorCode::OffsetMetadataTooLarge);
            continue;
        }
        results.push(ErrorCode::None);
        let value = CommittedOffset {
            offset: one.offset,
            leader_epoch: one.leader_epoch,
            metadata: one.metadata,
            commit_ms: now.wall_ms,
            expire_ms: retention_ms.map(|retention_ms| now.wall_ms.saturating_add(retention_ms)),
            topic_id: one.topic_id,
        };
        accepted.push((one.partition, value));
    }
    (accepted, results)
}

/// What a client is told when its commit could not be written.
fn commit_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            ErrorCode::InvalidCommitOffsetSize
        }
        other => other,
    }
}
