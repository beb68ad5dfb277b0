//! The rules for producers as tables, and the two forms of their state.

use millstream_records::{
    BatchBuilder, BatchHeader, BatchOptions, Marker, ProducerStamp, build_marker,
};
use proptest::prelude::*;

use super::*;

/// The header of a batch of `count` records at `base_offset`.
fn header(
    id: i64,
    epoch: i16,
    sequence: i32,
    count: usize,
    base_offset: i64,
    transactional: bool,
) -> BatchHeader {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset,
        producer: Some(ProducerStamp {
            id,
            epoch,
            base_sequence: sequence,
        }),
        transactional,
        ..BatchOptions::default()
    });
    for _ in 0..count {
        builder
            .append(1000 + base_offset, None, Some(b"v"), [])
            .unwrap();
    }
    BatchHeader::parse(&builder.build().unwrap()).unwrap()
}

fn facts(header: &BatchHeader) -> BatchFacts<'_> {
    BatchFacts {
        header,
        marker: None,
        now_ms: 5000,
    }
}

/// Checks and, if it passes, applies.
fn add(
    states: &mut ProducerStates,
    header: &BatchHeader,
    origin: Origin,
    guard: Option<VerificationGuard>,
) -> Result<ProducerUpdate, ProducerError> {
    let mut update = ProducerUpdate::default();
    update.add(states, &facts(header), origin, guard)?;
    update.apply(states);
    Ok(update)
}

fn mark(
    states: &mut ProducerStates,
    marker: Marker,
    (id, epoch, coordinator_epoch): (i64, i16, i32),
    offset: i64,
) -> Result<ProducerUpdate, ProducerError> {
    let mut header =
        BatchHeader::parse(&build_marker(marker, id, epoch, coordinator_epoch, 1)).unwrap();
    header.base_offset = offset;
    let facts = BatchFacts {
        header: &header,
        marker: Some((marker, coordinator_epoch)),
        now_ms: 5000,
    };
    let mut update = ProducerUpdate::default();
    update.add(states, &facts, Origin::Coordinator, None)?;
    update.apply(states);
    Ok(update)
}

/// Producer 1 in epoch 3 has stored sequences 0 to 4.
fn five_stored() -> ProducerStates {
    let mut states = ProducerStates::default();
    for sequence in 0..5 {
        let header = header(1, 3, sequence, 1, i64::from(sequence), false);
        add(&mut states, &header, Origin::Client, None).unwrap();
    }
    states
}

#[test]
fn sequences_and_epochs_of_a_client_follow_kafkas_rules() {
    let out_of_order = |expected, epoch, found| {
        Err(ProducerError::OutOfOrderSequence {
            producer_id: 1,
            epoch,
            expected,
            found,
        })
    };
    let stale = Err(ProducerError::StaleEpoch {
        producer_id: 1,
        current: 3,
        found: 2,
    });
    for (case, epoch, sequence, expected) in [
        ("the next one", 3, 5, Ok(())),
        ("a gap", 3, 6, out_of_order(5, 3, 6)),
        (
            "one that was there, but not as a whole batch",
            3,
            4,
            out_of_order(5, 3, 4),
        ),
        ("a new epoch from 0", 4, 0, Ok(())),
        ("a new epoch from elsewhere", 4, 5, out_of_order(0, 4, 5)),
        ("an older epoch", 2, 5, stale.clone()),
        ("an older epoch from 0", 2, 0, stale),
    ] {
        let mut states = five_stored();
        let header = header(1, epoch, sequence, 2, 5, false);
        let result = add(&mut states, &header, Origin::Client, None).map(|_| ());
        assert_eq!(result, expected, "{case}");
    }
}

#[test]
fn a_producer_that_is_not_known_may_start_anywhere() {
    let mut states = ProducerStates::default();
    add(
        &mut states,
        &header(9, 7, 1234, 1, 0, false),
        Origin::Client,
        None,
    )
    .unwrap();
    assert_eq!(states.get(9).unwrap().last_sequence(), 1234);
}

