//! Members with an instance id, which keep their share over a restart.

use super::*;
use crate::group::decision::JoinAnswer;

/// A stable group of one static member `one`, which leads it as `m1` and has all of it.
fn stable_with_one() -> Bench {
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
    assert_eq!(bench.group.state(), GroupState::Stable);
    bench
}

/// What the member is told when its new id is stored.
fn answer_once_stored(decisions: &[Decision]) -> &JoinAnswer {
    let [Decision::Store { then }] = decisions else {
        panic!("{decisions:?}");
    };
    let Reply::Join(_, answer) = &then[0] else {
        panic!("{then:?}");
    };
    answer
}

#[test]
fn a_static_member_that_restarts_keeps_its_share() {
    let mut bench = stable_with_one();
    let request = bench.request("", Some("one"));
    let back = bench.join(request);
    let answer = answer_once_stored(&back);
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
    let mut bench = stable_with_one();
    let mut request = bench.request("", Some("one"));
    request.supports_skipping_assignment = false;
    let back = bench.join(request);
    let answer = answer_once_stored(&back);
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
