//! The transaction of one transactional id, as a pure state machine.
//!
//! Every method looks at the present state and an event and returns the *next*
//! state, which the caller appends to `__transaction_state` and then installs
//! with [`Transaction::install`]. No clock, no I/O, no randomness: time and
//! fresh producer ids are arguments. The rules are Kafka's for clients of
//! transactions v1 (`TransactionCoordinator.scala`, `TransactionMetadata.scala`),
//! except that where Kafka answers CONCURRENT_TRANSACTIONS the decision here is
//! `Wait`, and the shell decides how long.

use std::collections::BTreeSet;

use millstream_wire::ErrorCode;

use super::state::TransactionState;
use crate::coordinator::{Now, TopicPartition};

/// No producer id was given yet.
pub const NO_PRODUCER_ID: i64 = -1;
/// No producer epoch was given yet, or the last one is not known.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// From this epoch on, the next producer gets a new producer id. One epoch is
/// kept in reserve, so that an exhausted producer can still be fenced.
pub const EXHAUSTED_EPOCH: i16 = i16::MAX - 1;
/// "No time" in a record.
pub const NO_TIMESTAMP: i64 = -1;

/// One instance of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
}

/// What `__transaction_state` keeps of a transactional id, and three facts that
/// live in memory only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub producer_id: i64,
    /// The producer id before the last rotation, or [`NO_PRODUCER_ID`].
    pub previous_producer_id: i64,
    pub producer_epoch: i16,
    /// The epoch before the last bump that a producer asked for, by which a
    /// repeated request is recognised. In memory only, as in Kafka.
    pub last_producer_epoch: i16,
    /// The producer's own limit for one transaction, in milliseconds.
    pub timeout_ms: i32,
    pub state: TransactionState,
    pub partitions: BTreeSet<TopicPartition>,
    /// When the present transaction began, or [`NO_TIMESTAMP`].
    pub start_ms: i64,
    pub last_update_ms: i64,
    /// When the open transaction is overdue, by the monotonic clock; `None`
    /// while none is open. In memory only: a record has wall times, which may
    /// have jumped since, so a transaction that was read back has its whole
    /// time-out again.
    pub deadline_ms: Option<i64>,
    /// A fence that could not be written already took an epoch. In memory only.
    pub failed_fence: bool,
}

/// What InitProducerId asks for.
#[derive(Clone, Copy, Debug)]
pub struct InitRequest {
    /// The producer that the client believes it is (KIP-360), if it says so.
    pub expected: Option<Producer>,
    pub timeout_ms: i32,
    /// A producer id that nobody else has, when the shell has fetched one.
    pub fresh_producer_id: Option<i64>,
}

/// What to do about an InitProducerId.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitDecision {
    /// The request is a repetition: give the present producer again.
    Repeat(Producer),
    /// Append, install, then answer with the producer in it.
    Assign(Transaction),
    /// Ask again with a fresh producer id.
    NeedProducerId,
    /// The forerunner's transaction is open: append and install this
    /// `PrepareAbort` with a bumped epoch, finish it, then ask again, expecting
    /// the producer in it.
    Abort(Transaction),
    /// An outcome is decided and not finished: wait, then ask again.
    Wait,
}

/// What to do about an EndTxn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndDecision {
    /// Append and install this `Prepare*`, then write markers.
    Prepare(Transaction),
    /// The same outcome is already decided: success as soon as it is durable.
    Repeat,
}

/// What to do about AddPartitionsToTxn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddDecision {
    /// Append, install, answer.
    Add(Transaction),
    /// All of them are in already.
    Known,
    /// The transaction before is decided and not finished: wait, then ask again.
    Wait,
}

impl Default for Transaction {
    /// A transactional id that nobody has used yet.
    fn default() -> Self {
        Self {
            producer_id: NO_PRODUCER_ID,
            previous_producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            last_producer_epoch: NO_PRODUCER_EPOCH,
            timeout_ms: 0,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_ms: NO_TIMESTAMP,
            last_update_ms: NO_TIMESTAMP,
            deadline_ms: None,
            failed_fence: false,
        }
    }
}

