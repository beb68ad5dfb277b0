use super::*;

const NOW: i64 = 1_000_000;
/// What the monotonic clock shows meanwhile.
const MONOTONIC: i64 = 500;
const TIMEOUT: i32 = 60_000;

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new("out", index)
}

/// A producer (7, 3) in the given state.
fn at(state: TransactionState) -> Transaction {
    let open = !state.is_idle() && state != TransactionState::Dead;
    let transaction = Transaction {
        producer_id: 7,
        producer_epoch: 3,
        timeout_ms: TIMEOUT,
        state,
        partitions: if open {
            BTreeSet::from([partition(0)])
        } else {
            BTreeSet::new()
        },
        start_ms: if open { NOW - 10 } else { NO_TIMESTAMP },
        last_update_ms: NOW - 10,
        deadline_ms: (state == Ongoing).then_some(MONOTONIC + i64::from(TIMEOUT)),
        ..Transaction::default()
    };
    transaction.validate();
    transaction
}

fn now(wall_ms: i64, monotonic_ms: i64) -> Now {
    Now {
        monotonic_ms,
        wall_ms,
    }
}

fn producer(id: i64, epoch: i16) -> Producer {
    Producer { id, epoch }
}

fn init(expected: Option<Producer>) -> InitRequest {
    InitRequest {
        expected,
        timeout_ms: TIMEOUT,
        fresh_producer_id: None,
    }
}

fn assigned(transaction: &Transaction, request: &InitRequest) -> Transaction {
    match transaction.init_producer_id(request, NOW) {
        Ok(InitDecision::Assign(next)) => {
            next.validate();
            next
        }
        other => panic!("{other:?}"),
    }
}

use TransactionState::*;

#[test]
fn a_new_transactional_id_needs_a_producer_id_and_starts_at_epoch_zero() {
    let new = Transaction::default();
    new.validate();
    assert_eq!(
        new.init_producer_id(&init(None), NOW),
        Ok(InitDecision::NeedProducerId)
    );
    let request = InitRequest {
        fresh_producer_id: Some(40),
        ..init(None)
    };
    let next = assigned(&new, &request);
    assert_eq!(next.producer(), producer(40, 0));
    assert_eq!(next.timeout_ms, TIMEOUT);
    assert_eq!(next.state, Empty);
}

#[test]
fn an_expired_id_takes_back_a_producer_that_still_knows_itself() {
    let request = InitRequest {
        fresh_producer_id: Some(40),
        ..init(Some(producer(7, 3)))
    };
    let next = assigned(&Transaction::default(), &request);
    assert_eq!(next.producer(), producer(40, 0));
}

#[test]
fn every_idle_state_bumps_the_epoch() {
    for state in [Empty, CompleteCommit, CompleteAbort] {
        let next = assigned(&at(state), &init(None));
        assert_eq!(next.producer(), producer(7, 4), "{state:?}");
        assert_eq!(next.last_producer_epoch, NO_PRODUCER_EPOCH);
        assert_eq!(next.state, Empty);
    }
}

#[test]
fn a_producer_that_names_itself_continues_repeats_or_is_fenced() {
    let mut current = at(CompleteCommit);
    current.last_producer_epoch = 2;
    let cases = [
        (producer(7, 3), Ok(Some(producer(7, 4)))), // itself: bumped
        (producer(7, 2), Ok(None)),                 // its request before: the same answer
        (producer(7, 1), Err(ErrorCode::ProducerFenced)),
        (producer(7, 4), Err(ErrorCode::ProducerFenced)),
        (producer(8, 3), Err(ErrorCode::ProducerFenced)),
    ];
    for (expected, outcome) in cases {
        let decision = current.init_producer_id(&init(Some(expected)), NOW);
        match outcome {
            Ok(Some(next)) => {
                let Ok(InitDecision::Assign(got)) = decision else {
                    panic!("{expected:?}: {decision:?}");
                };
                assert_eq!(got.producer(), next);
                assert_eq!(got.last_producer_epoch, 3);
            }
            Ok(None) => assert_eq!(decision, Ok(InitDecision::Repeat(producer(7, 3)))),
            Err(error) => assert_eq!(decision, Err(error), "{expected:?}"),
        }
    }
}

