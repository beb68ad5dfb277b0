//! Tables for the group machine: each step's replies are compared, and the
//! machine validates itself after each event.

use super::*;
use crate::group::join::JoinRequest;
use crate::group::member::RequestId;
use crate::group::session::{Committer, SyncRequest};

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
fn the_first_rebalance_waits_for_more_members_but_not_for_ever() {
    let mut bench = Bench::new();
    assert_eq!(bench.join_new(), []);
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance);
    assert_eq!(bench.group.next_deadline_ms(), Some(1_000 + DELAY));
    assert_eq!(bench.advance(DELAY - 1), []);
    assert_eq!(bench.join_new(), []);
    // Somebody came during the delay, so it is waited out once more.
    assert_eq!(bench.advance(1), []);
    assert_eq!(bench.group.next_deadline_ms(), Some(1_000 + 2 * DELAY));
    let done = bench.advance(DELAY);
    assert_eq!(
        joins(&done),
        [(1, ErrorCode::None, 1, 2), (2, ErrorCode::None, 1, 0)]
    );
    assert_eq!(bench.group.leader(), Some("m1"));
}

#[test]
fn the_initial_delay_ends_with_the_rebalance_timeout() {
    let mut bench = Bench::new();
    bench.join_new();
    let mut waited = 0;
    loop {
        bench.join_new();
        let done = bench.advance(DELAY);
        waited += DELAY;
        if !joins(&done).is_empty() {
            break;
        }
    }
    // The first delay, then what is left of 20 seconds in steps of it.
    assert_eq!(waited, DELAY * 7);
}

#[test]
fn new_clients_are_told_their_member_id_first() {
    let mut bench = Bench::without_delay();
    let mut request = bench.request("", None);
    request.require_known_member_id = true;
    let told = bench.join(request);
    assert_eq!(joins(&told), [(1, ErrorCode::MemberIdRequired, -1, 0)]);
    assert_eq!(bench.group.state(), GroupState::Empty);
    let mut request = bench.request("m1", None);
    request.require_known_member_id = true;
    let joined = bench.join(request);
    assert_eq!(joins(&joined), [(2, ErrorCode::None, 1, 1)]);
}

#[test]
fn a_member_id_that_is_never_used_expires() {
    let mut bench = Bench::without_delay();
    let mut request = bench.request("", None);
    request.require_known_member_id = true;
    bench.join(request);
    assert_eq!(bench.group.next_deadline_ms(), Some(11_000));
    bench.advance(10_000);
    assert!(bench.group.is_deserted());
    let late = bench.rejoin("m1");
    assert_eq!(joins(&late), [(2, ErrorCode::UnknownMemberId, -1, 0)]);
}

#[test]
fn bad_joins_are_refused() {
    let mut bench = Bench::stable_pair();
    bench.limits.members_max = 2;
    let change = |bench: &mut Bench, member_id: &str, change: fn(&mut JoinRequest)| {
        let mut request = bench.request(member_id, None);
        change(&mut request);
        joins(&bench.join(request))[0].1
    };
    type Edit = fn(&mut JoinRequest);
    let cases: [(&str, Edit, ErrorCode); 6] = [
        (
            "m1",
            |one| one.session_timeout_ms = 5_999,
            ErrorCode::InvalidSessionTimeout,
        ),
        (
            "m1",
            |one| one.session_timeout_ms = 1_800_001,
            ErrorCode::InvalidSessionTimeout,
        ),
        ("", |_| {}, ErrorCode::GroupMaxSizeReached),
        (
            "m1",
            |one| one.protocol_type = "connect".into(),
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            "m1",
            |one| one.protocols = vec![("other".into(), Bytes::new())],
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            "m1",
            |one| one.instance_id = Some("nobody".into()),
            ErrorCode::UnknownMemberId,
        ),
    ];
    for (member_id, edit, expected) in cases {
        assert_eq!(change(&mut bench, member_id, edit), expected);
    }
    bench.limits.members_max = 3;
    assert_eq!(
        change(&mut bench, "stranger", |_| {}),
        ErrorCode::UnknownMemberId
    );
    assert_eq!(bench.group.state(), GroupState::Stable);
}

