//! Tables for the group machine: each step's replies are compared, and the
//! machine validates itself after each event.

use super::*;
use crate::group::join::JoinRequest;
use crate::group::member::RequestId;
use crate::group::session::{Committer, SyncRequest};

mod departures;
mod rebalances;
mod static_members;

const DELAY: i64 = 3_000;

/// A group, the time, and the requests' numbers.
struct Bench {
    group: Group,
    limits: GroupLimits,
    now: i64,
    number: RequestId,
}

impl Bench {
    fn new() -> Self {
        Self {
            group: Group::new(0),
            limits: GroupLimits::default(),
            now: 1_000,
            number: 0,
        }
    }

    fn without_delay() -> Self {
        let mut bench = Self::new();
        bench.limits.initial_rebalance_delay_ms = 0;
        bench
    }

    fn request(&mut self, member_id: &str, instance_id: Option<&str>) -> JoinRequest {
        self.number += 1;
        JoinRequest {
            request: self.number,
            member_id: member_id.into(),
            instance_id: instance_id.map(Into::into),
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"v1"))],
            require_known_member_id: false,
            supports_skipping_assignment: true,
            fresh_member_id: format!("m{}", self.number),
        }
    }

    fn join(&mut self, request: JoinRequest) -> Vec<Decision> {
        let decisions = self.group.join(request, &self.limits, self.now);
        self.group.validate();
        decisions
    }

    fn join_new(&mut self) -> Vec<Decision> {
        let request = self.request("", None);
        self.join(request)
    }

    fn rejoin(&mut self, member_id: &str) -> Vec<Decision> {
        let request = self.request(member_id, None);
        self.join(request)
    }

    fn sync(&mut self, member_id: &str, assignments: &[(&str, &'static str)]) -> Vec<Decision> {
        self.number += 1;
        let generation = self.group.generation();
        let decisions = self.group.sync(
            SyncRequest {
                request: self.number,
                member_id: member_id.into(),
                instance_id: None,
                generation,
                protocol_type: Some("consumer".into()),
                protocol: self.group.protocol().map(Into::into),
                assignments: assignments
                    .iter()
                    .map(|(id, share)| ((*id).into(), Bytes::from_static(share.as_bytes())))
                    .collect(),
            },
            self.now,
        );
        self.group.validate();
        decisions
    }

    /// Commits the assignment that a leader's SyncGroup asked to store.
    fn store(&mut self, decisions: Vec<Decision>) -> Vec<Decision> {
        let mut replies = Vec::new();
        for decision in decisions {
            match decision {
                Decision::StoreAssignment {
                    generation,
                    assignment,
                } => replies.extend(self.group.assignment_stored(
                    generation,
                    Ok(assignment),
                    &self.limits,
                    self.now,
                )),
                other => replies.push(other),
            }
        }
        self.group.validate();
        replies
    }

    fn advance(&mut self, ms: i64) -> Vec<Decision> {
        self.now += ms;
        let decisions = self.group.tick(&self.limits, self.now);
        self.group.validate();
        decisions
    }

    fn heartbeat(&mut self, member_id: &str) -> Result<(), ErrorCode> {
        let generation = self.group.generation();
        self.group.heartbeat(member_id, None, generation, self.now)
    }

    fn leave(&mut self, member_id: &str) -> (Result<(), ErrorCode>, Vec<Decision>) {
        let outcome = self.group.leave(member_id, None, &self.limits, self.now);
        self.group.validate();
        outcome
    }

    /// Members `m1` (leader) and `m2`, stable, in generation 2.
    fn stable_pair() -> Self {
        let mut bench = Self::without_delay();
        bench.join_new();
        let leader_sync = bench.sync("m1", &[("m1", "all")]);
        bench.store(leader_sync);
        bench.number = 1;
        bench.join_new();
        bench.rejoin("m1");
        let parked = bench.sync("m2", &[]);
        assert_eq!(parked, []);
        let leader_sync = bench.sync("m1", &[("m1", "left"), ("m2", "right")]);
        bench.store(leader_sync);
        assert_eq!(bench.group.state(), GroupState::Stable);
        assert_eq!(bench.group.generation(), 2);
        bench
    }
}

fn joins(decisions: &[Decision]) -> Vec<(RequestId, ErrorCode, i32, usize)> {
    decisions
        .iter()
        .filter_map(|decision| match decision {
            Decision::Reply(Reply::Join(number, answer)) => Some((
                *number,
                answer.error,
                answer.generation,
                answer.members.len(),
            )),
            _ => None,
        })
        .collect()
}

fn syncs(decisions: &[Decision]) -> Vec<(RequestId, ErrorCode, &[u8])> {
    decisions
        .iter()
        .filter_map(|decision| match decision {
            Decision::Reply(Reply::Sync(number, answer)) => {
                Some((*number, answer.error, &answer.assignment[..]))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn commits_are_checked_against_membership() {
    let who = |member_id, generation| Committer {
        member_id,
        instance_id: None,
        generation,
    };
    let mut empty = Group::new(0);
    assert_eq!(empty.check_commit(who("", -1), false, 0), Ok(()));
    assert_eq!(
        empty.check_commit(who("m1", 1), false, 0),
        Err(ErrorCode::UnknownMemberId)
    );

    let mut bench = Bench::stable_pair();
    let cases = [
        (who("m1", 2), false, Ok(())),
        (who("m1", 1), false, Err(ErrorCode::IllegalGeneration)),
        (who("x", 2), false, Err(ErrorCode::UnknownMemberId)),
        (who("", -1), false, Err(ErrorCode::UnknownMemberId)),
        (who("", -1), true, Ok(())),
        (who("m1", 2), true, Ok(())),
        (who("m1", 1), true, Err(ErrorCode::IllegalGeneration)),
        (who("x", 2), true, Err(ErrorCode::UnknownMemberId)),
    ];
    for (committer, transactional, expected) in cases {
        assert_eq!(
            bench
                .group
                .check_commit(committer, transactional, bench.now),
            expected,
            "{committer:?} {transactional}"
        );
    }
    bench.rejoin("m1");
    assert_eq!(
        bench.group.check_commit(who("m2", 2), false, bench.now),
        Ok(()),
        "a commit before rejoining is what rebalances are for"
    );
    bench.rejoin("m2");
    assert_eq!(
        bench.group.check_commit(who("m2", 3), false, bench.now),
        Err(ErrorCode::RebalanceInProgress)
    );
}

#[test]
fn death_answers_everybody_who_waits() {
    let mut bench = Bench::new();
    bench.join_new();
    let decisions = bench.group.die();
    bench.group.validate();
    assert_eq!(joins(&decisions)[0].1, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(
        joins(&bench.join_new())[0].1,
        ErrorCode::CoordinatorNotAvailable
    );
}