#[test]
fn sequences_wrap_within_and_between_batches() {
    let mut states = ProducerStates::default();
    add(
        &mut states,
        &header(1, 0, i32::MAX - 1, 4, 0, false),
        Origin::Client,
        None,
    )
    .unwrap();
    assert_eq!(states.get(1).unwrap().last_sequence(), 1);
    let retried = header(1, 0, i32::MAX - 1, 4, 0, false);
    assert_eq!(states.find_duplicate(&retried).unwrap().base_offset(), 0);
    add(
        &mut states,
        &header(1, 0, 2, 1, 4, false),
        Origin::Client,
        None,
    )
    .unwrap();
    let mut states = ProducerStates::default();
    add(
        &mut states,
        &header(1, 0, i32::MAX, 1, 0, false),
        Origin::Client,
        None,
    )
    .unwrap();
    add(
        &mut states,
        &header(1, 0, 0, 1, 1, false),
        Origin::Client,
        None,
    )
    .unwrap();
}

#[test]
fn several_batches_of_one_append_see_each_other() {
    let states = five_stored();
    let mut update = ProducerUpdate::default();
    let (first, second, third) = (
        header(1, 3, 5, 1, 5, false),
        header(1, 3, 6, 1, 6, false),
        header(1, 3, 8, 1, 7, false),
    );
    update
        .add(&states, &facts(&first), Origin::Client, None)
        .unwrap();
    update
        .add(&states, &facts(&second), Origin::Client, None)
        .unwrap();
    update
        .add(&states, &facts(&third), Origin::Client, None)
        .unwrap_err();
    assert_eq!(
        states.get(1).unwrap().last_sequence(),
        4,
        "nothing holds before it is applied"
    );
}

#[test]
fn the_first_batch_of_a_transaction_needs_the_guard_of_its_verification() {
    for origin in [Origin::Client, Origin::Coordinator] {
        let mut states = ProducerStates::default();
        let first = header(1, 0, 0, 1, 10, true);
        let refused = Err(ProducerError::NotVerified {
            producer_id: 1,
            epoch: 0,
        });
        assert_eq!(add(&mut states, &first, origin, None).map(|_| ()), refused);
        let guard = states.verification_guard(1, 0, 0, 1).unwrap();
        let other = states.verification_guard(2, 0, 0, 1).unwrap();
        assert_eq!(
            add(&mut states, &first, origin, Some(other)).map(|_| ()),
            refused
        );
        assert_eq!(
            states.verification_guard(1, 0, 0, 1),
            Some(guard),
            "one attempt, one guard"
        );
        let update = add(&mut states, &first, origin, Some(guard)).unwrap();
        assert_eq!(
            update.changes,
            [TransactionChange::Started { first_offset: 10 }]
        );
        assert_eq!(states.verification_guard(1, 0, 1, 1), None, "it is open");
        let update = add(&mut states, &header(1, 0, 1, 1, 11, true), origin, None).unwrap();
        assert_eq!(update.changes, [], "later batches need none");
    }
}

#[test]
fn a_guard_does_not_survive_a_marker() {
    let mut states = ProducerStates::default();
    let guard = states.verification_guard(1, 0, 0, 1);
    mark(&mut states, Marker::Abort, (1, 0, 0), 0).unwrap();
    let first = header(1, 0, 0, 1, 1, true);
    add(&mut states, &first, Origin::Client, guard).unwrap_err();
    let fresh = states.verification_guard(1, 0, 0, 1);
    assert_ne!(fresh, guard);
    add(&mut states, &first, Origin::Client, fresh).unwrap();
}

#[test]
fn a_batch_may_not_overtake_one_that_is_being_verified() {
    let mut states = ProducerStates::default();
    let guard = states.verification_guard(1, 0, 0, 1);
    assert_eq!(states.verification_guard(1, 0, 3, 1), guard);
    let overtaking = header(1, 0, 3, 1, 0, true);
    add(&mut states, &overtaking, Origin::Client, guard).unwrap_err();
    add(
        &mut states,
        &header(1, 0, 0, 3, 0, true),
        Origin::Client,
        guard,
    )
    .unwrap();
    add(&mut states, &overtaking, Origin::Client, guard).unwrap();
}

