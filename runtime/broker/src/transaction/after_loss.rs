//! What the coordinator does when records of `__transaction_state` are lost, and somebody has accepted that.
//!
//! Of an id whose last record stands before what is lost, anything may have come after: its producer may have a newer
//! epoch, and its transaction may be over, or be another one by now. So nothing that was open is committed, whoever used
//! the id is fenced, and the next one gets a producer id that no log has seen. And a log may have a transaction open of
//! which no coordinator knows any more: nobody would ever end it.

use std::collections::HashSet;
use std::sync::Arc;

use millstream_cluster::METADATA_TOPIC;
use millstream_log::Log;
use millstream_records::Marker;
use millstream_wire::ErrorCode;

use super::coordinator::TransactionCoordinator;
use super::machine::{EXHAUSTED_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Transaction};
use super::state::TransactionState;
use crate::InternalTopic;
use crate::coordinator::TopicPartition;

/// Up to here records of a partition are lost; none of those behind.
pub(super) fn lost_to(log: &Log) -> i64 {
    let losses = log.accepted_losses();
    losses
        .iter()
        .map(|loss| loss.offsets.end)
        .max()
        .unwrap_or(0)
}

impl Transaction {
    /// The transaction of an id whose later records may be lost.
    pub(super) fn after_loss(self) -> Self {
        if self.producer_id == NO_PRODUCER_ID {
            return self;
        }
        match self.state {
            // Not even a decision is of the transaction that is open now, if one is. The marker's epoch is above all that
            // this producer id can have had.
            TransactionState::Ongoing
            | TransactionState::PrepareCommit
            | TransactionState::PrepareAbort
            | TransactionState::PrepareEpochFence => Self {
                state: TransactionState::PrepareAbort,
                producer_epoch: i16::MAX,
                last_producer_epoch: NO_PRODUCER_EPOCH,
                deadline_ms: None,
                ..self
            },
            // The next producer gets another id.
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => Self {
                producer_epoch: EXHAUSTED_EPOCH.max(self.producer_epoch),
                last_producer_epoch: NO_PRODUCER_EPOCH,
                ..self
            },
            TransactionState::Dead => self,
        }
    }
}

impl TransactionCoordinator {
    /// Where the loss of records of `__transaction_state`, or of the metadata that had it, was accepted in one of these logs:
    /// aborts what is open in them and known to no coordinator. Nobody may begin a transaction meanwhile.
    pub(crate) async fn settle_after_loss(self: &Arc<Self>, logs: &[Arc<Log>]) {
        let topic = InternalTopic::TransactionState;
        let keeps_transactions =
            |log: &&Arc<Log>| [topic.name(), METADATA_TOPIC].contains(&log.id().topic.as_str());
        let mut keepers = logs.iter().filter(keeps_transactions);
        if keepers.all(|log| log.accepted_losses().is_empty()) {
            return;
        }
        let count = self.ports.partition_count(topic).unwrap_or(0);
        let led: Vec<_> = (0..count)
            .filter_map(|partition| self.ports.led(topic.name(), partition).ok())
            .collect();
        for partition in 0..count {
            if let Err(error) = self.load(partition).await {
                tracing::warn!(partition, %error, "transactions that no coordinator knows stay open until all its partitions can be read");
                return;
            }
        }
        let known = self.open_partitions(count);
        let coordinator_epoch = led.iter().map(|led| led.leader_epoch).max().unwrap_or(0);
        for log in logs {
            let partition = TopicPartition::new(log.id().topic.clone(), log.id().partition);
            for producer in log.producer_states() {
                let Some(first_offset) = producer.transaction_first_offset else {
                    continue;
                };
                if known.contains(&(producer.producer_id, partition.clone())) {
                    continue;
                }
                let coordinator_epoch = coordinator_epoch.max(producer.coordinator_epoch);
                let producer = (producer.producer_id, producer.epoch);
                let aborted = self.abort_unknown(&partition, producer, coordinator_epoch);
                match aborted.await {
                    Ok(()) => {
                        tracing::warn!(log = %log.id(), first_offset, "a transaction is aborted whose coordinator has lost it");
                    }
                    Err(error) => {
                        tracing::error!(log = %log.id(), first_offset, %error, "a transaction whose coordinator has lost it cannot be aborted");
                    }
                }
            }
        }
    }

