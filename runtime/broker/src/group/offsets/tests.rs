use super::*;

/// The topic `flights` that there is.
const FLIGHTS: Uuid = Uuid::from_u128(7);
/// One of that name that was deleted before.
const FORMER: Uuid = Uuid::from_u128(6);

fn present(topic: &str) -> Option<Uuid> {
    (topic == "flights").then_some(FLIGHTS)
}

fn gone(_: &str) -> Option<Uuid> {
    None
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new("flights", index)
}

fn value(offset: i64) -> CommittedOffset {
    CommittedOffset {
        offset,
        leader_epoch: -1,
        metadata: String::new(),
        commit_ms: 1_000,
        expire_ms: None,
        topic_id: FLIGHTS,
    }
}

/// The same of another topic; nil: its record does not say of which.
fn value_of(topic_id: Uuid, offset: i64) -> CommittedOffset {
    CommittedOffset {
        topic_id,
        ..value(offset)
    }
}

fn committed(offsets: &GroupOffsets) -> Option<i64> {
    let committed = offsets.committed(&partition(0), &present);
    committed.map(|one| one.offset)
}

#[test]
fn a_transaction_commits_all_or_nothing() {
    for (commit, expected) in [(true, Some(7)), (false, Some(3))] {
        let mut offsets = GroupOffsets::default();
        offsets.commit(partition(0), value(3), 10);
        offsets.commit_pending(42, partition(0), value(7), 11);
        assert!(offsets.is_unstable(&partition(0), &present));
        assert_eq!(committed(&offsets), Some(3));
        offsets.end_transaction(42, commit, 12);
        assert!(!offsets.is_unstable(&partition(0), &present));
        assert_eq!(committed(&offsets), expected);
    }
}

#[test]
fn the_later_record_wins_whenever_it_materialised() {
    let mut offsets = GroupOffsets::default();
    offsets.commit_pending(42, partition(0), value(7), 11);
    offsets.commit(partition(0), value(9), 12);
    offsets.end_transaction(42, true, 13);
    assert_eq!(committed(&offsets), Some(9));
}

#[test]
fn transactions_of_two_producers_do_not_touch_each_other() {
    let mut offsets = GroupOffsets::default();
    offsets.commit_pending(1, partition(0), value(5), 10);
    offsets.commit_pending(2, partition(0), value(6), 11);
    offsets.end_transaction(2, false, 12);
    assert!(offsets.is_unstable(&partition(0), &present));
    offsets.end_transaction(1, true, 13);
    assert_eq!(committed(&offsets), Some(5));
}

#[test]
fn a_marker_leaves_the_next_transaction_of_its_producer_alone() {
    let mut offsets = GroupOffsets::default();
    offsets.commit_pending(1, partition(0), value(5), 10);
    offsets.commit_pending(1, partition(1), value(6), 12);
    offsets.end_transaction(1, true, 11);
    assert_eq!(committed(&offsets), Some(5));
    assert!(offsets.is_unstable(&partition(1), &present));
    assert_eq!(offsets.committed(&partition(1), &present), None);
}

#[test]
fn an_unknown_marker_changes_nothing() {
    let mut offsets = GroupOffsets::default();
    offsets.commit(partition(0), value(3), 10);
    let before = offsets.clone();
    offsets.end_transaction(99, true, 11);
    assert_eq!(offsets, before);
}

#[test]
fn offsets_expire_unless_a_transaction_holds_them() {
    let mut offsets = GroupOffsets::default();
    offsets.commit(partition(0), value(3), 10);
    offsets.commit(partition(1), value(3), 11);
    let mut own = value(3);
    own.expire_ms = Some(1_050);
    offsets.commit(partition(2), own, 12);
    offsets.commit_pending(1, partition(1), value(4), 13);
    assert_eq!(offsets.expired(1_049, 100, 0), []);
    assert_eq!(offsets.expired(1_099, 100, 0), [partition(2)]);
    assert_eq!(offsets.expired(1_100, 100, 0), [partition(0), partition(2)]);
    assert_eq!(offsets.expired(1_100, 100, 1_001), [partition(2)]);
}

