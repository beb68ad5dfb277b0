//! A member's life between joins, decided: SyncGroup, Heartbeat, LeaveGroup,
//! the checks of an offset commit, and everything that time does.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_wire::ErrorCode;

use super::decision::{Decision, Reply, SyncAnswer};
use super::machine::{Group, GroupLimits, fail_waiting};
use super::member::RequestId;
use super::state::GroupState;

/// A SyncGroup.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    pub request: RequestId,
    pub member_id: String,
    pub instance_id: Option<String>,
    pub generation: i32,
    /// v5+: what the member believes the group speaks.
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// The leader's assignment; empty from everybody else.
    pub assignments: Vec<(String, Bytes)>,
}

/// Who commits offsets: member id, instance id and generation as sent; a
/// client that manages its partitions itself sends ("", none, -1).
#[derive(Clone, Copy, Debug)]
pub struct Committer<'a> {
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    pub generation: i32,
}

impl Committer<'_> {
    /// Whether it names no member at all.
    pub fn is_anonymous(&self) -> bool {
        self.generation < 0 && self.member_id.is_empty() && self.instance_id.is_none()
    }
}

impl Group {
    /// A SyncGroup. Its answer is among the decisions, at once or later.
    pub fn sync(&mut self, request: SyncRequest, now_ms: i64) -> Vec<Decision> {
        let mut decisions = Vec::new();
        let number = request.request;
        if let Err(error) = self.try_sync(request, now_ms, &mut decisions) {
            let answer = SyncAnswer::refused(error);
            decisions.push(Decision::Reply(Reply::Sync(number, answer)));
        }
        decisions
    }

    fn try_sync(
        &mut self,
        request: SyncRequest,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: &Option<String>, known: &Option<String>| {
            said.is_some() && known.is_some() && said != known
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::CompletingRebalance => {
                self.park_sync(request, now_ms, decisions);
                Ok(())
            }
            GroupState::Stable => {
                self.pending_sync.remove(&request.member_id);
                let answer = self.present_assignment(&request.member_id);
                if let Some(member) = self.members.get_mut(&request.member_id) {
                    member.touch(now_ms);
                }
                decisions.push(Decision::Reply(Reply::Sync(request.request, answer)));
                Ok(())
            }
        }
    }

    fn park_sync(&mut self, request: SyncRequest, now_ms: i64, decisions: &mut Vec<Decision>) {
        self.pending_sync.remove(&request.member_id);
        if let Some(member) = self.members.get_mut(&request.member_id) {
            member.touch(now_ms);
            if let Some(former) = member.awaiting_sync.replace(request.request) {
                let answer = SyncAnswer::refused(ErrorCode::RebalanceInProgress);
                decisions.push(Decision::Reply(Reply::Sync(former, answer)));
            }
        }
        if self.leader.as_deref() == Some(request.member_id.as_str()) {
            let mut given: BTreeMap<String, Bytes> = request.assignments.into_iter().collect();
            // Strangers are left out, and who was forgotten gets nothing.
            let assignment = self
                .members
                .keys()
                .map(|member_id| {
                    let share = given.remove(member_id).unwrap_or_default();
                    (member_id.clone(), share)
                })
                .collect();
            decisions.push(Decision::StoreAssignment {
                generation: self.generation,
                assignment,
            });
        }
    }

    /// The record with the leader's assignment is committed, or was refused.
    /// Nothing happens when the group has moved on since.
    pub fn assignment_stored(
        &mut self,
        generation: i32,
        result: Result<BTreeMap<String, Bytes>, ErrorCode>,
        limits: &GroupLimits,
        now_ms: i64,
    ) -> Vec<Decision> {
        let mut decisions = Vec::new();
        if self.state != GroupState::CompletingRebalance || self.generation != generation {
            return decisions;
        }
        match result {
            Ok(assignment) => {
                for (member_id, share) in assignment {
                    if let Some(member) = self.members.get_mut(&member_id) {
                        member.assignment = share;
                    }
                }
                self.change_to(GroupState::Stable);
                let ids: Vec<String> = self.members.keys().cloned().collect();
                for member_id in ids {
                    let answer = self.present_assignment(&member_id);
                    let Some(member) = self.members.get_mut(&member_id) else {
                        continue;
                    };
                    if let Some(request) = member.awaiting_sync.take() {
                        member.touch(now_ms);
                        decisions.push(Decision::Reply(Reply::Sync(request, answer)));
                    }
                }
            }
            Err(error) => {
                self.answer_syncs(error, now_ms, &mut decisions);
                self.rebalance_if_possible(limits, now_ms, &mut decisions);
            }
        }
        decisions
    }

    fn present_assignment(&self, member_id: &str) -> SyncAnswer {
        SyncAnswer {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self
                .members
                .get(member_id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }

    /// A Heartbeat.
    pub fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(now_ms);
        }
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => Ok(()),
            GroupState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// One member of a LeaveGroup: a dynamic member by its id, a static one by
    /// its instance id (with or without its member id).
    pub fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        limits: &GroupLimits,
        now_ms: i64,
    ) -> (Result<(), ErrorCode>, Vec<Decision>) {
        let mut decisions = Vec::new();
        let result = self.try_leave(member_id, instance_id, limits, now_ms, &mut decisions);
        (result, decisions)
    }