    async fn abort_unknown(
        self: &Arc<Self>,
        partition: &TopicPartition,
        (producer_id, epoch): (i64, i16),
        coordinator_epoch: i32,
    ) -> Result<(), ErrorCode> {
        let abort = Marker::Abort;
        let appended = if partition.topic == InternalTopic::ConsumerOffsets.name() {
            let partition = partition.partition;
            self.groups.load(partition).await?;
            let producer = (producer_id, epoch);
            self.groups
                .append_marker(partition, abort, producer, coordinator_epoch)?
        } else {
            let led = self.ports.led(&partition.topic, partition.partition)?;
            led.append_marker(abort, producer_id, epoch, coordinator_epoch)?
        };
        let led = self.ports.led(&partition.topic, partition.partition)?;
        led.flushed(appended.lsn).await
    }
}

/// Producer ids, and the partitions in which their coordinator knows a transaction to be open.
pub(super) type OpenPartitions = HashSet<(i64, TopicPartition)>;

#[cfg(test)]
mod tests {
    use super::super::machine::{InitDecision, InitRequest, Producer};
    use super::*;

    fn transaction(state: TransactionState) -> Transaction {
        let is_open = matches!(
            state,
            TransactionState::Ongoing
                | TransactionState::PrepareCommit
                | TransactionState::PrepareAbort
        );
        Transaction {
            producer_id: 7,
            producer_epoch: 3,
            last_producer_epoch: 2,
            state,
            partitions: is_open
                .then(|| TopicPartition::new("out", 0))
                .into_iter()
                .collect(),
            start_ms: 5,
            deadline_ms: (state == TransactionState::Ongoing).then_some(1005),
            ..Transaction::default()
        }
    }

    fn init(
        transaction: &Transaction,
        expected: Option<Producer>,
    ) -> Result<InitDecision, ErrorCode> {
        let request = InitRequest {
            expected,
            timeout_ms: 1000,
            fresh_producer_id: Some(99),
        };
        transaction.init_producer_id(&request, 10)
    }

    #[test]
    fn whoever_used_the_id_is_fenced_and_the_next_gets_another_producer_id() {
        for state in [
            TransactionState::Empty,
            TransactionState::CompleteCommit,
            TransactionState::CompleteAbort,
        ] {
            let after = transaction(state).after_loss();
            after.validate();
            for epoch in 0..6 {
                let producer = Producer { id: 7, epoch };
                assert_eq!(
                    after.check_producer(producer),
                    Err(ErrorCode::ProducerFenced)
                );
                assert_eq!(init(&after, Some(producer)), Err(ErrorCode::ProducerFenced));
            }
            let Ok(InitDecision::Assign(next)) = init(&after, None) else {
                panic!("{after:?}");
            };
            assert_eq!((next.producer_id, next.producer_epoch), (99, 0));
        }
    }

    #[test]
    fn nothing_that_was_open_is_committed() {
        for state in [
            TransactionState::Ongoing,
            TransactionState::PrepareCommit,
            TransactionState::PrepareAbort,
        ] {
            let after = transaction(state).after_loss();
            after.validate();
            assert_eq!(after.state, TransactionState::PrepareAbort);
            assert_eq!(after.partitions.len(), 1);
            let complete = after.complete(11).unwrap();
            complete.validate();
            assert_eq!(complete.state, TransactionState::CompleteAbort);
            let Ok(InitDecision::Assign(next)) = init(&complete, None) else {
                panic!("{complete:?}");
            };
            assert_eq!((next.producer_id, next.producer_epoch), (99, 0));
        }
    }

    #[test]
    fn an_id_that_nobody_has_used_stays_so() {
        assert_eq!(Transaction::default().after_loss(), Transaction::default());
    }
}
