//! What the transaction coordinator is asked, by clients through the APIs and
//! by stages of this node through `Local`.
//!
//! A request that meets a decision under way waits for it, up to a bound,
//! instead of answering CONCURRENT_TRANSACTIONS.

use std::sync::Arc;
use std::time::Duration;

use millstream_log::{Lsn, failpoint};
use millstream_records::NO_SEQUENCE;
use millstream_wire::ErrorCode;
use tokio::time::{Instant, timeout_at};

use super::commit::Ended;
use super::coordinator::TransactionCoordinator;
use super::entry::{Entry, EntryState};
use super::machine::{AddDecision, EndDecision, InitDecision, InitRequest, Producer};
use super::state::TransactionState;
use crate::InternalTopic;
use crate::coordinator::TopicPartition;
use crate::group::{Committer, OffsetToCommit, VerifiedProducer};

/// What one look at an entry came to.
enum Step<T> {
    Done(T),
    /// A decision is under way: look again when it has moved on.
    Wait,
}

/// Whether an answer waits until what it tells is durable. In a fused commit
/// only the end does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// For clients: an answer tells only what is flushed.
    Flushed,
    /// For a stage of this node, whose commit is behind it in the same journal.
    Appended,
}

impl TransactionCoordinator {
    /// Looks at an entry until no decision is in the way, or the bound is
    /// reached: then CONCURRENT_TRANSACTIONS. KAFKA_STORAGE_ERROR at once when
    /// the node cannot finish the decision.
    async fn look<T>(
        &self,
        entry: &Arc<Entry>,
        mut step: impl FnMut(&mut EntryState) -> Result<Step<T>, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let mut until = None;
        loop {
            // Made before the look, so that no change in between is missed.
            let changed = entry.changed.notified();
            {
                let mut state = entry.lock();
                if !state.deciding
                    && let Step::Done(done) = step(&mut state)?
                {
                    return Ok(done);
                }
            }
            entry.led.check_alive()?;
            let until = *until.get_or_insert_with(|| {
                Instant::now() + Duration::from_millis(self.settings.wait_ms_max)
            });
            if timeout_at(until, changed).await.is_err() {
                return Err(ErrorCode::ConcurrentTransactions);
            }
        }
    }

    /// InitProducerId for a transactional id: settles and fences whoever used
    /// it before.
    pub(crate) async fn init_producer_id(
        self: &Arc<Self>,
        id: &str,
        timeout_ms: i32,
        expected: Option<Producer>,
    ) -> Result<Producer, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        if timeout_ms <= 0 || timeout_ms > self.settings.timeout_ms_max {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let mut request = InitRequest {
            expected,
            timeout_ms,
            fresh_producer_id: None,
        };
        loop {
            let entry = self.entry_or_new(id).await?;
            let assigned = self
                .look(&entry, |state| self.init_step(&entry, state, &mut request))
                .await?;
            match assigned {
                Assigned::Producer(producer, lsn) => {
                    entry.flushed(lsn).await?;
                    return Ok(producer);
                }
                Assigned::NeedProducerId => {
                    request.fresh_producer_id = Some(self.ports.next_producer_id().await?);
                }
                // It expired between the look-up and the lock.
                Assigned::Expired => {}
            }
        }
    }

    fn init_step(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        state: &mut EntryState,
        request: &mut InitRequest,
    ) -> Result<Step<Assigned>, ErrorCode> {
        if state.transaction.state == TransactionState::Dead {
            return Ok(Step::Done(Assigned::Expired));
        }
        loop {
            let now_ms = self.now().wall_ms;
            match state.transaction.init_producer_id(request, now_ms)? {
                InitDecision::Repeat(producer) => {
                    return Ok(Step::Done(Assigned::Producer(producer, state.last_lsn)));
                }
                InitDecision::Assign(next) => {
                    let producer = next.producer();
                    let lsn = entry.append(state, next, now_ms)?;
                    return Ok(Step::Done(Assigned::Producer(producer, Some(lsn))));
                }
                InitDecision::NeedProducerId => return Ok(Step::Done(Assigned::NeedProducerId)),
                InitDecision::Wait => return Ok(Step::Wait),
                InitDecision::Abort(prepare) => {
                    if request.expected.is_some() {
                        request.expected = Some(prepare.producer());
                    }
                    if let Ended::Later = self.decide(entry, state, prepare)? {
                        return Ok(Step::Wait);
                    }
                }
            }
        }
    }

