//! The transactions of one lease: begun with the first data, appended to in batches, committed with
//! the positions.

use std::time::{Duration, Instant};

use millstream_records::BuildError;

use super::failure::Trouble;
use super::outbox::Outbox;
use super::stop::{Backoff, StopSignal};
use crate::ports::{Engine, PortError, Position, TaskLease, Transaction};

/// A transaction is committed when it has this many bytes, however young it is: readers and the
/// next stage should not wait for more, and an abort should not waste more.
const TRANSACTION_BYTES_MAX: usize = 32 * 1024 * 1024;
/// So long a batch is offered again while its partition has no leader; then the transaction is
/// given up and the task starts anew.
const NOT_LEADER_PATIENCE: Duration = Duration::from_secs(5);

/// Writes for one task under one lease.
pub struct Writer<E: Engine> {
    engine: E,
    lease: TaskLease,
    pub outbox: Outbox,
    interval_max: Duration,
    transaction: Option<E::Transaction>,
    /// When work on the open transaction began.
    began: Option<Instant>,
    /// The engine's settings when the outbox's topics were compared with them last.
    settings_version: u64,
}

impl<E: Engine> Writer<E> {
    /// `settings_version`: of before the topics of the outbox were looked at.
    pub fn new(
        engine: E,
        lease: TaskLease,
        outbox: Outbox,
        interval_max: Duration,
        settings_version: u64,
    ) -> Self {
        Writer {
            engine,
            lease,
            outbox,
            interval_max,
            transaction: None,
            began: None,
            settings_version,
        }
    }

    /// Makes sure that the topics take what the checks of the outbox let through. When they have changed, the
    /// transaction is to be given up: the records that wait in the outbox passed other checks.
    pub async fn check_topics(&mut self) -> Result<(), PortError> {
        let version = self.engine.settings_version();
        if version != self.settings_version {
            self.outbox.check_topics(&self.engine).await?;
            self.settings_version = version;
        }
        Ok(())
    }

    /// Work for a transaction begins now, unless one is under way.
    pub fn start_clock(&mut self) {
        if self.began.is_none() {
            self.began = Some(Instant::now());
        }
    }

    /// Must the transaction be committed now, whatever else there is to do?
    pub fn is_due(&self) -> bool {
        self.outbox.bytes() >= TRANSACTION_BYTES_MAX
            || self
                .began
                .is_some_and(|began| began.elapsed() >= self.interval_max)
    }

    /// Sends the batches that are closed.
    pub async fn send_ready(&mut self, stop: &mut StopSignal) -> Result<(), Trouble> {
        if !self.outbox.has_ready() {
            return Ok(());
        }
        let mut transaction = self.take_transaction().await?;
        let mut backoff = Backoff::default();
        let patience = Instant::now() + NOT_LEADER_PATIENCE;
        loop {
            let outcome = self.outbox.send(&mut transaction).await;
            match outcome {
                Err(PortError::NotLeader { .. }) if Instant::now() < patience => {
                    if let Err(trouble) = backoff.pause(stop).await {
                        self.transaction = Some(transaction);
                        return Err(trouble);
                    }
                }
                outcome => {
                    self.transaction = Some(transaction);
                    if let Err(PortError::Refused { .. }) = outcome {
                        // The checks let it through, so the topic may have changed since.
                        self.outbox.check_topics(&self.engine).await?;
                    }
                    return Ok(outcome?);
                }
            }
        }
    }

    /// Sends everything, adds the positions and commits. Afterwards the next transaction may begin.
    /// After an error only a new lease may.
    pub async fn commit(
        &mut self,
        positions: &[Position],
        stop: &mut StopSignal,
    ) -> Result<(), Trouble> {
        self.outbox.close_all().map_err(unbuildable)?;
        self.send_ready(stop).await?;
        let mut transaction = self.take_transaction().await?;
        if !positions.is_empty()
            && let Err(error) = transaction.offsets(positions).await
        {
            self.transaction = Some(transaction);
            return Err(error.into());
        }
        transaction.commit().await?;
        self.began = None;
        self.outbox.turn();
        Ok(())
    }

    /// Gives the open transaction up, as well as that can be done now. What remains is settled by
    /// the next lease of the task.
    pub async fn abandon(&mut self) {
        if let Some(transaction) = self.transaction.take()
            && let Err(error) = transaction.abort().await
        {
            let id = &self.lease.transactional_id;
            tracing::debug!(%error, transactional_id = id, "the transaction is left to the next owner");
        }
    }

    async fn take_transaction(&mut self) -> Result<E::Transaction, PortError> {
        match self.transaction.take() {
            Some(transaction) => Ok(transaction),
            None => self.engine.begin(&self.lease).await,
        }
    }
}

/// A batch that cannot be built: the records passed every check before, so the codec failed.
pub fn unbuildable(error: BuildError) -> PortError {
    PortError::Refused {
        reason: format!("a batch cannot be built: {error}"),
    }
}
