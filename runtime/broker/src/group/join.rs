//! JoinGroup, decided: new and known members, dynamic and static ones.

use bytes::Bytes;
use millstream_wire::ErrorCode;

use super::decision::{Decision, JoinAnswer, Reply};
use super::machine::{Group, GroupLimits, NEW_MEMBER_JOIN_TIMEOUT_MS, fail_waiting};
use super::member::{Member, RequestId};
use super::state::GroupState;

/// A JoinGroup, and what the shell adds to it.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    pub request: RequestId,
    /// Empty for a member that has no id yet.
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    pub protocols: Vec<(String, Bytes)>,
    /// v4+: a member without an id is told one and must come again with it.
    pub require_known_member_id: bool,
    /// v9+: a static leader that comes back may be told to skip the assignment.
    pub supports_skipping_assignment: bool,
    /// A member id that nobody else has.
    pub fresh_member_id: String,
}

impl Group {
    /// A JoinGroup. Its answer is among the decisions, at once or later.
    pub fn join(
        &mut self,
        request: JoinRequest,
        limits: &GroupLimits,
        now_ms: i64,
    ) -> Vec<Decision> {
        let mut decisions = Vec::new();
        let number = request.request;
        let member_id = request.member_id.clone();
        if let Err(error) = self.try_join(request, limits, now_ms, &mut decisions) {
            let answer = JoinAnswer::refused(error, &member_id);
            decisions.push(Decision::Reply(Reply::Join(number, answer)));
        }
        decisions
    }

