//! What the group coordinator is asked by members: join, sync, heartbeat, leave.

use std::sync::Arc;

use millstream_wire::ErrorCode;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::coordinator::GroupCoordinator;
use super::decision::{JoinAnswer, SyncAnswer};
use super::held::HeldMember;
use super::join::JoinRequest;
use super::read_positions::ReadPositions;
use super::session::SyncRequest;
use super::shard::{GroupEntry, Waiter};
use super::state::GroupState;
use super::stored;
use crate::coordinator::TopicPartition;

impl GroupCoordinator {
    /// A JoinGroup; answers when the group's next generation is known.
    pub(crate) async fn join(
        self: &Arc<Self>,
        group: &str,
        mut request: JoinRequest,
    ) -> JoinAnswer {
        let member_id = request.member_id.clone();
        let refused = |error| JoinAnswer::refused(error, &member_id);
        if group.is_empty() {
            return refused(ErrorCode::InvalidGroupId);
        }
        if self.is_stage_group(group) {
            return refused(ErrorCode::InconsistentGroupProtocol);
        }
        let name = request.instance_id.as_ref().unwrap_or(&request.client_id);
        request.fresh_member_id = format!("{name}-{}", Uuid::new_v4());
        let (waiter, answer) = oneshot::channel();
        let parked = self
            .with_group(group, |shard, now| {
                match shard.group(group) {
                    Some(entry) if entry.held.is_held() => {
                        return Err(ErrorCode::InconsistentGroupProtocol);
                    }
                    None if !request.member_id.is_empty() => {
                        return Err(ErrorCode::UnknownMemberId);
                    }
                    Some(_) | None => {}
                }
                shard.entry(group, now);
                request.request = shard.number();
                shard.park(group, request.request, Waiter::Join(waiter));
                shard.drive(group, now, |membership, limits| {
                    membership.join(request, limits, now.monotonic_ms)
                });
                shard.forget_if_empty(group);
                Ok(())
            })
            .await;
        match parked {
            Ok(Ok(())) => answer
                .await
                .unwrap_or_else(|_| refused(ErrorCode::CoordinatorNotAvailable)),
            Ok(Err(error)) | Err(error) => refused(error),
        }
    }

    /// A SyncGroup; answers when the leader's assignment is committed.
    pub(crate) async fn sync(
        self: &Arc<Self>,
        group: &str,
        mut request: SyncRequest,
    ) -> SyncAnswer {
        let (waiter, answer) = oneshot::channel();
        let parked = self
            .with_group(group, |shard, now| {
                if shard.group(group).is_none() {
                    return Err(ErrorCode::UnknownMemberId);
                }
                request.request = shard.number();
                shard.park(group, request.request, Waiter::Sync(waiter));
                shard.drive(group, now, |membership, _| {
                    membership.sync(request, now.monotonic_ms)
                });
                Ok(())
            })
            .await;
        match parked {
            Ok(Ok(())) => answer
                .await
                .unwrap_or_else(|_| SyncAnswer::refused(ErrorCode::CoordinatorNotAvailable)),
            Ok(Err(error)) | Err(error) => SyncAnswer::refused(error),
        }
    }

    /// A Heartbeat.
    pub(crate) async fn heartbeat(
        self: &Arc<Self>,
        group: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.with_group(group, |shard, now| {
            let entry = shard.group_mut(group).ok_or(ErrorCode::UnknownMemberId)?;
            entry
                .membership
                .heartbeat(member_id, instance_id, generation, now.monotonic_ms)
        })
        .await?
    }

    /// A LeaveGroup: one result for each member (member id, instance id).
    pub(crate) async fn leave(
        self: &Arc<Self>,
        group: &str,
        members: &[(String, Option<String>)],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        self.with_group(group, |shard, now| {
            let mut results = Vec::with_capacity(members.len().min(1_024));
            for (member_id, instance_id) in members {
                let mut outcome = Err(ErrorCode::UnknownMemberId);
                shard.drive(group, now, |membership, limits| {
                    let (left, decisions) = membership.leave(
                        member_id,
                        instance_id.as_deref(),
                        limits,
                        now.monotonic_ms,
                    );
                    outcome = left;
                    decisions
                });
                results.push(outcome.err().unwrap_or(ErrorCode::None));
            }
            shard.forget_if_empty(group);
            results
        })
        .await
    }

    /// Puts a synthetic member into a group, which from then on is held: nobody
    /// else may join it or commit to it. Errors:
    /// NON_EMPTY_GROUP while other members are in it, FENCED_INSTANCE_ID when
    /// a newer task of the same name is.
    pub(crate) async fn hold(
        self: &Arc<Self>,
        group: &str,
        mut member: HeldMember,
    ) -> Result<(), ErrorCode> {
        let unencodable = |_| ErrorCode::InvalidRequest;
        member.subscription = stored::subscription(&member.partitions).map_err(unencodable)?;
        stored::assignment(&member.partitions, None).map_err(unencodable)?;
        self.with_group(group, |shard, now| {
            let entry = shard.entry(group, now);
            match entry.membership.state() {
                GroupState::Empty if entry.membership.is_deserted() => entry.held.hold(member),
                GroupState::Dead => Err(ErrorCode::CoordinatorNotAvailable),
                _ => Err(ErrorCode::NonEmptyGroup),
            }
        })
        .await?
    }

    /// How far a synthetic member has read, for its task to write; `None` when the group holds no such member.
    pub(crate) async fn read_positions(
        self: &Arc<Self>,
        group: &str,
        member_id: &str,
        generation: i32,
    ) -> Result<Option<Arc<ReadPositions>>, ErrorCode> {
        self.with_group(group, |shard, _| {
            let member = shard.group(group)?.held.member(member_id, generation)?;
            Some(Arc::clone(&member.positions))
        })
        .await
    }

    /// Takes a synthetic member out of a group.
    pub(crate) async fn release(
        self: &Arc<Self>,
        group: &str,
        member_id: &str,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.with_group(group, |shard, _| {
            if let Some(entry) = shard.group_mut(group) {
                entry.held.release(member_id, generation);
            }
            shard.forget_if_empty(group);
        })
        .await
    }
}

/// A synthetic member for [`GroupCoordinator::hold`].
pub(crate) fn held_member(
    member_id: &str,
    client_id: &str,
    generation: i32,
    partitions: Vec<TopicPartition>,
) -> HeldMember {
    HeldMember {
        member_id: member_id.to_owned(),
        client_id: client_id.to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        generation,
        positions: Arc::new(ReadPositions::new(&partitions)),
        partitions,
        subscription: bytes::Bytes::new(),
    }
}

impl GroupEntry {
    /// The state that tools are told.
    pub(super) fn shown_state(&self) -> GroupState {
        if self.held.is_held() {
            GroupState::Stable
        } else {
            self.membership.state()
        }
    }
}
