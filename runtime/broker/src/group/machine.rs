//! The membership of one classic group, as a pure state machine.
//!
//! Events come in with the time, decisions go out; the shell
//! ([`super::coordinator`]) parks requests, writes records and sleeps until
//! [`Group::next_deadline_ms`]. The rules are those of Kafka's classic group
//! coordinator (`GroupCoordinator.scala`, `ClassicGroup.java`). Joining is in
//! `join.rs`, the rest of a member's life in `session.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use millstream_wire::ErrorCode;

use super::decision::{Decision, JoinAnswer, Reply, SyncAnswer};
use super::member::Member;
use super::state::GroupState;

/// How long a member that has never completed a join may wait for one.
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// Limits of the node that a group must know.
#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// `group.min.session.timeout.ms`
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub members_max: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            members_max: i32::MAX as usize,
        }
    }
}

/// A rebalance that waits for members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rebalance {
    pub(super) deadline_ms: i64,
    /// Set for the first rebalance of an empty group, which waits a little for
    /// more members instead of starting with the first.
    pub(super) initial: Option<InitialDelay>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InitialDelay {
    pub(super) remaining_ms: i64,
    pub(super) member_came: bool,
}

/// One classic group's membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub(super) state: GroupState,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Instance id → member id.
    pub(super) static_members: HashMap<String, String>,
    /// Member ids that were given out with MEMBER_ID_REQUIRED, until when.
    pub(super) pending_members: BTreeMap<String, i64>,
    pub(super) rebalance: Option<Rebalance>,
    /// Members that have not sent SyncGroup in this generation, until when.
    pub(super) pending_sync: BTreeSet<String>,
    pub(super) sync_deadline_ms: i64,
    /// Wall-clock time of the last change of state, for the record and expiry.
    pub(super) state_since_ms: i64,
}

impl Group {
    /// A group nobody has joined.
    pub fn new(wall_ms: i64) -> Self {
        Self {
            state: GroupState::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            pending_members: BTreeMap::new(),
            rebalance: None,
            pending_sync: BTreeSet::new(),
            sync_deadline_ms: 0,
            state_since_ms: wall_ms,
        }
    }

    pub fn state(&self) -> GroupState {
        self.state
    }

    pub fn generation(&self) -> i32 {
        self.generation
    }

    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    pub fn leader(&self) -> Option<&str> {
        self.leader.as_deref()
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Wall-clock time of the last change of state, in milliseconds.
    pub fn state_since_ms(&self) -> i64 {
        self.state_since_ms
    }

    /// Notes when the state changed; the machine itself has no wall clock.
    pub fn note_state_change(&mut self, wall_ms: i64) {
        self.state_since_ms = wall_ms;
    }

    /// Whether nobody is in it and nobody is about to be.
    pub fn is_deserted(&self) -> bool {
        self.state == GroupState::Empty && self.pending_members.is_empty()
    }

    /// The end: nobody may join, commit or be told anything any more.
    pub fn die(&mut self) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for member in self.members.values_mut() {
            fail_waiting(member, ErrorCode::CoordinatorNotAvailable, &mut decisions);
        }
        self.members.clear();
        self.static_members.clear();
        self.pending_members.clear();
        self.pending_sync.clear();
        self.rebalance = None;
        self.leader = None;
        self.change_to(GroupState::Dead);
        decisions
    }

    pub(super) fn change_to(&mut self, next: GroupState) {
        assert!(
            self.state.may_become(next),
            "group state {} cannot become {next}",
            self.state
        );
        self.state = next;
    }

    /// A member that names itself: known, not fenced.
    pub(super) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            return match self.static_members.get(instance_id) {
                None => Err(ErrorCode::UnknownMemberId),
                Some(known) if known != member_id => Err(ErrorCode::FencedInstanceId),
                Some(_) => Ok(()),
            };
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    /// Starts a rebalance when the state allows one, and ends the one that is
    /// under way when nobody is missing.
    pub(super) fn rebalance_if_possible(
        &mut self,
        limits: &GroupLimits,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) {
        match self.state {
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable => {
                self.start_rebalance(limits, now_ms, decisions);
            }
            GroupState::PreparingRebalance | GroupState::Dead => {}
        }
        self.complete_join_if_all_came(now_ms, decisions);
    }

