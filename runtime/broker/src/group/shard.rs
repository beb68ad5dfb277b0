//! One partition of `__consumer_offsets` with all its groups.
//!
//! Everything here is synchronous and runs under the shard's lock. What was
//! appended and what is committed are kept apart: a change waits in `queue`
//! until the high watermark has passed its record, and only then do groups,
//! and with them clients, see it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use millstream_log::{Appended, Lsn};
use millstream_records::Marker;
use millstream_wire::ErrorCode;
use tokio::sync::oneshot;

use super::decision::{Decision, JoinAnswer, Reply, SyncAnswer};
use super::held::HeldGroup;
use super::machine::{Group, GroupLimits};
use super::member::RequestId;
use super::offsets::{CommittedOffset, GroupOffsets};
use super::state::GroupState;
use super::stored;
use crate::coordinator::{LedLog, Now, TopicPartition, batch_of};

/// A request that waits for its group.
#[derive(Debug)]
pub(crate) enum Waiter {
    Join(oneshot::Sender<JoinAnswer>),
    Sync(oneshot::Sender<SyncAnswer>),
}

/// One group with everything that belongs to it.
#[derive(Debug)]
pub(crate) struct GroupEntry {
    pub(crate) membership: Group,
    pub(crate) offsets: GroupOffsets,
    pub(crate) held: HeldGroup,
    waiters: HashMap<RequestId, Waiter>,
}

impl GroupEntry {
    pub(super) fn new(wall_ms: i64) -> Self {
        Self {
            membership: Group::new(wall_ms),
            offsets: GroupOffsets::default(),
            held: HeldGroup::default(),
            waiters: HashMap::new(),
        }
    }
}

/// A change that was appended and is not committed yet.
#[derive(Debug)]
pub(super) enum Change {
    Offsets {
        group: String,
        offsets: Vec<(TopicPartition, CommittedOffset)>,
    },
    Tombstones {
        group: String,
        partitions: Vec<TopicPartition>,
    },
    End {
        producer_id: i64,
        marker: Marker,
    },
    Assignment {
        group: String,
        generation: i32,
        assignment: BTreeMap<String, Bytes>,
    },
    Told {
        group: String,
        replies: Vec<Reply>,
    },
}

/// One loaded partition.
pub(crate) struct Shard {
    pub(crate) led: LedLog,
    pub(super) limits: GroupLimits,
    pub(super) groups: HashMap<String, GroupEntry>,
    /// Groups in which a producer has pending offsets.
    pub(super) open: HashMap<i64, BTreeSet<String>>,
    /// Changes with the offset of the last record of each, in log order.
    queue: VecDeque<(i64, Change)>,
    /// Until where the queue must be flushed to drain.
    last_lsn: Option<Lsn>,
    /// Groups whose deadlines may have changed since they were last taken.
    pub(super) touched: BTreeSet<String>,
    next_request: RequestId,
    /// The node stops; see [`Shard::dismiss`].
    is_dismissed: bool,
}

impl Shard {
    /// A partition in which nothing is known yet.
    pub(super) fn new(led: LedLog, limits: GroupLimits) -> Self {
        Self {
            led,
            limits,
            groups: HashMap::new(),
            open: HashMap::new(),
            queue: VecDeque::new(),
            last_lsn: None,
            touched: BTreeSet::new(),
            next_request: 0,
            is_dismissed: false,
        }
    }

    /// A number under which a request is parked.
    pub(crate) fn number(&mut self) -> RequestId {
        self.next_request = self.next_request.wrapping_add(1);
        self.next_request
    }

    pub(crate) fn group(&self, group: &str) -> Option<&GroupEntry> {
        self.groups.get(group)
    }