impl Transaction {
    /// The present producer.
    pub fn producer(&self) -> Producer {
        Producer {
            id: self.producer_id,
            epoch: self.producer_epoch,
        }
    }

    /// Replaces the state by `next`, which must have been appended.
    pub fn install(&mut self, next: Transaction) {
        assert!(
            self.state.may_become(next.state),
            "transaction state {:?} cannot become {:?}",
            self.state,
            next.state
        );
        next.validate();
        *self = next;
    }

    /// InitProducerId for this transactional id.
    pub fn init_producer_id(
        &self,
        request: &InitRequest,
        now_ms: i64,
    ) -> Result<InitDecision, ErrorCode> {
        if let Some(expected) = request.expected
            && !self.may_continue(expected)
        {
            return Err(ErrorCode::ProducerFenced);
        }
        match self.state {
            TransactionState::PrepareCommit
            | TransactionState::PrepareAbort
            | TransactionState::PrepareEpochFence => Ok(InitDecision::Wait),
            TransactionState::Ongoing => self.abort_forerunner(request, now_ms),
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => self.assign_producer(request, now_ms),
            TransactionState::Dead => Err(ErrorCode::InvalidProducerIdMapping),
        }
    }

    /// Whether a client that names this producer id may go on at all; its
    /// epoch is looked at later. The id before the last rotation is good only
    /// from an exhausted producer that repeats its request.
    fn may_continue(&self, expected: Producer) -> bool {
        self.producer_id == NO_PRODUCER_ID
            || expected.id == self.producer_id
            || (expected.id == self.previous_producer_id && expected.epoch >= EXHAUSTED_EPOCH)
    }

    fn assign_producer(
        &self,
        request: &InitRequest,
        now_ms: i64,
    ) -> Result<InitDecision, ErrorCode> {
        let exhausted = self.producer_epoch >= EXHAUSTED_EPOCH;
        let expects_present = request
            .expected
            .is_none_or(|expected| expected == self.producer());
        if self.producer_id == NO_PRODUCER_ID || (exhausted && expects_present) {
            return Ok(self.rotate_producer_id(request, now_ms));
        }
        let last_producer_epoch = match request.expected {
            None => NO_PRODUCER_EPOCH,
            Some(expected) if expected == self.producer() => self.producer_epoch,
            Some(expected) if expected.epoch == self.last_producer_epoch => {
                // Nobody could be fenced in the last epoch of all.
                return Ok(match self.producer_epoch > EXHAUSTED_EPOCH {
                    true => self.rotate_producer_id(request, now_ms),
                    false => InitDecision::Repeat(self.producer()),
                });
            }
            Some(_) => return Err(ErrorCode::ProducerFenced),
        };
        Ok(InitDecision::Assign(Transaction {
            producer_epoch: self.producer_epoch.saturating_add(1),
            last_producer_epoch,
            ..self.idle(request.timeout_ms, now_ms)
        }))
    }

    fn rotate_producer_id(&self, request: &InitRequest, now_ms: i64) -> InitDecision {
        let Some(fresh) = request.fresh_producer_id else {
            return InitDecision::NeedProducerId;
        };
        InitDecision::Assign(Transaction {
            producer_id: fresh,
            previous_producer_id: self.producer_id,
            producer_epoch: 0,
            last_producer_epoch: match request.expected {
                Some(expected) if self.producer_id != NO_PRODUCER_ID => expected.epoch,
                _ => NO_PRODUCER_EPOCH,
            },
            ..self.idle(request.timeout_ms, now_ms)
        })
    }

    /// The state after a producer was assigned, but for the producer.
    fn idle(&self, timeout_ms: i32, now_ms: i64) -> Transaction {
        Transaction {
            producer_id: self.producer_id,
            previous_producer_id: self.previous_producer_id,
            producer_epoch: self.producer_epoch,
            last_producer_epoch: self.last_producer_epoch,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_ms: NO_TIMESTAMP,
            last_update_ms: now_ms,
            deadline_ms: None,
            failed_fence: false,
        }
    }