#[test]
fn an_open_transaction_takes_transactional_batches_only() {
    let mut states = ProducerStates::default();
    let guard = states.verification_guard(1, 0, 0, 1);
    add(
        &mut states,
        &header(1, 0, 0, 1, 10, true),
        Origin::Client,
        guard,
    )
    .unwrap();
    let error = add(
        &mut states,
        &header(1, 0, 1, 1, 11, false),
        Origin::Client,
        None,
    )
    .unwrap_err();
    let expected = ProducerError::NotTransactional {
        producer_id: 1,
        first_offset: 10,
    };
    assert_eq!(error, expected);
}

#[test]
fn a_marker_ends_the_transaction_and_obeys_both_epochs() {
    let mut states = ProducerStates::default();
    let guard = states.verification_guard(1, 2, 0, 1);
    add(
        &mut states,
        &header(1, 2, 0, 1, 10, true),
        Origin::Client,
        guard,
    )
    .unwrap();
    let stale = mark(&mut states, Marker::Commit, (1, 1, 5), 11).unwrap_err();
    assert!(matches!(
        stale,
        ProducerError::StaleEpoch {
            current: 2,
            found: 1,
            ..
        }
    ));
    let update = mark(&mut states, Marker::Abort, (1, 3, 5), 11).unwrap();
    let completed = TransactionChange::Completed {
        first_offset: 10,
        marker_offset: 11,
    };
    assert_eq!(update.changes, [completed]);
    assert!(update.completed[0].aborted);
    let fenced = mark(&mut states, Marker::Commit, (1, 3, 4), 12).unwrap_err();
    assert!(matches!(
        fenced,
        ProducerError::StaleCoordinator {
            current: 5,
            found: 4,
            ..
        }
    ));
    let again = mark(&mut states, Marker::Abort, (1, 3, 5), 12).unwrap();
    assert_eq!(
        again.changes,
        [],
        "a marker without a transaction changes nothing"
    );
    let old = add(
        &mut states,
        &header(1, 2, 1, 1, 13, false),
        Origin::Client,
        None,
    )
    .unwrap_err();
    assert!(
        matches!(
            old,
            ProducerError::StaleEpoch {
                current: 3,
                found: 2,
                ..
            }
        ),
        "the marker fences"
    );
}

#[test]
fn the_same_epoch_goes_on_counting_after_a_marker() {
    let mut states = ProducerStates::default();
    let guard = states.verification_guard(1, 0, 0, 1);
    add(
        &mut states,
        &header(1, 0, 0, 3, 0, true),
        Origin::Client,
        guard,
    )
    .unwrap();
    mark(&mut states, Marker::Commit, (1, 0, 0), 3).unwrap();
    let guard = states.verification_guard(1, 0, 3, 1);
    add(
        &mut states,
        &header(1, 0, 3, 1, 4, true),
        Origin::Client,
        guard,
    )
    .unwrap();
}

#[test]
fn a_coordinators_batch_has_no_sequence() {
    let mut states = five_stored();
    let guard = states.verification_guard(1, 3, -1, 1);
    add(
        &mut states,
        &header(1, 3, -1, 2, 5, true),
        Origin::Coordinator,
        guard,
    )
    .unwrap();
    assert!(states.has_ongoing_transaction(1, 3));
    assert!(!states.has_ongoing_transaction(1, 4));
}

#[test]
fn silent_producers_are_forgotten_unless_a_transaction_is_open() {
    let mut states = five_stored();
    let guard = states.verification_guard(2, 0, 0, 1);
    add(
        &mut states,
        &header(2, 0, 0, 1, 5, true),
        Origin::Client,
        guard,
    )
    .unwrap();
    states.remove_expired(5000 + 99, 0, 100);
    assert!(states.get(1).is_some());
    states.remove_expired(5000 + 100, 0, 100);
    assert!(states.get(1).is_none());
    assert!(states.get(2).is_some());
    let guard = states.verification_guard(3, 0, 0, 1);
    // A guard has its age by the monotonic clock.
    states.remove_expired(i64::MAX, 100, 100);
    assert_eq!(states.verification_guard(3, 0, 0, 100), guard);
    states.remove_expired(0, 101, 100);
    assert_ne!(
        states.verification_guard(3, 0, 0, 102),
        guard,
        "so are verifications that never came to an append"
    );
}