#[test]
fn the_leaders_assignment_reaches_everybody() {
    let mut bench = Bench::without_delay();
    bench.join_new();
    let leader_sync = bench.sync("m1", &[("m1", "all")]);
    bench.store(leader_sync);
    assert_eq!(bench.join_new(), []);
    assert_eq!(bench.heartbeat("m1"), Err(ErrorCode::RebalanceInProgress));
    let done = bench.rejoin("m1");
    assert_eq!(joins(&done).len(), 2);
    let follower = bench.number + 1;
    assert_eq!(bench.sync("m3", &[]), []);
    let leader_sync = bench.sync("m1", &[("m1", "left"), ("m3", "right"), ("ghost", "x")]);
    let Decision::StoreAssignment { assignment, .. } = &leader_sync[0] else {
        panic!("{leader_sync:?}");
    };
    assert!(!assignment.contains_key("ghost"));
    let done = bench.store(leader_sync);
    assert_eq!(
        syncs(&done),
        [
            (follower + 1, ErrorCode::None, &b"left"[..]),
            (follower, ErrorCode::None, &b"right"[..]),
        ]
    );
    // A second SyncGroup gets the same answer.
    assert_eq!(syncs(&bench.sync("m3", &[]))[0].2, b"right");
}

#[test]
fn an_assignment_that_cannot_be_stored_fails_the_syncs_and_rebalances() {
    let mut bench = Bench::without_delay();
    bench.join_new();
    bench.sync("m1", &[("m1", "all")]);
    let decisions = bench.group.assignment_stored(
        1,
        Err(ErrorCode::CoordinatorNotAvailable),
        &bench.limits,
        bench.now,
    );
    bench.group.validate();
    assert_eq!(syncs(&decisions)[0].1, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn an_assignment_of_an_older_generation_is_ignored() {
    let mut bench = Bench::without_delay();
    bench.join_new();
    bench.sync("m1", &[("m1", "all")]);
    bench.join_new(); // starts a rebalance
    let stale = bench.group.assignment_stored(
        1,
        Ok(BTreeMap::from([("m1".into(), Bytes::new())])),
        &bench.limits,
        bench.now,
    );
    assert_eq!(stale, []);
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn sync_checks_generation_and_protocol() {
    let mut bench = Bench::stable_pair();
    let mut ask = |generation: i32, protocol: &str| {
        let decisions = bench.group.sync(
            SyncRequest {
                request: 99,
                member_id: "m1".into(),
                instance_id: None,
                generation,
                protocol_type: None,
                protocol: Some(protocol.into()),
                assignments: Vec::new(),
            },
            bench.now,
        );
        syncs(&decisions)[0].1
    };
    assert_eq!(ask(2, "range"), ErrorCode::None);
    assert_eq!(ask(1, "range"), ErrorCode::IllegalGeneration);
    assert_eq!(ask(2, "sticky"), ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn a_silent_member_is_removed_and_the_rest_rebalances() {
    let mut bench = Bench::stable_pair();
    bench.now += 9_000;
    assert_eq!(bench.heartbeat("m1"), Ok(()));
    bench.advance(1_000);
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance);
    assert_eq!(bench.heartbeat("m2"), Err(ErrorCode::UnknownMemberId));
    let done = bench.rejoin("m1");
    assert_eq!(joins(&done)[0].2, 3);
    assert_eq!(bench.group.members().count(), 1);
}

#[test]
fn who_does_not_rejoin_in_time_is_out() {
    let mut bench = Bench::stable_pair();
    let number = bench.number + 1;
    bench.join_new();
    let newcomer = format!("m{number}");
    // m1 and m2 keep their sessions up but never rejoin.
    for _ in 0..3 {
        bench.now += 6_000;
        assert_eq!(bench.heartbeat("m1"), Err(ErrorCode::RebalanceInProgress));
        assert_eq!(bench.heartbeat("m2"), Err(ErrorCode::RebalanceInProgress));
        bench.advance(0);
    }
    let done = bench.advance(2_000);
    assert_eq!(joins(&done), [(number, ErrorCode::None, 3, 1)]);
    assert_eq!(bench.group.leader(), Some(newcomer.as_str()));
}

#[test]
fn a_member_that_joins_and_never_syncs_is_removed() {
    let mut bench = Bench::without_delay();
    bench.join_new();
    bench.now += 9_000;
    bench.heartbeat("m1").unwrap();
    bench.now += 9_000;
    bench.heartbeat("m1").unwrap();
    bench.advance(2_000);
    assert_eq!(bench.group.state(), GroupState::Empty);
}

#[test]
fn the_last_member_that_leaves_empties_the_group() {
    let mut bench = Bench::stable_pair();
    let (left, _) = bench.leave("m2");
    assert_eq!(left, Ok(()));
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance);
    let (left, decisions) = bench.leave("m1");
    assert_eq!(left, Ok(()));
    assert_eq!(decisions, [Decision::Store { then: Vec::new() }]);
    assert_eq!(bench.group.state(), GroupState::Empty);
    assert_eq!(bench.group.generation(), 3);
    let (left, _) = bench.leave("m1");
    assert_eq!(left, Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_rejoin_disturbs_a_stable_group_only_when_something_changed() {
    let mut bench = Bench::stable_pair();
    let same = bench.rejoin("m2");
    assert_eq!(joins(&same)[0].2, 2);
    assert_eq!(bench.group.state(), GroupState::Stable);
    let mut request = bench.request("m2", None);
    request.protocols[0].1 = Bytes::from_static(b"v2");
    assert_eq!(bench.join(request), []);
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance);

    let mut bench = Bench::stable_pair();
    assert_eq!(bench.rejoin("m1"), [], "the leader forces a rebalance");
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_second_join_of_a_waiting_member_takes_the_place_of_the_first() {
    let mut bench = Bench::stable_pair();
    let first = bench.number + 1;
    bench.rejoin("m1");
    let again = bench.rejoin("m1");
    assert_eq!(
        joins(&again),
        [(first, ErrorCode::RebalanceInProgress, -1, 0)]
    );
    let done = bench.rejoin("m2");
    assert_eq!(joins(&done).len(), 2);
}

#[test]
fn the_protocol_that_most_members_prefer_wins() {
    let mut bench = Bench::new();
    for names in [["a", "b"], ["b", "a"], ["b", "a"]] {
        let mut request = bench.request("", None);
        request.protocols = names
            .iter()
            .map(|name| ((*name).into(), Bytes::new()))
            .collect();
        bench.join(request);
    }
    bench.advance(DELAY);
    bench.advance(DELAY);
    assert_eq!(bench.group.protocol(), Some("b"));
}

#[test]
fn a_static_member_that_restarts_keeps_its_share() {
    let mut bench = Bench::without_delay();
    let request = bench.request("", Some("one"));
    bench.join(request);
    let leader_sync = bench.group.sync(
        SyncRequest {
            request: 50,
            member_id: "m1".into(),
            instance_id: Some("one".into()),
            generation: 1,
            protocol_type: None,
            protocol: None,
            assignments: vec![("m1".into(), Bytes::from_static(b"all"))],
        },
        bench.now,
    );
    bench.store(leader_sync);

    let request = bench.request("", Some("one"));
    let back = bench.join(request);
    let [Decision::Store { then }] = &back[..] else {
        panic!("{back:?}");
    };
    let Reply::Join(_, answer) = &then[0] else {
        panic!("{then:?}");
    };
    assert_eq!(answer.error, ErrorCode::None);
    assert_eq!(answer.generation, 1);
    assert_eq!(answer.member_id, "m2");
    assert!(answer.skip_assignment);
    assert_eq!(bench.group.state(), GroupState::Stable);
    assert_eq!(
        bench.group.heartbeat("m1", Some("one"), 1, bench.now),
        Err(ErrorCode::FencedInstanceId)
    );
    assert_eq!(
        bench.group.heartbeat("m2", Some("one"), 1, bench.now),
        Ok(())
    );
    assert_eq!(bench.sync("m2", &[])[0], {
        let mut answer = SyncAnswer::refused(ErrorCode::None);
        answer.protocol_type = Some("consumer".into());
        answer.protocol = Some("range".into());
        answer.assignment = Bytes::from_static(b"all");
        Decision::Reply(Reply::Sync(bench.number, answer))
    });
}

#[test]
fn an_old_static_leader_is_not_told_that_it_leads() {
    let mut bench = Bench::without_delay();
    let request = bench.request("", Some("one"));
    bench.join(request);
    let leader_sync = bench.group.sync(
        SyncRequest {
            request: 50,
            member_id: "m1".into(),
            instance_id: Some("one".into()),
            generation: 1,
            protocol_type: None,
            protocol: None,
            assignments: Vec::new(),
        },
        bench.now,
    );
    bench.store(leader_sync);
    let mut request = bench.request("", Some("one"));
    request.supports_skipping_assignment = false;
    let back = bench.join(request);
    let [Decision::Store { then }] = &back[..] else {
        panic!("{back:?}");
    };
    let Reply::Join(_, answer) = &then[0] else {
        panic!("{then:?}");
    };
    assert_eq!(
        (answer.leader.as_str(), answer.skip_assignment),
        ("m1", false)
    );
}

#[test]
fn a_static_member_leaves_by_its_instance_id() {
    let mut bench = Bench::without_delay();
    let request = bench.request("", Some("one"));
    bench.join(request);
    let cases = [
        ("", "two", Err(ErrorCode::UnknownMemberId)),
        ("m9", "one", Err(ErrorCode::FencedInstanceId)),
        ("", "one", Ok(())),
    ];
    for (member_id, instance_id, expected) in cases {
        let (left, _) = bench
            .group
            .leave(member_id, Some(instance_id), &bench.limits, bench.now);
        bench.group.validate();
        assert_eq!(left, expected, "{member_id} {instance_id}");
    }
    assert_eq!(bench.group.state(), GroupState::Empty);
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