    /// AddPartitionsToTxn.
    pub(crate) async fn add_partitions(
        self: &Arc<Self>,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
        durability: Durability,
    ) -> Result<(), ErrorCode> {
        let entry = self.known_entry(id).await?;
        let lsn = self
            .look(&entry, |state| {
                let now = self.now();
                match state
                    .transaction
                    .add_partitions(producer, partitions, now)?
                {
                    AddDecision::Known => Ok(Step::Done(state.last_lsn)),
                    AddDecision::Wait => Ok(Step::Wait),
                    AddDecision::Add(next) => {
                        let lsn = entry.append(state, next, now.wall_ms)?;
                        self.watch_timeout(&entry, &state.transaction);
                        Ok(Step::Done(Some(lsn)))
                    }
                }
            })
            .await?;
        match durability {
            Durability::Flushed => entry.flushed(lsn).await,
            Durability::Appended => Ok(()),
        }
    }

    /// AddOffsetsToTxn: the group's partition of `__consumer_offsets` joins the
    /// transaction.
    pub(crate) async fn add_offsets(
        self: &Arc<Self>,
        id: &str,
        producer: Producer,
        group: &str,
        durability: Durability,
    ) -> Result<(), ErrorCode> {
        let partition = self.groups.partition_of(group).await?;
        // Loaded now, so that its marker can be written under a lock later.
        self.groups.load(partition).await?;
        let offsets = TopicPartition::new(InternalTopic::ConsumerOffsets.name(), partition);
        self.add_partitions(id, producer, &[offsets], durability)
            .await
    }

    /// TxnOffsetCommit: checks the producer here and the member in the group.
    /// One result for each offset, in order.
    pub(crate) async fn commit_offsets(
        self: &Arc<Self>,
        id: &str,
        producer: Producer,
        group: &str,
        committer: Committer<'_>,
        offsets: Vec<OffsetToCommit>,
        durability: Durability,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        if group.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        failpoint::hit("transaction.after_data");
        let partition = self.groups.partition_of(group).await?;
        self.groups.load(partition).await?;
        let led = self
            .groups
            .led(partition)
            .ok_or(ErrorCode::CoordinatorNotAvailable)?;
        // The guard is taken before the question: a marker in between makes it
        // worthless, so a late commit cannot open a transaction nobody ends.
        let guard = led
            .log
            .verification_guard(producer.id, producer.epoch, NO_SEQUENCE);
        if guard.is_some() {
            let offsets = TopicPartition::new(InternalTopic::ConsumerOffsets.name(), partition);
            self.verify_partition(id, producer, &offsets).await?;
        } else {
            self.check_producer(id, producer).await?;
        }
        let verified = VerifiedProducer {
            id: producer.id,
            epoch: producer.epoch,
            guard,
        };
        let (appended, results) = self
            .groups
            .commit_in_transaction(partition, group, committer, verified, offsets)?;
        failpoint::hit("group.after_offsets");
        if let (Some(appended), Durability::Flushed) = (appended, durability) {
            led.flushed(appended.lsn).await?;
        }
        Ok(results)
    }

    /// Whether this is the present producer of the id.
    async fn check_producer(
        self: &Arc<Self>,
        id: &str,
        producer: Producer,
    ) -> Result<(), ErrorCode> {
        let entry = self.known_entry(id).await?;
        self.look(&entry, |state| {
            state.transaction.check_producer(producer).map(Step::Done)
        })
        .await
    }

    /// Whether this producer may write to this partition now.
    pub(crate) async fn verify_partition(
        self: &Arc<Self>,
        id: &str,
        producer: Producer,
        partition: &TopicPartition,
    ) -> Result<(), ErrorCode> {
        let entry = self.known_entry(id).await?;
        self.look(&entry, |state| {
            Ok(match state.transaction.verify(producer, partition)? {
                Some(()) => Step::Done(()),
                None => Step::Wait,
            })
        })
        .await
    }

    /// EndTxn. Returns when the outcome is decided and durable; in a fused
    /// commit everything is.
    pub(crate) async fn end(
        self: &Arc<Self>,
        id: &str,
        producer: Producer,
        commit: bool,
    ) -> Result<(), ErrorCode> {
        let entry = self.known_entry(id).await?;
        let lsn: Option<Lsn> = self
            .look(&entry, |state| {
                match state
                    .transaction
                    .end(producer, commit, self.now().wall_ms)?
                {
                    EndDecision::Repeat => Ok(Step::Done(state.last_lsn)),
                    EndDecision::Prepare(prepare) => {
                        Ok(match self.decide(&entry, state, prepare)? {
                            Ended::Appended(lsn) => Step::Done(Some(lsn)),
                            Ended::Later => Step::Wait,
                        })
                    }
                }
            })
            .await?;
        entry.flushed(lsn).await
    }

    async fn known_entry(self: &Arc<Self>, id: &str) -> Result<Arc<Entry>, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.entry(id).await
    }
}

/// What an InitProducerId came to.
enum Assigned {
    Producer(Producer, Option<Lsn>),
    NeedProducerId,
    Expired,
}