#[test]
fn the_last_stable_offset_of_an_abort_is_the_next_open_transaction() {
    let mut states = ProducerStates::default();
    for (id, offset) in [(1, 10), (2, 11)] {
        let guard = states.verification_guard(id, 0, 0, 1);
        add(
            &mut states,
            &header(id, 0, 0, 1, offset, true),
            Origin::Client,
            guard,
        )
        .unwrap();
    }
    assert_eq!(states.last_stable_after(1, 12), 11);
    mark(&mut states, Marker::Abort, (2, 0, 0), 12).unwrap();
    assert_eq!(states.last_stable_after(1, 13), 14);
}

#[test]
fn a_snapshot_has_kafkas_bytes() {
    let mut states = ProducerStates::default();
    add(
        &mut states,
        &header(258, 3, 4, 2, 20, false),
        Origin::Client,
        None,
    )
    .unwrap();
    let bytes = states.to_snapshot();
    assert_eq!(bytes.len(), 10 + 46);
    assert_eq!(bytes[..2], [0, 1]);
    assert_eq!(bytes[6..10], [0, 0, 0, 1]);
    let entry = &bytes[10..];
    assert_eq!(entry[..8], 258_i64.to_be_bytes());
    assert_eq!(entry[8..10], 3_i16.to_be_bytes());
    assert_eq!(entry[10..14], 5_i32.to_be_bytes(), "last sequence");
    assert_eq!(entry[14..22], 21_i64.to_be_bytes(), "last offset");
    assert_eq!(entry[22..26], 1_i32.to_be_bytes(), "offset delta");
    assert_eq!(entry[26..34], 5000_i64.to_be_bytes(), "timestamp");
    assert_eq!(entry[34..38], (-1_i32).to_be_bytes(), "coordinator epoch");
    assert_eq!(entry[38..], (-1_i64).to_be_bytes(), "no open transaction");
}

fn entries() -> impl Strategy<Value = ProducerStates> {
    let batch = (0..i32::MAX, 0..1_000_i32, 0..i64::MAX / 2, any::<i64>());
    let entry = (
        0..i64::MAX,
        0..i16::MAX,
        any::<i32>(),
        0..i64::MAX,
        prop::option::of(0..i64::MAX),
        prop::collection::vec(batch, 0..7),
    );
    prop::collection::vec(entry, 0..6).prop_map(|entries| {
        let mut states = ProducerStates::default();
        for (id, epoch, coordinator_epoch, timestamp, open, batches) in entries {
            let mut entry = ProducerEntry::new(id);
            entry.set_epoch(epoch);
            entry.coordinator_epoch = coordinator_epoch;
            entry.last_timestamp = timestamp;
            entry.transaction_first_offset = open;
            for (last_sequence, offset_delta, last_offset, timestamp) in batches {
                entry.push_batch(StoredBatch {
                    last_sequence,
                    last_offset: last_offset + 1_000,
                    offset_delta,
                    timestamp,
                });
            }
            states.insert(entry);
        }
        states
    })
}

proptest! {
    #[test]
    fn the_checkpoints_form_keeps_everything(states in entries()) {
        let back = ProducerStates::from_checkpoint(&states.to_checkpoint()).unwrap();
        prop_assert_eq!(back.producers, states.producers);
    }

    #[test]
    fn a_snapshot_keeps_the_last_batch(states in entries()) {
        let back = ProducerStates::from_snapshot(&states.to_snapshot()).unwrap();
        prop_assert_eq!(back.producers.len(), states.producers.len());
        for entry in states.iter() {
            let found = back.get(entry.producer_id).unwrap();
            prop_assert_eq!(found.last_sequence(), entry.last_sequence());
            prop_assert_eq!(found.last_batch().map(|b| b.last_offset), entry.last_batch().map(|b| b.last_offset));
            prop_assert_eq!(found.transaction_first_offset, entry.transaction_first_offset);
            prop_assert_eq!(found.coordinator_epoch, entry.coordinator_epoch);
        }
    }

    #[test]
    fn a_changed_snapshot_is_refused(states in entries(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = states.to_snapshot();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(ProducerStates::from_snapshot(&bytes).is_err());
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ProducerStates::from_snapshot(&bytes);
        let _ = ProducerStates::from_checkpoint(&bytes);
    }
}