    fn try_leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        limits: &GroupLimits,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if instance_id.is_none() && self.pending_members.remove(member_id).is_some() {
            self.complete_join_if_all_came(now_ms, decisions);
            return Ok(());
        }
        let leaving = match instance_id {
            Some(instance_id) if member_id.is_empty() => self
                .static_members
                .get(instance_id)
                .cloned()
                .ok_or(ErrorCode::UnknownMemberId)?,
            _ => {
                self.check_member(member_id, instance_id)?;
                member_id.to_owned()
            }
        };
        self.remove_member(&leaving, limits, now_ms, decisions);
        Ok(())
    }

    fn remove_member(
        &mut self,
        member_id: &str,
        limits: &GroupLimits,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) {
        if let Some(mut member) = self.forget_member(member_id) {
            fail_waiting(&mut member, ErrorCode::UnknownMemberId, decisions);
        }
        self.rebalance_if_possible(limits, now_ms, decisions);
    }

    /// Whether this committer may commit offsets now; touches its session.
    pub fn check_commit(
        &mut self,
        committer: Committer<'_>,
        transactional: bool,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if committer.is_anonymous() {
            // Transactional commits of clients before KIP-447 name no member.
            return if transactional || self.state == GroupState::Empty {
                Ok(())
            } else {
                Err(ErrorCode::UnknownMemberId)
            };
        }
        self.check_member(committer.member_id, committer.instance_id)?;
        if committer.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if transactional {
            return Ok(());
        }
        match self.state {
            GroupState::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::Stable | GroupState::PreparingRebalance => {
                if let Some(member) = self.members.get_mut(committer.member_id) {
                    member.touch(now_ms);
                }
                Ok(())
            }
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// When [`Group::tick`] has something to do, if ever.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        let sessions = self
            .members
            .values()
            .filter(|member| member.is_watched())
            .map(|member| member.session_deadline_ms);
        let pending = self.pending_members.values().copied();
        let rebalance = self.rebalance.iter().map(|one| one.deadline_ms);
        let sync = (!self.pending_sync.is_empty()).then_some(self.sync_deadline_ms);
        sessions.chain(pending).chain(rebalance).chain(sync).min()
    }

    /// Lets everything happen that is due by `now_ms`.
    pub fn tick(&mut self, limits: &GroupLimits, now_ms: i64) -> Vec<Decision> {
        let mut decisions = Vec::new();
        self.expire_pending_members(now_ms, &mut decisions);
        self.expire_sessions(limits, now_ms, &mut decisions);
        self.expire_rebalance(limits, now_ms, &mut decisions);
        self.expire_syncs(limits, now_ms, &mut decisions);
        decisions
    }

    fn expire_pending_members(&mut self, now_ms: i64, decisions: &mut Vec<Decision>) {
        let before = self.pending_members.len();
        self.pending_members
            .retain(|_, until_ms| *until_ms > now_ms);
        if self.pending_members.len() != before {
            self.complete_join_if_all_came(now_ms, decisions);
        }
    }

    fn expire_sessions(
        &mut self,
        limits: &GroupLimits,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) {
        let silent: Vec<String> = self
            .members
            .values()
            .filter(|one| one.is_watched() && one.session_deadline_ms <= now_ms)
            .map(|one| one.member_id.clone())
            .collect();
        for member_id in silent {
            // An earlier one may have ended the rebalance and touched this one.
            let still = self
                .members
                .get(&member_id)
                .is_some_and(|one| one.is_watched() && one.session_deadline_ms <= now_ms);
            if still {
                self.remove_member(&member_id, limits, now_ms, decisions);
            }
        }
    }

    fn expire_rebalance(
        &mut self,
        limits: &GroupLimits,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) {
        let Some(rebalance) = &mut self.rebalance else {
            return;
        };
        if rebalance.deadline_ms > now_ms {
            return;
        }
        if let Some(initial) = &mut rebalance.initial
            && initial.member_came
            && initial.remaining_ms > 0
        {
            let delay_ms = i64::from(limits.initial_rebalance_delay_ms).min(initial.remaining_ms);
            initial.member_came = false;
            initial.remaining_ms -= delay_ms;
            rebalance.deadline_ms = now_ms.saturating_add(delay_ms);
            return;
        }
        self.complete_join(now_ms, decisions);
    }

    fn expire_syncs(&mut self, limits: &GroupLimits, now_ms: i64, decisions: &mut Vec<Decision>) {
        let waits_for_syncs = matches!(
            self.state,
            GroupState::CompletingRebalance | GroupState::Stable
        );
        if !waits_for_syncs || self.pending_sync.is_empty() || self.sync_deadline_ms > now_ms {
            return;
        }
        for member_id in std::mem::take(&mut self.pending_sync) {
            if let Some(mut member) = self.forget_member(&member_id) {
                fail_waiting(&mut member, ErrorCode::UnknownMemberId, decisions);
            }
        }
        self.rebalance_if_possible(limits, now_ms, decisions);
    }
}