    fn start_rebalance(
        &mut self,
        limits: &GroupLimits,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) {
        if self.state == GroupState::CompletingRebalance {
            self.answer_syncs(ErrorCode::RebalanceInProgress, now_ms, decisions);
        }
        self.pending_sync.clear();
        let timeout_ms = self.rebalance_timeout_ms();
        let delay_ms = i64::from(limits.initial_rebalance_delay_ms);
        self.rebalance = Some(if self.state == GroupState::Empty && delay_ms > 0 {
            Rebalance {
                deadline_ms: now_ms.saturating_add(delay_ms),
                initial: Some(InitialDelay {
                    remaining_ms: (timeout_ms - delay_ms).max(0),
                    member_came: false,
                }),
            }
        } else {
            Rebalance {
                deadline_ms: now_ms.saturating_add(timeout_ms),
                initial: None,
            }
        });
        self.change_to(GroupState::PreparingRebalance);
    }

    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms))
            .max()
            .unwrap_or(0)
            .max(0)
    }

    pub(super) fn complete_join_if_all_came(&mut self, now_ms: i64, decisions: &mut Vec<Decision>) {
        // The initial delay is waited out whoever has come; `tick` ends it.
        if self.state == GroupState::PreparingRebalance
            && self
                .rebalance
                .as_ref()
                .is_some_and(|one| one.initial.is_none())
            && self.pending_members.is_empty()
            && self.members.values().all(|one| one.awaiting_join.is_some())
        {
            self.complete_join(now_ms, decisions);
        }
    }

    /// Ends the joining: who has not come is out (static members may come
    /// later), everybody else is told the new generation.
    pub(super) fn complete_join(&mut self, now_ms: i64, decisions: &mut Vec<Decision>) {
        let missing: Vec<String> = self
            .members
            .values()
            .filter(|one| one.awaiting_join.is_none() && one.instance_id.is_none())
            .map(|one| one.member_id.clone())
            .collect();
        for member_id in missing {
            self.forget_member(&member_id);
        }
        if !self.members.is_empty() && !self.elect_leader_that_came() {
            // Only static members are left, and none of them has come.
            let deadline_ms = now_ms.saturating_add(self.rebalance_timeout_ms().max(1));
            self.rebalance = Some(Rebalance {
                deadline_ms,
                initial: None,
            });
            return;
        }
        self.rebalance = None;
        self.generation = match self.generation.checked_add(1) {
            Some(next) if next > 0 => next,
            _ => 1,
        };
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.change_to(GroupState::Empty);
            decisions.push(Decision::Store { then: Vec::new() });
            return;
        }
        self.protocol = self.select_protocol();
        self.change_to(GroupState::CompletingRebalance);
        self.sync_deadline_ms = now_ms.saturating_add(self.rebalance_timeout_ms());
        self.announce_generation(now_ms, decisions);
    }

    fn announce_generation(&mut self, now_ms: i64, decisions: &mut Vec<Decision>) {
        let leader = self.leader.clone().unwrap_or_default();
        let roll = self.roll();
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in ids {
            let mut answer = self.present_generation(&member_id);
            if member_id == leader {
                answer.members.clone_from(&roll);
            }
            let Some(member) = self.members.get_mut(&member_id) else {
                continue;
            };
            member.touch(now_ms);
            member.is_new = false;
            if let Some(request) = member.awaiting_join.take() {
                decisions.push(Decision::Reply(Reply::Join(request, answer)));
            }
            self.pending_sync.insert(member_id);
        }
    }

    /// All members with their metadata for the chosen protocol.
    pub(super) fn roll(&self) -> Vec<(String, Option<String>, Bytes)> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        self.members
            .values()
            .map(|member| {
                (
                    member.member_id.clone(),
                    member.instance_id.clone(),
                    member.metadata(protocol),
                )
            })
            .collect()
    }

    /// The present generation as JoinGroup tells it, without the members.
    pub(super) fn present_generation(&self, member_id: &str) -> JoinAnswer {
        JoinAnswer {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }

    fn elect_leader_that_came(&mut self) -> bool {
        let came = |member: &Member| member.awaiting_join.is_some();
        if self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader))
            .is_some_and(came)
        {
            return true;
        }
        match self.members.values().find(|member| came(member)) {
            Some(member) => {
                self.leader = Some(member.member_id.clone());
                true
            }
            None => false,
        }
    }

    /// Every member votes for the first of its protocols that all speak; the
    /// most votes win, ties go to the name that sorts first.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member
                .protocols
                .iter()
                .map(|(name, _)| name.as_str())
                .find(|name| self.members.values().all(|one| one.speaks(name)));
            if let Some(name) = vote {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name.to_owned())
    }

    /// Answers every parked SyncGroup with an error.
    pub(super) fn answer_syncs(
        &mut self,
        error: ErrorCode,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(request) = member.awaiting_sync.take() {
                member.touch(now_ms);
                decisions.push(Decision::Reply(Reply::Sync(
                    request,
                    SyncAnswer::refused(error),
                )));
            }
        }
    }

    /// Takes a member out of the books, without any consequence for the state.
    pub(super) fn forget_member(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id) == Some(&member.member_id)
        {
            self.static_members.remove(instance_id);
        }
        self.pending_sync.remove(member_id);
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Checks what must hold between two events.
    pub fn validate(&self) {
        let state = self.state;
        assert_eq!(
            state == GroupState::PreparingRebalance,
            self.rebalance.is_some(),
            "{state} and a rebalance under way"
        );
        if matches!(state, GroupState::Empty | GroupState::Dead) {
            assert!(self.members.is_empty(), "{state} with members");
            assert!(self.leader.is_none(), "{state} with a leader");
        }
        if matches!(state, GroupState::Stable | GroupState::CompletingRebalance) {
            assert!(!self.members.is_empty(), "{state} without members");
            assert!(self.leader.is_some(), "{state} without a leader");
            assert!(self.generation > 0, "{state} without a generation");
        }
        if let Some(leader) = &self.leader {
            assert!(self.members.contains_key(leader), "leader {leader} left");
        }
        for (instance_id, member_id) in &self.static_members {
            let member = self.members.get(member_id);
            assert!(
                member.is_some_and(|one| one.instance_id.as_ref() == Some(instance_id)),
                "static member {instance_id} is not {member_id}"
            );
        }
        for (member_id, member) in &self.members {
            assert_eq!(member_id, &member.member_id);
            assert!(
                !self.pending_members.contains_key(member_id),
                "member {member_id} is also pending"
            );
            if member.awaiting_join.is_some() {
                assert_eq!(state, GroupState::PreparingRebalance, "a parked join");
            }
            if member.awaiting_sync.is_some() {
                assert_eq!(state, GroupState::CompletingRebalance, "a parked sync");
            }
        }
        for member_id in &self.pending_sync {
            assert!(
                self.members.contains_key(member_id),
                "{member_id} owes a sync and is gone"
            );
        }
    }
}

/// Answers whatever `member` waits for with an error.
pub(super) fn fail_waiting(member: &mut Member, error: ErrorCode, decisions: &mut Vec<Decision>) {
    if let Some(request) = member.awaiting_join.take() {
        let answer = JoinAnswer::refused(error, &member.member_id);
        decisions.push(Decision::Reply(Reply::Join(request, answer)));
    }
    if let Some(request) = member.awaiting_sync.take() {
        let answer = SyncAnswer::refused(error);
        decisions.push(Decision::Reply(Reply::Sync(request, answer)));
    }
}

#[cfg(test)]
mod random_walk;
#[cfg(test)]
mod tests;