    fn try_join(
        &mut self,
        request: JoinRequest,
        limits: &GroupLimits,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) -> Result<(), ErrorCode> {
        if !(limits.session_timeout_ms_min..=limits.session_timeout_ms_max)
            .contains(&request.session_timeout_ms)
        {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if !self.has_room_for(&request, limits) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.supports(&request) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if request.member_id.is_empty() {
            self.join_without_id(request, limits, now_ms, decisions)
        } else {
            self.join_with_id(request, limits, now_ms, decisions)
        }
    }

    fn has_room_for(&self, request: &JoinRequest, limits: &GroupLimits) -> bool {
        let known = self.members.contains_key(&request.member_id)
            || request
                .instance_id
                .as_ref()
                .is_some_and(|instance_id| self.static_members.contains_key(instance_id));
        let pending = usize::from(!self.pending_members.contains_key(&request.member_id));
        known || self.members.len() + self.pending_members.len() + pending <= limits.members_max
    }

    /// Whether the member speaks something that every other member speaks too.
    fn supports(&self, request: &JoinRequest) -> bool {
        if self.members.is_empty() {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(request.protocol_type.as_str())
            && request
                .protocols
                .iter()
                .any(|(name, _)| self.members.values().all(|one| one.speaks(name)))
    }

    fn join_without_id(
        &mut self,
        request: JoinRequest,
        limits: &GroupLimits,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) -> Result<(), ErrorCode> {
        let known_instance = request
            .instance_id
            .as_ref()
            .and_then(|instance_id| self.static_members.get(instance_id).cloned());
        if let Some(old_member_id) = known_instance {
            self.replace_static_member(&old_member_id, request, limits, now_ms, decisions);
            return Ok(());
        }
        let member_id = request.fresh_member_id.clone();
        if request.instance_id.is_none() && request.require_known_member_id {
            let until_ms = now_ms.saturating_add(i64::from(request.session_timeout_ms));
            self.pending_members.insert(member_id.clone(), until_ms);
            let answer = JoinAnswer::refused(ErrorCode::MemberIdRequired, &member_id);
            decisions.push(Decision::Reply(Reply::Join(request.request, answer)));
            return Ok(());
        }
        self.add_member(member_id, request, limits, now_ms, decisions);
        Ok(())
    }

    fn join_with_id(
        &mut self,
        request: JoinRequest,
        limits: &GroupLimits,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) -> Result<(), ErrorCode> {
        let member_id = request.member_id.clone();
        if request.instance_id.is_none() && self.pending_members.remove(&member_id).is_some() {
            self.add_member(member_id, request, limits, now_ms, decisions);
            return Ok(());
        }
        self.check_member(&member_id, request.instance_id.as_deref())?;
        let unchanged = self
            .members
            .get(&member_id)
            .is_some_and(|member| member.protocols == request.protocols);
        let is_leader = self.leader.as_deref() == Some(member_id.as_str());
        match self.state {
            GroupState::CompletingRebalance if unchanged => {
                // It asks again because it never saw the answer.
                let mut answer = self.present_generation(&member_id);
                if is_leader {
                    answer.members = self.roll();
                }
                decisions.push(Decision::Reply(Reply::Join(request.request, answer)));
            }
            GroupState::Stable if unchanged && !is_leader => {
                let answer = self.present_generation(&member_id);
                decisions.push(Decision::Reply(Reply::Join(request.request, answer)));
            }
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Stable => {
                self.update_member(&member_id, request, now_ms, decisions);
                self.rebalance_if_possible(limits, now_ms, decisions);
            }
            GroupState::Empty | GroupState::Dead => return Err(ErrorCode::UnknownMemberId),
        }
        Ok(())
    }

    fn add_member(
        &mut self,
        member_id: String,
        request: JoinRequest,
        limits: &GroupLimits,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        if self.leader.is_none() {
            self.leader = Some(member_id.clone());
        }
        if let Some(instance_id) = &request.instance_id {
            self.static_members
                .insert(instance_id.clone(), member_id.clone());
        }
        if let Some(initial) = self
            .rebalance
            .as_mut()
            .and_then(|rebalance| rebalance.initial.as_mut())
        {
            initial.member_came = true;
        }
        let member = Member {
            member_id: member_id.clone(),
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            awaiting_join: Some(request.request),
            awaiting_sync: None,
            is_new: true,
            session_deadline_ms: now_ms.saturating_add(NEW_MEMBER_JOIN_TIMEOUT_MS),
        };
        // A parked join belongs to a rebalance, so it is begun first.
        let starts = self.state != GroupState::PreparingRebalance;
        self.members.insert(member_id, member);
        if starts {
            self.rebalance_if_possible(limits, now_ms, decisions);
        } else {
            self.complete_join_if_all_came(now_ms, decisions);
        }
    }

    fn update_member(
        &mut self,
        member_id: &str,
        request: JoinRequest,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        // A second JoinGroup of the same member (after a lost connection)
        // takes the place of the first, which gets told to try again.
        if let Some(former) = member.awaiting_join.replace(request.request) {
            let answer = JoinAnswer::refused(ErrorCode::RebalanceInProgress, member_id);
            decisions.push(Decision::Reply(Reply::Join(former, answer)));
        }
        member.protocols = request.protocols;
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        member.client_id = request.client_id;
        member.client_host = request.client_host;
        if !member.is_new {
            member.touch(now_ms);
        }
    }

    /// A static member came back without its id (it restarted): it gets a new
    /// id, the old one is fenced, and a stable group stays as it is as long as
    /// the choice of protocol does.
    fn replace_static_member(
        &mut self,
        old_member_id: &str,
        request: JoinRequest,
        limits: &GroupLimits,
        now_ms: i64,
        decisions: &mut Vec<Decision>,
    ) {
        let new_member_id = request.fresh_member_id.clone();
        let number = request.request;
        let supports_skipping = request.supports_skipping_assignment;
        let former_leader = self.leader.clone().unwrap_or_default();
        let Some(mut member) = self.members.remove(old_member_id) else {
            return;
        };
        fail_waiting(&mut member, ErrorCode::FencedInstanceId, decisions);
        let owed_sync = self.pending_sync.remove(old_member_id);
        member.member_id.clone_from(&new_member_id);
        member.protocols = request.protocols;
        member.session_timeout_ms = request.session_timeout_ms;
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.client_id = request.client_id;
        member.client_host = request.client_host;
        member.touch(now_ms);
        if let Some(instance_id) = &member.instance_id {
            self.static_members
                .insert(instance_id.clone(), new_member_id.clone());
        }
        let is_leader = former_leader == old_member_id;
        if is_leader {
            self.leader = Some(new_member_id.clone());
        }
        self.members.insert(new_member_id.clone(), member);

        if self.state == GroupState::Stable && self.select_protocol() == self.protocol {
            if owed_sync {
                self.pending_sync.insert(new_member_id.clone());
            }
            let mut answer = self.present_generation(&new_member_id);
            if supports_skipping {
                answer.skip_assignment = is_leader;
                if is_leader {
                    answer.members = self.roll();
                }
            } else {
                // Under the old leader's name, so that nobody assigns anew.
                answer.leader = former_leader;
            }
            decisions.push(Decision::Store {
                then: vec![Reply::Join(number, answer)],
            });
            return;
        }
        if let Some(member) = self.members.get_mut(&new_member_id) {
            member.awaiting_join = Some(number);
        }
        self.rebalance_if_possible(limits, now_ms, decisions);
    }
}