#[test]
fn an_exhausted_epoch_rotates_the_producer_id_and_knows_the_repetition() {
    let mut exhausted = at(CompleteCommit);
    exhausted.producer_epoch = EXHAUSTED_EPOCH;
    for expected in [None, Some(producer(7, EXHAUSTED_EPOCH))] {
        assert_eq!(
            exhausted.init_producer_id(&init(expected), NOW),
            Ok(InitDecision::NeedProducerId)
        );
    }
    let request = InitRequest {
        fresh_producer_id: Some(8),
        ..init(Some(producer(7, EXHAUSTED_EPOCH)))
    };
    let rotated = assigned(&exhausted, &request);
    assert_eq!(rotated.producer(), producer(8, 0));
    assert_eq!(rotated.previous_producer_id, 7);
    assert_eq!(
        rotated.init_producer_id(&request, NOW),
        Ok(InitDecision::Repeat(producer(8, 0)))
    );
    // A zombie of the old id is no repetition.
    assert_eq!(
        rotated.init_producer_id(&init(Some(producer(7, 12))), NOW),
        Err(ErrorCode::ProducerFenced)
    );
}

/// It initialises again inside its transaction, with the last epoch that a producer gets, and repeats that request
/// after a time-out. The epoch that fenced it is the last of all, and nobody could fence it in turn.
#[test]
fn the_last_epoch_of_all_is_given_to_nobody() {
    let mut open = at(Ongoing);
    open.producer_epoch = EXHAUSTED_EPOCH;
    let own = Some(producer(7, EXHAUSTED_EPOCH));
    let Ok(InitDecision::Abort(fenced)) = open.init_producer_id(&init(own), NOW) else {
        panic!("no abort");
    };
    assert_eq!(fenced.producer_epoch, i16::MAX);
    let done = fenced.complete(NOW).unwrap();
    assert_eq!(
        done.init_producer_id(&init(own), NOW),
        Ok(InitDecision::NeedProducerId)
    );
    let request = InitRequest {
        fresh_producer_id: Some(8),
        ..init(own)
    };
    let rotated = assigned(&done, &request);
    assert_eq!(rotated.producer(), producer(8, 0));
    // And its repetition is known.
    assert_eq!(
        rotated.init_producer_id(&init(own), NOW),
        Ok(InitDecision::Repeat(producer(8, 0)))
    );
}

#[test]
fn a_record_of_the_last_epoch_of_all_is_aborted_without_a_fence() {
    let mut open = at(Ongoing);
    open.producer_epoch = i16::MAX;
    let aborted = open.time_out(now(NOW, i64::MAX)).unwrap();
    assert_eq!(aborted.producer(), producer(7, i16::MAX));
}