    fn abort_forerunner(
        &self,
        request: &InitRequest,
        now_ms: i64,
    ) -> Result<InitDecision, ErrorCode> {
        let last_producer_epoch = match request.expected {
            None => NO_PRODUCER_EPOCH,
            // The producer itself asks (librdkafka does so instead of EndTxn
            // when its sequence is broken). Kept, so that its repetition after
            // a time-out is known; nobody else was given the bumped epoch.
            Some(expected) if expected == self.producer() => self.producer_epoch,
            // Kafka would abort first and refuse afterwards; a zombie must not
            // be able to abort its successor's transaction.
            Some(_) => return Err(ErrorCode::ProducerFenced),
        };
        Ok(InitDecision::Abort(Transaction {
            last_producer_epoch,
            ..self.fenced_abort(now_ms)
        }))
    }

    /// `PrepareAbort` under a bumped epoch, so that the markers fence whoever
    /// still writes with the present one.
    fn fenced_abort(&self, now_ms: i64) -> Transaction {
        Transaction {
            producer_epoch: self.fencing_epoch(),
            last_producer_epoch: NO_PRODUCER_EPOCH,
            state: TransactionState::PrepareAbort,
            last_update_ms: now_ms,
            deadline_ms: None,
            failed_fence: false,
            ..self.clone()
        }
    }

    /// The last epoch fences itself: nobody may use it (see [`Transaction::check_producer`]).
    fn fencing_epoch(&self) -> i16 {
        match self.failed_fence {
            true => self.producer_epoch,
            false => self.producer_epoch.saturating_add(1),
        }
    }

    /// A `PrepareAbort` with a bumped epoch could not be appended: the bump
    /// holds in memory, so that the old producer stays fenced, and is not
    /// repeated by the next try.
    pub fn fence_failed(&mut self) {
        self.producer_epoch = self.fencing_epoch();
        self.last_producer_epoch = NO_PRODUCER_EPOCH;
        self.failed_fence = true;
    }

    /// Whether this is the present producer. The epoch that is kept for fencing
    /// was never given to anybody, so whoever names it has guessed it.
    pub fn check_producer(&self, producer: Producer) -> Result<(), ErrorCode> {
        if self.producer_id != producer.id || self.producer_id == NO_PRODUCER_ID {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if self.producer_epoch != producer.epoch || producer.epoch > EXHAUSTED_EPOCH {
            return Err(ErrorCode::ProducerFenced);
        }
        Ok(())
    }

    /// AddPartitionsToTxn, and AddOffsetsToTxn with the group's partition of
    /// `__consumer_offsets`.
    pub fn add_partitions(
        &self,
        producer: Producer,
        partitions: &[TopicPartition],
        now: Now,
    ) -> Result<AddDecision, ErrorCode> {
        self.check_producer(producer)?;
        match self.state {
            TransactionState::PrepareCommit
            | TransactionState::PrepareAbort
            | TransactionState::PrepareEpochFence => Ok(AddDecision::Wait),
            TransactionState::Dead => Err(ErrorCode::InvalidProducerIdMapping),
            // No partition at all begins no transaction.
            _ if partitions.iter().all(|one| self.partitions.contains(one)) => {
                Ok(AddDecision::Known)
            }
            TransactionState::Ongoing => {
                let mut next = self.clone();
                next.partitions.extend(partitions.iter().cloned());
                next.last_update_ms = now.wall_ms;
                Ok(AddDecision::Add(next))
            }
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => Ok(AddDecision::Add(Transaction {
                state: TransactionState::Ongoing,
                partitions: partitions.iter().cloned().collect(),
                start_ms: now.wall_ms,
                last_update_ms: now.wall_ms,
                deadline_ms: Some(self.deadline_from(now.monotonic_ms)),
                ..self.clone()
            })),
        }
    }

    /// EndTxn from the producer itself: its epoch must be the present one.
    pub fn end(
        &self,
        producer: Producer,
        commit: bool,
        now_ms: i64,
    ) -> Result<EndDecision, ErrorCode> {
        self.check_producer(producer)?;
        use TransactionState::*;
        match (self.state, commit) {
            (Ongoing, _) => Ok(EndDecision::Prepare(Transaction {
                state: if commit { PrepareCommit } else { PrepareAbort },
                last_update_ms: now_ms,
                deadline_ms: None,
                ..self.clone()
            })),
            (PrepareCommit | CompleteCommit, true) | (PrepareAbort | CompleteAbort, false) => {
                Ok(EndDecision::Repeat)
            }
            (PrepareCommit | CompleteCommit, false)
            | (PrepareAbort | CompleteAbort, true)
            | (Empty | PrepareEpochFence, _) => Err(ErrorCode::InvalidTxnState),
            (Dead, _) => Err(ErrorCode::InvalidProducerIdMapping),
        }
    }

    /// All markers are written: `Complete*` of a `Prepare*`.
    pub fn complete(&self, now_ms: i64) -> Option<Transaction> {
        let state = match self.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            TransactionState::PrepareAbort => TransactionState::CompleteAbort,
            _ => return None,
        };
        Some(Transaction {
            state,
            partitions: BTreeSet::new(),
            last_update_ms: now_ms,
            ..self.clone()
        })
    }

