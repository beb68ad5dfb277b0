//! One transactional id: its state, its lock, and its partition of
//! `__transaction_state`.

use std::sync::Arc;

use bytes::Bytes;
use millstream_log::Lsn;
use millstream_wire::ErrorCode;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::machine::Transaction;
use super::stored;
use crate::coordinator::{LedLog, batch_of};

/// One transactional id.
pub(super) struct Entry {
    pub(super) id: Arc<str>,
    /// The partition of `__transaction_state` that keeps it; its leader epoch
    /// is the coordinator's epoch in the markers.
    pub(super) led: LedLog,
    key: Bytes,
    state: Mutex<EntryState>,
    /// Notified when a decision under way has moved on.
    pub(super) changed: Notify,
}

/// What is under an entry's lock. `transaction` is what was *appended*; an
/// answer that depends on it waits until `last_lsn` is flushed.
#[derive(Debug)]
pub(super) struct EntryState {
    pub(super) transaction: Transaction,
    pub(super) last_lsn: Option<Lsn>,
    /// A decision is being prepared by a task of ours; whoever comes waits.
    pub(super) deciding: bool,
    /// A task of ours is writing markers.
    pub(super) finishing: bool,
}

impl Entry {
    pub(super) fn new(id: &str, led: LedLog, transaction: Transaction) -> Result<Self, ErrorCode> {
        Ok(Self {
            key: stored::key(id).map_err(|_| ErrorCode::InvalidRequest)?,
            id: Arc::from(id),
            led,
            state: Mutex::new(EntryState {
                transaction,
                last_lsn: None,
                deciding: false,
                finishing: false,
            }),
            changed: Notify::new(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, EntryState> {
        self.state.lock()
    }

    /// Appends `next` and installs it. On an error nothing has changed.
    pub(super) fn append(
        &self,
        state: &mut EntryState,
        next: Transaction,
        now_ms: i64,
    ) -> Result<Lsn, ErrorCode> {
        next.validate();
        assert!(
            state.transaction.state.may_become(next.state),
            "transaction {} may not go from {:?} to {:?}",
            self.id,
            state.transaction.state,
            next.state
        );
        let value = stored::value(&next).map_err(|_| ErrorCode::UnknownServerError)?;
        let batch = batch_of([(&self.key[..], Some(&value[..]))], now_ms, None)?;
        let appended = self
            .led
            .append(batch, None)
            .map_err(|error| self.answer_of(error))?;
        state.transaction.install(next);
        state.last_lsn = Some(appended.lsn);
        Ok(appended.lsn)
    }

    /// Appends the tombstone of an expired id.
    pub(super) fn append_tombstone(&self, now_ms: i64) -> Result<(), ErrorCode> {
        let batch = batch_of([(&self.key[..], None)], now_ms, None)?;
        self.led
            .append(batch, None)
            .map(|_| ())
            .map_err(|error| self.answer_of(error))
    }

    /// Waits until what was appended up to `lsn` is durable.
    pub(super) async fn flushed(&self, lsn: Option<Lsn>) -> Result<(), ErrorCode> {
        match lsn {
            None => Ok(()),
            Some(lsn) => self
                .led
                .flushed(lsn)
                .await
                .map_err(|error| self.answer_of(error)),
        }
    }

    /// What a client is told: a node that takes no writes any more says so.
    fn answer_of(&self, error: ErrorCode) -> ErrorCode {
        self.led.check_alive().err().unwrap_or(append_error(error))
    }
}

/// What a client is told when the coordinator's log refuses an append: a code
/// that makes it find the coordinator again, where there is a point in that.
fn append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::KafkaStorageError => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch => ErrorCode::NotCoordinator,
        other => other,
    }
}