#[test]
fn an_offset_of_another_topic_of_that_name_is_none() {
    let mut offsets = GroupOffsets::default();
    offsets.commit(partition(0), value_of(FORMER, 3), 10);
    offsets.commit(partition(1), value(4), 11);
    assert_eq!(committed(&offsets), None);
    let all: Vec<i32> = offsets
        .all_committed(&present)
        .map(|(partition, _)| partition.partition)
        .collect();
    assert_eq!(all, [1]);
    assert_eq!(offsets.all_committed(&gone).count(), 0);
    assert_eq!(offsets.stale(&present), [partition(0)]);
    assert_eq!(offsets.stale(&gone), [partition(0), partition(1)]);
    // The record of the present topic comes after it.
    offsets.commit(partition(0), value(5), 12);
    assert_eq!(committed(&offsets), Some(5));
    assert_eq!(offsets.stale(&present), []);
}

#[test]
fn a_pending_offset_of_a_topic_that_was_made_anew_never_becomes_one() {
    let mut offsets = GroupOffsets::default();
    offsets.commit_pending(42, partition(0), value_of(FORMER, 3), 10);
    assert!(!offsets.is_unstable(&partition(0), &present));
    assert_eq!(offsets.stale(&present), [], "not while it is pending");
    offsets.end_transaction(42, true, 11);
    assert_eq!(committed(&offsets), None);
    assert_eq!(offsets.stale(&present), [partition(0)]);
}

#[test]
fn a_late_end_does_not_bring_an_offset_of_the_former_topic_over_the_present_ones() {
    let mut offsets = GroupOffsets::default();
    offsets.commit_pending(42, partition(0), value_of(FORMER, 8), 10);
    offsets.commit(partition(0), value(2), 11);
    offsets.end_transaction(42, true, 12);
    assert_eq!(committed(&offsets), Some(2));
}

#[test]
fn offsets_whose_records_name_no_topic_are_of_the_one_that_is_there_when_they_are_read() {
    let mut offsets = GroupOffsets::default();
    offsets.commit(partition(0), value_of(Uuid::nil(), 3), 10);
    offsets.commit(partition(1), value(4), 11);
    offsets.commit_pending(42, partition(2), value_of(Uuid::nil(), 5), 12);
    assert_eq!(committed(&offsets), None, "not before it is known");
    offsets.adopt(&present);
    assert_eq!(committed(&offsets), Some(3));
    assert!(offsets.is_unstable(&partition(2), &present));
    let others = |topic_id| topic_id == FORMER;
    assert_eq!(offsets.unnamed(others), []);
    // The topic is deleted: their records must not be read again.
    let deleted = |topic_id| topic_id == FLIGHTS;
    assert_eq!(offsets.unnamed(deleted), [partition(0), partition(2)]);
    // One that a commit has replaced need not go.
    offsets.commit(partition(0), value(6), 13);
    assert_eq!(offsets.unnamed(deleted), [partition(2)]);
}

#[test]
fn offsets_without_an_id_whose_topic_is_not_there_are_none() {
    let mut offsets = GroupOffsets::default();
    offsets.commit(partition(0), value_of(Uuid::nil(), 3), 10);
    offsets.adopt(&gone);
    assert_eq!(
        offsets.unnamed(|topic_id| topic_id.is_nil()),
        [partition(0)]
    );
    // Nor when a topic of that name comes later.
    assert_eq!(committed(&offsets), None);
    assert_eq!(offsets.stale(&present), [partition(0)]);
}

#[test]
fn a_named_pending_commit_keeps_an_unnamed_one_from_being_removed_under_it() {
    let mut offsets = GroupOffsets::default();
    offsets.commit(partition(0), value_of(Uuid::nil(), 3), 10);
    offsets.adopt(&gone);
    offsets.commit_pending(42, partition(0), value(7), 11);
    assert_eq!(offsets.unnamed(|topic_id| topic_id.is_nil()), []);
    offsets.end_transaction(42, true, 12);
    assert_eq!(committed(&offsets), Some(7));
}

#[test]
fn a_tombstone_ends_what_stands_before_it_and_nothing_behind_it() {
    let mut offsets = GroupOffsets::default();
    offsets.commit(partition(0), value(3), 10);
    offsets.commit_pending(42, partition(0), value(4), 11);
    offsets.commit_pending(43, partition(0), value(5), 13);
    offsets.remove(&partition(0), 12);
    assert_eq!(committed(&offsets), None);
    offsets.end_transaction(42, true, 14);
    assert_eq!(committed(&offsets), None);
    assert!(!offsets.has_pending(42));
    offsets.end_transaction(43, true, 15);
    assert_eq!(committed(&offsets), Some(5));
    offsets.remove(&partition(0), 12);
    assert_eq!(committed(&offsets), Some(5));
    offsets.remove(&partition(0), 16);
    assert!(offsets.is_empty());
}