#[test]
fn an_open_transaction_is_aborted_under_a_bumped_epoch() {
    let open = at(Ongoing);
    let Ok(InitDecision::Abort(fenced)) = open.init_producer_id(&init(None), NOW) else {
        panic!("no abort");
    };
    fenced.validate();
    assert_eq!(fenced.state, PrepareAbort);
    assert_eq!(fenced.producer(), producer(7, 4));
    assert_eq!(fenced.partitions, open.partitions);
    // Once it is through, the newcomer gets a second bump.
    let done = fenced.complete(NOW).unwrap();
    assert_eq!(assigned(&done, &init(None)).producer(), producer(7, 5));
    // The forerunner may do nothing.
    let forerunner = producer(7, 3);
    assert_eq!(
        done.end(forerunner, true, NOW),
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(
        done.add_partitions(forerunner, &[partition(0)], now(NOW, MONOTONIC)),
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(
        done.init_producer_id(&init(Some(forerunner)), NOW),
        Err(ErrorCode::ProducerFenced)
    );
}

#[test]
fn a_producer_that_reinitialises_inside_its_transaction_knows_its_repetition() {
    let own = Some(producer(7, 3));
    let Ok(InitDecision::Abort(fenced)) = at(Ongoing).init_producer_id(&init(own), NOW) else {
        panic!("no abort");
    };
    let done = fenced.complete(NOW).unwrap();
    // The shell goes on, expecting what it fenced with…
    let next = assigned(&done, &init(Some(fenced.producer())));
    assert_eq!(next.producer(), producer(7, 5));
    // …or the client asks again after a time-out, and gets what nobody else got.
    assert_eq!(
        done.init_producer_id(&init(own), NOW),
        Ok(InitDecision::Repeat(producer(7, 4)))
    );
}

#[test]
fn a_zombie_cannot_abort_its_successors_transaction() {
    assert_eq!(
        at(Ongoing).init_producer_id(&init(Some(producer(7, 2))), NOW),
        Err(ErrorCode::ProducerFenced)
    );
}

#[test]
fn a_fence_that_could_not_be_written_bumps_once() {
    let mut open = at(Ongoing);
    open.fence_failed();
    assert_eq!(open.producer(), producer(7, 4));
    open.fence_failed();
    assert_eq!(open.producer(), producer(7, 4));
    let Ok(InitDecision::Abort(fenced)) = open.init_producer_id(&init(None), NOW) else {
        panic!("no abort");
    };
    assert_eq!(fenced.producer(), producer(7, 4));
    assert!(!fenced.failed_fence);
}

#[test]
fn a_decided_outcome_is_waited_for() {
    for state in [PrepareCommit, PrepareAbort] {
        let prepared = at(state);
        assert_eq!(
            prepared.init_producer_id(&init(None), NOW),
            Ok(InitDecision::Wait)
        );
        assert_eq!(
            prepared.add_partitions(producer(7, 3), &[partition(1)], now(NOW, MONOTONIC)),
            Ok(AddDecision::Wait)
        );
        assert_eq!(prepared.verify(producer(7, 3), &partition(0)), Ok(None));
    }
}

#[test]
fn end_answers_every_state_as_kafka() {
    let prepare = Ok("prepare");
    let repeat = Ok("repeat");
    let refused = Err(ErrorCode::InvalidTxnState);
    let cases = [
        (Ongoing, true, prepare),
        (Ongoing, false, prepare),
        (PrepareCommit, true, repeat),
        (PrepareCommit, false, refused),
        (PrepareAbort, false, repeat),
        (PrepareAbort, true, refused),
        (CompleteCommit, true, repeat),
        (CompleteCommit, false, refused),
        (CompleteAbort, false, repeat),
        (CompleteAbort, true, refused),
        (Empty, true, refused),
        (Empty, false, refused),
        (Dead, true, Err(ErrorCode::InvalidProducerIdMapping)),
    ];
    for (state, commit, expected) in cases {
        let got = at(state)
            .end(producer(7, 3), commit, NOW)
            .map(|decision| match decision {
                EndDecision::Prepare(next) => {
                    next.validate();
                    assert!(state.may_become(next.state));
                    assert_eq!(next.state == PrepareCommit, commit);
                    "prepare"
                }
                EndDecision::Repeat => "repeat",
            });
        assert_eq!(got, expected, "{state:?} commit {commit}");
    }
}

#[test]
fn only_the_present_producer_may_act() {
    let cases = [
        (producer(8, 3), ErrorCode::InvalidProducerIdMapping),
        (producer(-1, -1), ErrorCode::InvalidProducerIdMapping),
        (producer(7, 2), ErrorCode::ProducerFenced),
        (producer(7, 4), ErrorCode::ProducerFenced),
    ];
    for (who, error) in cases {
        for state in [Empty, Ongoing, PrepareCommit, CompleteCommit] {
            let transaction = at(state);
            assert_eq!(transaction.end(who, true, NOW), Err(error));
            assert_eq!(
                transaction.add_partitions(who, &[partition(0)], now(NOW, MONOTONIC)),
                Err(error)
            );
            assert_eq!(transaction.verify(who, &partition(0)), Err(error));
        }
    }
    assert_eq!(
        Transaction::default().end(producer(-1, -1), true, NOW),
        Err(ErrorCode::InvalidProducerIdMapping)
    );
}

#[test]
fn partitions_are_added_once() {
    let mut transaction = at(CompleteCommit);
    let Ok(AddDecision::Add(next)) =
        transaction.add_partitions(producer(7, 3), &[partition(0)], now(NOW, MONOTONIC))
    else {
        panic!("not added");
    };
    assert_eq!(next.start_ms, NOW);
    transaction.install(next);
    assert_eq!(
        transaction.add_partitions(producer(7, 3), &[partition(0)], now(NOW, MONOTONIC)),
        Ok(AddDecision::Known)
    );
    let Ok(AddDecision::Add(next)) = transaction.add_partitions(
        producer(7, 3),
        &[partition(0), partition(1)],
        now(NOW + 2, MONOTONIC + 2),
    ) else {
        panic!("not added");
    };
    assert_eq!(next.start_ms, NOW, "the transaction keeps its start");
    assert_eq!(next.deadline_ms, at(Ongoing).deadline_ms);
    assert_eq!(next.partitions.len(), 2);
}

#[test]
fn verification_needs_an_open_transaction_with_the_partition() {
    let who = producer(7, 3);
    assert_eq!(at(Ongoing).verify(who, &partition(0)), Ok(Some(())));
    assert_eq!(
        at(Ongoing).verify(who, &partition(1)),
        Err(ErrorCode::InvalidTxnState)
    );
    for state in [Empty, CompleteCommit, CompleteAbort] {
        assert_eq!(
            at(state).verify(who, &partition(0)),
            Err(ErrorCode::InvalidTxnState)
        );
    }
}

#[test]
fn overdue_transactions_are_aborted_and_their_producer_fenced() {
    let open = at(Ongoing);
    let due = MONOTONIC + i64::from(TIMEOUT);
    // Where the wall clock stands makes no difference.
    for wall_ms in [0, NOW, i64::MAX] {
        assert_eq!(open.time_out(now(wall_ms, due)), None);
    }
    let aborted = open.time_out(now(NOW, due + 1)).unwrap();
    aborted.validate();
    assert_eq!(aborted.state, PrepareAbort);
    assert_eq!(aborted.producer(), producer(7, 4));
    for state in [Empty, PrepareCommit, CompleteCommit] {
        assert_eq!(at(state).time_out(now(i64::MAX, i64::MAX)), None);
    }
}

#[test]
fn idle_ids_expire_and_open_ones_do_not() {
    for (state, expires) in [
        (Empty, true),
        (CompleteCommit, true),
        (CompleteAbort, true),
        (Ongoing, false),
        (PrepareCommit, false),
        (PrepareAbort, false),
    ] {
        let transaction = at(state);
        let last = transaction.last_update_ms;
        assert!(!transaction.is_expired(last + 99, 100));
        assert_eq!(
            transaction.is_expired(last + 100, 100),
            expires,
            "{state:?}"
        );
    }
}

#[test]
fn completing_needs_a_prepared_outcome() {
    for (state, expected) in [
        (PrepareCommit, Some(CompleteCommit)),
        (PrepareAbort, Some(CompleteAbort)),
        (Ongoing, None),
        (Empty, None),
        (CompleteCommit, None),
    ] {
        let next = at(state).complete(NOW);
        assert_eq!(next.as_ref().map(|one| one.state), expected);
        if let Some(next) = next {
            next.validate();
        }
    }
}

#[test]
#[should_panic(expected = "cannot become")]
fn a_transition_that_kafka_does_not_know_is_never_installed() {
    let mut transaction = at(CompleteCommit);
    transaction.install(at(PrepareAbort));
}

#[test]
fn no_partitions_begin_no_transaction_and_change_none() {
    for state in [Empty, Ongoing, CompleteCommit, CompleteAbort] {
        let decision = at(state).add_partitions(producer(7, 3), &[], now(NOW, MONOTONIC));
        assert_eq!(decision, Ok(AddDecision::Known), "{state:?}");
    }
    for state in [PrepareCommit, PrepareAbort] {
        let decision = at(state).add_partitions(producer(7, 3), &[], now(NOW, MONOTONIC));
        assert_eq!(decision, Ok(AddDecision::Wait), "{state:?}");
    }
    let fenced = at(Empty).add_partitions(producer(7, 2), &[], now(NOW, MONOTONIC));
    assert_eq!(fenced, Err(ErrorCode::ProducerFenced));
}

#[test]
fn nobody_acts_under_the_epoch_that_is_kept_for_fencing() {
    let last = producer(7, i16::MAX);
    let mut idle = at(CompleteAbort);
    idle.producer_epoch = i16::MAX;
    let added = idle.add_partitions(last, &[partition(0)], now(NOW, MONOTONIC));
    assert_eq!(added, Err(ErrorCode::ProducerFenced));
    let mut open = at(Ongoing);
    open.producer_epoch = i16::MAX;
    assert_eq!(open.end(last, true, NOW), Err(ErrorCode::ProducerFenced));
    assert_eq!(
        open.verify(last, &partition(0)),
        Err(ErrorCode::ProducerFenced)
    );
}

#[test]
fn a_transaction_under_the_last_epoch_is_aborted_all_the_same() {
    let mut open = at(Ongoing);
    open.producer_epoch = i16::MAX;
    let Ok(InitDecision::Abort(abort)) = open.init_producer_id(&init(None), NOW) else {
        panic!("an open transaction is aborted first");
    };
    let late = now(NOW, MONOTONIC + i64::from(TIMEOUT) + 1);
    for aborted in [abort, open.time_out(late).unwrap()] {
        aborted.validate();
        assert_eq!(aborted.producer(), producer(7, i16::MAX));
        assert_eq!(aborted.state, PrepareAbort);
    }
    open.fence_failed();
    assert_eq!(open.producer_epoch, i16::MAX);
}
