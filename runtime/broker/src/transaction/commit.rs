//! From a decision to the last marker.
//!
//! *Fused*: when this node is the whole replica set of every
//! participant, decision, markers and completion are appended one behind the
//! other under the id's lock, and whoever waits for the end flushes once. What
//! survives a crash is a prefix, so a `Complete` never survives without its
//! markers, nor a marker without its `Prepare`. *In order*: otherwise a task of
//! ours waits, as Kafka, for each step to be committed before the next.
//!
//! Either way the commit point is `Prepare`: once it is durable, markers are
//! written until they all are, by whoever finds the decision after a restart.

use std::sync::{Arc, Weak};
use std::time::Duration;

use millstream_log::{Lsn, failpoint};
use millstream_records::Marker;
use millstream_wire::ErrorCode;

use super::coordinator::TransactionCoordinator;
use super::entry::{Entry, EntryState};
use super::machine::Transaction;
use super::state::TransactionState;
use crate::InternalTopic;
use crate::coordinator::{LedLog, TopicPartition};

/// Pauses between tries to write markers that could not be written.
const RETRY_MS: [u64; 5] = [20, 100, 500, 1_000, 5_000];

/// How far a decision got while the lock was held.
pub(super) enum Ended {
    /// Decided and, but for the flush, done.
    Appended(Lsn),
    /// A task of ours goes on; wait for `changed` and look again.
    Later,
}

/// One partition in a transaction.
enum Participant {
    /// A partition of `__consumer_offsets`; its marker goes through the groups.
    Offsets(i32),
    Data(LedLog),
    /// Its topic was deleted: there is nothing left to end.
    Gone,
}

impl TransactionCoordinator {
    /// Carries out a decision (`Prepare*`, perhaps with a bumped epoch).
    pub(super) fn decide(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        state: &mut EntryState,
        prepare: Transaction,
    ) -> Result<Ended, ErrorCode> {
        failpoint::hit("transaction.before_prepare");
        let Some(participants) = self.fusible(entry, &prepare) else {
            state.deciding = true;
            self.decide_in_order(entry, prepare);
            return Ok(Ended::Later);
        };
        let bumped = prepare.producer_epoch != state.transaction.producer_epoch;
        let prepared = match entry.append(state, prepare, self.now().wall_ms) {
            Ok(lsn) => lsn,
            Err(error) => {
                if bumped && !state.transaction.failed_fence {
                    state.transaction.fence_failed();
                }
                return Err(error);
            }
        };
        failpoint::hit("transaction.after_prepare");
        match self.finish_fused(entry, state, &participants) {
            Ok(lsn) => Ok(Ended::Appended(lsn)),
            Err(error) => {
                tracing::warn!(id = %entry.id, %error, "markers could not be written; trying again");
                self.finish_later(entry, state);
                Ok(Ended::Appended(prepared))
            }
        }
    }

    fn finish_fused(
        self: &Arc<Self>,
        entry: &Entry,
        state: &mut EntryState,
        participants: &[Participant],
    ) -> Result<Lsn, ErrorCode> {
        for (written, participant) in participants.iter().enumerate() {
            if written > 0 {
                failpoint::hit("transaction.between_markers");
            }
            self.append_marker(entry, &state.transaction, participant)?;
        }
        failpoint::hit("transaction.after_markers");
        let now_ms = self.now().wall_ms;
        let complete = state
            .transaction
            .complete(now_ms)
            .ok_or(ErrorCode::InvalidTxnState)?;
        let lsn = entry.append(state, complete, now_ms)?;
        failpoint::hit("transaction.after_complete");
        Ok(lsn)
    }

    /// The participants, if the whole commit may be appended in one go.
    fn fusible(self: &Arc<Self>, entry: &Entry, prepare: &Transaction) -> Option<Vec<Participant>> {
        if !entry.led.sole_replica {
            return None;
        }
        prepare
            .partitions
            .iter()
            .map(|one| match self.participant(one) {
                Ok(Participant::Offsets(partition)) => self
                    .groups
                    .led(partition)
                    .filter(|led| led.sole_replica)
                    .map(|_| Participant::Offsets(partition)),
                Ok(Participant::Data(led)) => Some(led)
                    .filter(|led| led.sole_replica)
                    .map(Participant::Data),
                Ok(Participant::Gone) => Some(Participant::Gone),
                Err(_) => None,
            })
            .collect()
    }

    fn participant(&self, partition: &TopicPartition) -> Result<Participant, ErrorCode> {
        if partition.topic == InternalTopic::ConsumerOffsets.name() {
            return Ok(Participant::Offsets(partition.partition));
        }
        match self.ports.led(&partition.topic, partition.partition) {
            Ok(led) => Ok(Participant::Data(led)),
            Err(ErrorCode::UnknownTopicOrPartition) => Ok(Participant::Gone),
            Err(error) => Err(error),
        }
    }

