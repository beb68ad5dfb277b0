//! Members that fall silent, come too late or leave.

use super::*;

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