    /// The deadline of a transaction that is opened, or read back, at `now_ms`
    /// of the monotonic clock.
    pub fn deadline_from(&self, now_ms: i64) -> i64 {
        now_ms.saturating_add(i64::from(self.timeout_ms))
    }

    /// `PrepareAbort` with a bumped epoch, when the transaction is overdue.
    pub fn time_out(&self, now: Now) -> Option<Transaction> {
        (self.deadline_ms? < now.monotonic_ms).then(|| self.fenced_abort(now.wall_ms))
    }

    /// Whether this transactional id has been idle for `expiration_ms`, so that
    /// a tombstone may replace it.
    pub fn is_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        self.state.is_idle() && self.last_update_ms.saturating_add(expiration_ms) <= now_ms
    }

    /// Whether this producer may write to this partition now (transactional
    /// produce of v1 clients, KIP-890 part 1). `None` means wait and ask again.
    pub fn verify(
        &self,
        producer: Producer,
        partition: &TopicPartition,
    ) -> Result<Option<()>, ErrorCode> {
        self.check_producer(producer)?;
        match self.state {
            TransactionState::Ongoing if self.partitions.contains(partition) => Ok(Some(())),
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => Ok(None),
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    /// Checks what must hold in every state that reaches disk or a client.
    pub fn validate(&self) {
        let state = self.state;
        let has_partitions = !self.partitions.is_empty();
        match state {
            TransactionState::Ongoing
            | TransactionState::PrepareCommit
            | TransactionState::PrepareAbort
            | TransactionState::PrepareEpochFence => {
                assert!(has_partitions, "{state:?} without partitions");
                assert!(self.start_ms >= 0, "{state:?} without a start");
                assert!(self.producer_id >= 0, "{state:?} without a producer");
            }
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort
            | TransactionState::Dead => {
                assert!(!has_partitions, "{state:?} with partitions");
            }
        }
        assert_eq!(
            self.deadline_ms.is_some(),
            state == TransactionState::Ongoing,
            "{state:?} with the deadline {:?}",
            self.deadline_ms
        );
        assert_eq!(
            self.producer_id == NO_PRODUCER_ID,
            self.producer_epoch == NO_PRODUCER_EPOCH,
            "producer id {} with epoch {}",
            self.producer_id,
            self.producer_epoch
        );
        assert!(
            self.last_producer_epoch == NO_PRODUCER_EPOCH || self.producer_epoch >= 0,
            "a last epoch without a present one"
        );
    }
}

#[cfg(test)]
mod random_walk;
#[cfg(test)]
mod tests;