    fn append_marker(
        self: &Arc<Self>,
        entry: &Entry,
        transaction: &Transaction,
        participant: &Participant,
    ) -> Result<Option<Lsn>, ErrorCode> {
        let marker = match transaction.state {
            TransactionState::PrepareCommit => Marker::Commit,
            TransactionState::PrepareAbort => Marker::Abort,
            other => unreachable!("{other:?} has no marker: only a decision gets here"),
        };
        let producer = (transaction.producer_id, transaction.producer_epoch);
        let coordinator_epoch = entry.led.leader_epoch;
        let appended = match participant {
            Participant::Gone => return Ok(None),
            Participant::Data(led) => {
                led.append_marker(marker, producer.0, producer.1, coordinator_epoch)
            }
            Participant::Offsets(partition) => {
                self.groups
                    .append_marker(*partition, marker, producer, coordinator_epoch)
            }
        };
        match appended {
            Ok(appended) => Ok(Some(appended.lsn)),
            // A newer producer, or a newer coordinator, has ended it there.
            Err(ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced) => {
                tracing::warn!(id = %entry.id, "a marker was superseded");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Has a task write the markers of a decision, unless one does already.
    pub(super) fn finish_later(self: &Arc<Self>, entry: &Arc<Entry>, state: &mut EntryState) {
        if std::mem::replace(&mut state.finishing, true) {
            return;
        }
        self.tasks
            .start(finish_until_done(Arc::downgrade(self), Arc::clone(entry)));
    }

    /// Prepare committed → markers committed → Complete.
    async fn finish_in_order(self: &Arc<Self>, entry: &Entry) -> Result<(), ErrorCode> {
        let (transaction, prepared) = {
            let state = entry.lock();
            (state.transaction.clone(), state.last_lsn)
        };
        if !transaction.state.is_prepared() {
            return Ok(());
        }
        entry.flushed(prepared).await?;
        for partition in &transaction.partitions {
            let participant = self.participant(partition)?;
            if let Participant::Offsets(partition) = participant {
                self.groups.load(partition).await?;
            }
            if let Some(lsn) = self.append_marker(entry, &transaction, &participant)? {
                match &participant {
                    Participant::Data(led) => led.flushed(lsn).await?,
                    Participant::Offsets(_) | Participant::Gone => entry.flushed(Some(lsn)).await?,
                }
            }
            failpoint::hit("transaction.between_markers");
        }
        failpoint::hit("transaction.after_markers");
        let mut state = entry.lock();
        let now_ms = self.now().wall_ms;
        if let Some(complete) = state.transaction.complete(now_ms) {
            entry.append(&mut state, complete, now_ms)?;
        }
        failpoint::hit("transaction.after_complete");
        Ok(())
    }

    /// Data and offsets committed → Prepare, then the rest as above.
    fn decide_in_order(self: &Arc<Self>, entry: &Arc<Entry>, prepare: Transaction) {
        let coordinator = Arc::clone(self);
        let entry = Arc::clone(entry);
        self.tasks.start(async move {
            let ready = coordinator.data_committed(&prepare).await;
            let prepared = {
                let mut state = entry.lock();
                state.deciding = false;
                let bumped = prepare.producer_epoch != state.transaction.producer_epoch;
                let prepared = ready
                    .and_then(|()| entry.append(&mut state, prepare, coordinator.now().wall_ms));
                if prepared.is_err() && bumped && !state.transaction.failed_fence {
                    state.transaction.fence_failed();
                }
                state.finishing = prepared.is_ok();
                prepared
            };
            failpoint::hit("transaction.after_prepare");
            entry.changed.notify_waiters();
            match prepared {
                Ok(_) => finish_until_done(Arc::downgrade(&coordinator), entry).await,
                Err(error) => {
                    tracing::warn!(id = %entry.id, %error, "a transaction could not be decided");
                }
            }
        });
    }

    /// Everything that the participants have now is committed.
    async fn data_committed(self: &Arc<Self>, prepare: &Transaction) -> Result<(), ErrorCode> {
        for partition in &prepare.partitions {
            let led = match self.participant(partition)? {
                Participant::Gone => continue,
                Participant::Data(led) => led,
                Participant::Offsets(partition) => {
                    self.groups.load(partition).await?;
                    self.groups
                        .led(partition)
                        .ok_or(ErrorCode::CoordinatorNotAvailable)?
                }
            };
            led.all_committed().await?;
        }
        Ok(())
    }
}

/// Writes the markers of a decision until they are all written, or the node
/// takes no writes any more. Between two tries it does not hold the
/// coordinator.
async fn finish_until_done(coordinator: Weak<TransactionCoordinator>, entry: Arc<Entry>) {
    let last_ms = RETRY_MS[RETRY_MS.len() - 1];
    for pause_ms in RETRY_MS.into_iter().chain(std::iter::repeat(last_ms)) {
        let Some(this) = coordinator.upgrade() else {
            return;
        };
        match this.finish_in_order(&entry).await {
            Ok(()) => break,
            Err(error) if entry.led.check_alive().is_err() => {
                tracing::warn!(id = %entry.id, %error, "markers are written by the next start");
                break;
            }
            Err(error) => {
                tracing::warn!(id = %entry.id, %error, "markers could not be written");
            }
        }
        drop(this);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
    entry.lock().finishing = false;
    entry.changed.notify_waiters();
}
