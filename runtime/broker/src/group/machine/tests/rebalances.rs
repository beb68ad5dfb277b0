//! How a generation comes about: joins, the initial delay, the assignment, the protocol.

use super::*;

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
