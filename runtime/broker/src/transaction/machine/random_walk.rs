//! Random events against the transaction machine, with crashes that lose what
//! lives in memory only. It stays valid, takes only transitions of the table,
//! and no producer ever gets what another one has.

use millstream_log::testing::Random;

use super::*;

struct Walk {
    random: Random,
    /// The wall clock, which also jumps back.
    now: i64,
    monotonic_ms: i64,
    transaction: Transaction,
    /// Every producer that was given out, oldest first.
    given: Vec<Producer>,
    next_id: i64,
}

impl Walk {
    fn install(&mut self, next: Transaction) {
        let before = self.transaction.producer();
        self.transaction.install(next);
        let after = self.transaction.producer();
        let moved_on =
            after.id > before.id || (after.id == before.id && after.epoch >= before.epoch);
        assert!(moved_on, "{before:?} became {after:?}");
    }

    fn both(&self) -> Now {
        Now {
            monotonic_ms: self.monotonic_ms,
            wall_ms: self.now,
        }
    }

    fn some_producer(&mut self) -> Option<Producer> {
        let back = usize::try_from(self.random.below(3)).unwrap();
        self.given.iter().rev().nth(back).copied()
    }

    fn step(&mut self) {
        let passed = i64::try_from(self.random.below(20_000)).unwrap();
        self.monotonic_ms += passed;
        self.now += passed;
        if self.random.chance(5) {
            self.now = i64::try_from(self.random.below(1_000_000)).unwrap();
        }
        match self.random.below(12) {
            0..=1 => self.init(),
            2..=4 => self.add(),
            5..=7 => self.end(),
            8..=9 => {
                if let Some(next) = self.transaction.complete(self.now) {
                    self.install(next);
                }
            }
            10 => {
                if let Some(next) = self.transaction.time_out(self.both()) {
                    if self.random.chance(70) {
                        self.install(next);
                    } else if !self.transaction.failed_fence {
                        self.transaction.fence_failed();
                    }
                }
            }
            // A crash: what is not in the record is gone.
            _ => {
                if !self.transaction.failed_fence {
                    self.transaction.last_producer_epoch = NO_PRODUCER_EPOCH;
                }
            }
        }
        self.transaction.validate();
    }

    fn init(&mut self) {
        let named = self.random.chance(50);
        let mut request = InitRequest {
            expected: named.then(|| self.some_producer()).flatten(),
            timeout_ms: 60_000,
            fresh_producer_id: None,
        };
        let current = self.transaction.producer();
        let mut decision = self.transaction.init_producer_id(&request, self.now);
        if decision == Ok(InitDecision::NeedProducerId) {
            self.next_id += 1;
            request.fresh_producer_id = Some(self.next_id);
            decision = self.transaction.init_producer_id(&request, self.now);
        }
        match decision {
            Ok(InitDecision::Assign(next)) => {
                let producer = next.producer();
                self.install(next);
                assert!(
                    !self.given.contains(&producer),
                    "{producer:?} was given twice"
                );
                self.given.push(producer);
            }
            Ok(InitDecision::Abort(next)) => {
                assert!(
                    !self.given.contains(&next.producer()),
                    "a fence is nobody's"
                );
                self.install(next);
            }
            Ok(InitDecision::Repeat(producer)) => {
                assert_eq!(producer, current);
                // Whoever fenced with it gets it now; it was nobody else's.
                if !self.given.contains(&producer) {
                    self.given.push(producer);
                }
            }
            Ok(InitDecision::Wait) | Err(ErrorCode::ProducerFenced) => {}
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self) {
        let Some(producer) = self.some_producer() else {
            return;
        };
        let index = i32::try_from(self.random.below(3)).unwrap();
        let partitions = [TopicPartition::new("out", index)];
        let result = self
            .transaction
            .add_partitions(producer, &partitions, self.both());
        self.assert_fenced_unless_present(producer, result.is_ok());
        if let Ok(AddDecision::Add(next)) = result {
            self.install(next);
            assert_eq!(
                self.transaction.verify(producer, &partitions[0]),
                Ok(Some(()))
            );
        }
    }

    fn end(&mut self) {
        let Some(producer) = self.some_producer() else {
            return;
        };
        let commit = self.random.chance(50);
        let result = self.transaction.end(producer, commit, self.now);
        self.assert_fenced_unless_present(producer, result.is_ok());
        if let Ok(EndDecision::Prepare(next)) = result {
            self.install(next);
            let again = self.transaction.end(producer, commit, self.now);
            assert_eq!(again, Ok(EndDecision::Repeat));
            let turned = self.transaction.end(producer, !commit, self.now);
            assert_eq!(turned, Err(ErrorCode::InvalidTxnState));
        }
    }

    fn assert_fenced_unless_present(&self, producer: Producer, succeeded: bool) {
        assert!(
            !succeeded || producer == self.transaction.producer(),
            "{producer:?} got through beside {:?}",
            self.transaction.producer()
        );
    }
}

#[test]
fn every_walk_stays_valid_and_fences_the_older() {
    let mut rotations = 0;
    for seed in 0..400 {
        let mut walk = Walk {
            random: Random::new(seed),
            now: 1_000,
            monotonic_ms: 0,
            transaction: Transaction::default(),
            given: Vec::new(),
            next_id: 100,
        };
        // Half of the walks begin close to the end of the epochs.
        if seed % 2 == 0 {
            walk.transaction.producer_id = 7;
            walk.transaction.producer_epoch = EXHAUSTED_EPOCH - 3;
        }
        for _ in 0..300 {
            walk.step();
        }
        rotations += walk.next_id - 100;
    }
    assert!(
        rotations >= 400,
        "every walk needs a producer id, for a new id or after the last epoch: {rotations}"
    );
}