    pub(crate) fn group_mut(&mut self, group: &str) -> Option<&mut GroupEntry> {
        self.groups.get_mut(group)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (&String, &GroupEntry)> {
        self.groups.iter()
    }

    /// The group, made when it does not exist.
    pub(crate) fn entry(&mut self, group: &str, now: Now) -> &mut GroupEntry {
        if !self.groups.contains_key(group) {
            self.groups
                .insert(group.to_owned(), GroupEntry::new(now.wall_ms));
        }
        self.groups.get_mut(group).expect("it was just inserted")
    }

    /// Parks a request until its group answers.
    pub(crate) fn park(&mut self, group: &str, number: RequestId, waiter: Waiter) {
        if let Some(entry) = self.groups.get_mut(group).filter(|_| !self.is_dismissed) {
            entry.waiters.insert(number, waiter);
        }
    }

    /// Lets go of every parked request, and parks none from now on: the node
    /// stops. Whoever waits learns that the coordinator is not available.
    pub(crate) fn dismiss(&mut self) {
        self.is_dismissed = true;
        for entry in self.groups.values_mut() {
            entry.waiters.clear();
        }
    }

    /// Runs an event of a group's membership and everything that follows.
    pub(crate) fn drive(
        &mut self,
        group: &str,
        now: Now,
        event: impl FnOnce(&mut Group, &GroupLimits) -> Vec<Decision>,
    ) {
        let limits = self.limits;
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        let before = entry.membership.state();
        let decisions = event(&mut entry.membership, &limits);
        entry.membership.validate();
        if entry.membership.state() != before {
            entry.membership.note_state_change(now.wall_ms);
            tracing::debug!(
                group,
                from = %before,
                to = %entry.membership.state(),
                generation = entry.membership.generation(),
                "group changed"
            );
        }
        self.touched.insert(group.to_owned());
        for decision in decisions {
            self.execute(group, decision, now);
        }
    }

    fn execute(&mut self, group: &str, decision: Decision, now: Now) {
        match decision {
            Decision::Reply(reply) => self.reply(group, reply),
            Decision::StoreAssignment {
                generation,
                assignment,
            } => match self.append_group(group, Some(&assignment), now) {
                Ok(appended) => self.enqueue(
                    appended,
                    Change::Assignment {
                        group: group.to_owned(),
                        generation,
                        assignment,
                    },
                ),
                Err(error) => self.drive(group, now, |membership, limits| {
                    let error = storing_failed(error);
                    membership.assignment_stored(generation, Err(error), limits, now.monotonic_ms)
                }),
            },
            Decision::Store { then } => match self.append_group(group, None, now) {
                Ok(appended) => self.enqueue(
                    appended,
                    Change::Told {
                        group: group.to_owned(),
                        replies: then,
                    },
                ),
                Err(error) => self.refuse(group, then, storing_failed(error)),
            },
        }
    }

    fn append_group(
        &mut self,
        group: &str,
        assignment: Option<&BTreeMap<String, Bytes>>,
        now: Now,
    ) -> Result<Appended, ErrorCode> {
        let entry = self.groups.get(group).ok_or(ErrorCode::GroupIdNotFound)?;
        let unencodable = |_| ErrorCode::UnknownServerError;
        let key = stored::group_key(group).map_err(unencodable)?;
        let value = stored::group_value(&entry.membership, assignment).map_err(unencodable)?;
        let batch = batch_of([(&key[..], Some(&value[..]))], now.wall_ms, None)?;
        self.led.append(batch, None)
    }

    fn reply(&mut self, group: &str, reply: Reply) {
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        // Whoever asked may be gone, with its connection; then nobody listens.
        match reply {
            Reply::Join(number, answer) => {
                if let Some(Waiter::Join(waiter)) = entry.waiters.remove(&number) {
                    let _ = waiter.send(answer);
                }
            }
            Reply::Sync(number, answer) => {
                if let Some(Waiter::Sync(waiter)) = entry.waiters.remove(&number) {
                    let _ = waiter.send(answer);
                }
            }
        }
    }

    fn refuse(&mut self, group: &str, replies: Vec<Reply>, error: ErrorCode) {
        for reply in replies {
            let refused = match reply {
                Reply::Join(number, answer) => {
                    Reply::Join(number, JoinAnswer::refused(error, &answer.member_id))
                }
                Reply::Sync(number, _) => Reply::Sync(number, SyncAnswer::refused(error)),
            };
            self.reply(group, refused);
        }
    }

    pub(super) fn enqueue(&mut self, appended: Appended, change: Change) {
        self.last_lsn = Some(appended.lsn);
        self.queue.push_back((appended.last_offset, change));
    }

    /// Lets everything happen whose record is committed. Called first by
    /// everything that looks at a group.
    pub(crate) fn settle(&mut self, now: Now) {
        if self.queue.is_empty() {
            return;
        }
        let high_watermark = self.led.high_watermark();
        while self
            .queue
            .front()
            .is_some_and(|(at, _)| *at < high_watermark)
        {
            let Some((at, change)) = self.queue.pop_front() else {
                break;
            };
            self.apply(at, change, now);
        }
    }

    fn apply(&mut self, at: i64, change: Change, now: Now) {
        match change {
            Change::Offsets { group, offsets } => {
                let entry = self.entry(&group, now);
                for (partition, value) in offsets {
                    entry.offsets.commit(partition, value, at);
                }
            }
            Change::Tombstones { group, partitions } => {
                if let Some(entry) = self.groups.get_mut(&group) {
                    for partition in &partitions {
                        entry.offsets.remove(partition, at);
                    }
                }
                self.forget_if_empty(&group);
            }
            Change::End {
                producer_id,
                marker,
            } => self.end_transaction(producer_id, marker, at),
            Change::Assignment {
                group,
                generation,
                assignment,
            } => self.drive(&group, now, |membership, limits| {
                membership.assignment_stored(generation, Ok(assignment), limits, now.monotonic_ms)
            }),
            Change::Told { group, replies } => {
                for reply in replies {
                    self.reply(&group, reply);
                }
            }
        }
    }

    pub(super) fn end_transaction(&mut self, producer_id: i64, marker: Marker, at: i64) {
        let Some(groups) = self.open.get_mut(&producer_id) else {
            return;
        };
        groups.retain(|group| {
            self.groups.get_mut(group).is_some_and(|entry| {
                let commit = marker == Marker::Commit;
                entry.offsets.end_transaction(producer_id, commit, at);
                entry.offsets.has_pending(producer_id)
            })
        });
        if groups.is_empty() {
            self.open.remove(&producer_id);
        }
    }

    /// The flush failed: nothing that waits for it will ever be committed.
    pub(crate) fn fail_queue(&mut self, now: Now) {
        for (_, change) in std::mem::take(&mut self.queue) {
            match change {
                Change::Assignment {
                    group, generation, ..
                } => self.drive(&group, now, |membership, limits| {
                    let error = ErrorCode::CoordinatorNotAvailable;
                    membership.assignment_stored(generation, Err(error), limits, now.monotonic_ms)
                }),
                Change::Told { group, replies } => {
                    self.refuse(&group, replies, ErrorCode::CoordinatorNotAvailable);
                }
                Change::Offsets { .. } | Change::Tombstones { .. } | Change::End { .. } => {}
            }
        }
    }

    /// What must be flushed before the queue is empty; none when it is.
    pub(crate) fn unsettled(&self) -> Option<Lsn> {
        (!self.queue.is_empty()).then_some(self.last_lsn).flatten()
    }

    /// Groups with commits or tombstones that are appended and not committed
    /// yet.
    pub(super) fn groups_in_flight(&self) -> BTreeSet<String> {
        let group = |(_, change): &(i64, Change)| match change {
            Change::Offsets { group, .. } | Change::Tombstones { group, .. } => Some(group.clone()),
            Change::End { .. } | Change::Assignment { .. } | Change::Told { .. } => None,
        };
        self.queue.iter().filter_map(group).collect()
    }

    /// Whether somebody waits for a change in the queue and for nothing else.
    pub(crate) fn owes_replies(&self) -> bool {
        self.queue.iter().any(|(_, change)| match change {
            Change::Assignment { .. } => true,
            Change::Told { replies, .. } => !replies.is_empty(),
            Change::Offsets { .. } | Change::Tombstones { .. } | Change::End { .. } => false,
        })
    }

    /// Groups whose deadlines may have changed, with their next one.
    pub(crate) fn take_deadlines(&mut self) -> Vec<(String, i64)> {
        std::mem::take(&mut self.touched)
            .into_iter()
            .filter_map(|group| {
                let deadline_ms = self.groups.get(&group)?.membership.next_deadline_ms()?;
                Some((group, deadline_ms))
            })
            .collect()
    }

    /// Forgets a group that nobody is in and that has no offsets.
    pub(crate) fn forget_if_empty(&mut self, group: &str) {
        let is_empty = self.groups.get(group).is_some_and(|entry| {
            let gone = entry.membership.state() == GroupState::Dead;
            let new = entry.membership.is_deserted() && entry.membership.generation() == 0;
            (gone || new)
                && entry.offsets.is_empty()
                && entry.waiters.is_empty()
                && !entry.held.is_held()
        });
        if is_empty {
            self.groups.remove(group);
        }
    }
}

/// What a client is told when its group's record could not be written; the
/// code must be one that makes it look for the coordinator and try again.
fn storing_failed(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::KafkaStorageError => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            ErrorCode::InvalidCommitOffsetSize
        }
        other => other,
    }
}
