//! Produce: record batches from clients into partitions.
//!
//! In two steps: [`append`] puts everything into the logs, in order; [`Appended::flushed`] waits, with `acks=all`, for
//! the one flush that covers it all. Between the two the connection already begins its next request.

mod answer;

use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use millstream_log::{AppendOptions, FlushMode, Log, VerificationGuard, journal::Lsn};
use millstream_records::BatchHeader;
use millstream_wire::{
    ErrorCode,
    produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceResponse},
};

use crate::{
    context::RequestContext,
    error_codes::append_error,
    partition::Partition,
    prepare::{BatchLimits, prepare},
    verification::{NamedPartition, produce_error},
};

pub(crate) use answer::Appended;
use answer::{Failure, FlushWait, answer};

/// The least time for which an acknowledgement waits for its flush, whatever the client says: less than a flush takes
/// would only make it retry.
const FLUSH_WAIT_MIN: Duration = Duration::from_secs(1);
/// The first version that may carry zstd (KIP-110).
const ZSTD_FROM: i16 = 7;
/// Most records that the answer to one request names as refused: compressed, a few bytes hold many.
const RECORD_ERRORS_MAX: usize = 10_000;

/// The request as far as it concerns each of its batches.
struct Terms {
    acks: i16,
    /// It names a transactional id.
    is_transactional: bool,
    limits: BatchLimits,
}

/// A partition's batch on its way: found its log and passed the checks that need no lock.
struct Checked {
    partition: Partition,
    batch: Vec<u8>,
    header: BatchHeader,
    guard: Option<VerificationGuard>,
}

/// One partition of the request, in the request's order.
struct Item {
    topic: usize,
    index: i32,
    state: Result<Checked, Failure>,
}

/// Appends all that the request brings. Each partition succeeds or fails by itself.
pub(crate) async fn append(context: &RequestContext, request: ProduceRequest) -> Appended {
    let acks = request.acks;
    let names: Vec<String> = request
        .topic_data
        .iter()
        .map(|topic| topic.name.clone())
        .collect();
    let transactional_id = request.transactional_id.filter(|id| !id.is_empty());
    let mut terms = Terms {
        acks,
        is_transactional: transactional_id.is_some(),
        limits: limits(context),
    };
    let mut items = Vec::new();
    for (position, topic) in request.topic_data.into_iter().enumerate() {
        for data in topic.partition_data {
            let index = data.index;
            let state = check(context, &terms, &topic.name, data);
            let named = state.as_ref().err().map_or(0, Failure::named_records);
            let left = &mut terms.limits.record_errors_max;
            *left = left.saturating_sub(named);
            items.push(Item {
                topic: position,
                index,
                state,
            });
        }
    }
    if let Some(transactional_id) = &transactional_id {
        verify(context, transactional_id, &names, &mut items).await;
    }
    let mut responses: Vec<TopicProduceResponse> = names
        .into_iter()
        .map(|name| TopicProduceResponse {
            name,
            ..TopicProduceResponse::default()
        })
        .collect();
    let mut last: Option<(Arc<Log>, Lsn)> = None;
    for item in items {
        let done = item.state.and_then(|checked| append_one(context, checked));
        let (log, response) = answer(item.index, done);
        if let Some((log, lsn)) = log
            && last.as_ref().is_none_or(|(_, latest)| *latest < lsn)
        {
            last = Some((log, lsn));
        }
        responses[item.topic].partition_responses.push(response);
    }
    let must_wait = acks == -1 && context.broker.store().flush_mode() == FlushMode::Journal;
    let limit =
        Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).max(FLUSH_WAIT_MIN);
    Appended {
        response: ProduceResponse {
            responses,
            ..ProduceResponse::default()
        },
        wait: last
            .filter(|_| must_wait)
            .map(|(log, lsn)| FlushWait { log, lsn, limit }),
    }
}

fn limits(context: &RequestContext) -> BatchLimits {
    let config = context.broker.config();
    BatchLimits {
        decompressed_bytes_max: usize::try_from(config.socket_request_max_bytes).unwrap_or(0),
        zstd: context.api_version >= ZSTD_FROM,
        now_ms: context.broker.store().clock().now_ms(),
        record_errors_max: RECORD_ERRORS_MAX,
    }
}

/// The checks of one partition's batch that need neither the coordinator nor the log's lock.
fn check(
    context: &RequestContext,
    terms: &Terms,
    topic: &str,
    data: PartitionProduceData,
) -> Result<Checked, Failure> {
    if !(-1..=1).contains(&terms.acks) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    let partition = context.broker.partitions().led(topic, data.index)?;
    if !partition.takes_clients() {
        let message = format!("topic {topic} is the node's own: no client writes to it");
        return Err(Failure::because(ErrorCode::InvalidTopicException, message));
    }
    if terms.acks == -1 && !partition.has_enough_replicas() {
        return Err(Failure::from(ErrorCode::NotEnoughReplicas).of(&partition));
    }
    let records = data.records.unwrap_or_default();
    if !terms.is_transactional && claims_a_transaction(&records) {
        return Err(Failure::from(ErrorCode::TransactionalIdAuthorizationFailed).of(&partition));
    }
    let (batch, header) = prepare(&records, &partition.settings, terms.limits)
        .map_err(|error| Failure::from(error).of(&partition))?;
    let guard = match header.is_transactional() && header.has_producer_id() {
        true => partition.log.verification_guard(
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        ),
        false => None,
    };
    Ok(Checked {
        partition,
        batch,
        header,
        guard,
    })
}

fn claims_a_transaction(records: &[u8]) -> bool {
    BatchHeader::parse(records).is_ok_and(|header| header.is_transactional())
}

/// Asks the transaction coordinator about every batch that would open a transaction in its log.
async fn verify(
    context: &RequestContext,
    transactional_id: &str,
    names: &[String],
    items: &mut [Item],
) {
    if !context
        .broker
        .config()
        .transaction_partition_verification_enable
    {
        return;
    }
    let wants = |item: &Item| match &item.state {
        Ok(checked) if checked.guard.is_some() => {
            Some((checked.header.producer_id, checked.header.producer_epoch))
        }
        _ => None,
    };
    // One producer writes a request, so this loop runs once; a client that mixes producers is served all the same.
    let mut asked = Vec::new();
    while let Some(producer) = items
        .iter()
        .filter_map(wants)
        .find(|producer| !asked.contains(producer))
    {
        asked.push(producer);
        let (id, epoch) = producer;
        let of_producer = |item: &&Item| wants(item) == Some(producer);
        let partitions: Vec<NamedPartition> = items
            .iter()
            .filter(of_producer)
            .map(|item| (names[item.topic].clone(), item.index))
            .collect();
        let verdicts = context
            .broker
            .verify_transaction(transactional_id, id, epoch, &partitions)
            .await;
        let asked_items = items
            .iter_mut()
            .filter(|item| wants(item) == Some(producer));
        for (item, verdict) in asked_items.zip(verdicts) {
            if verdict != ErrorCode::None {
                item.refuse(produce_error(verdict));
            }
        }
    }
}

impl Item {
    /// Its batch, which was sound so far, is not appended.
    fn refuse(&mut self, code: ErrorCode) {
        let failure = Failure::from(code);
        self.state = Err(match &self.state {
            Ok(checked) => failure.of(&checked.partition),
            Err(_) => failure,
        });
    }
}

fn append_one(
    context: &RequestContext,
    checked: Checked,
) -> Result<(Arc<Log>, millstream_log::Appended), Failure> {
    let Checked {
        partition,
        mut batch,
        header,
        guard,
    } = checked;
    let options = AppendOptions::client(partition.leader_epoch).verified_by(guard);
    match partition.log.append(&mut batch, options) {
        Ok(appended) => {
            let metrics = context.broker.metrics();
            metrics
                .bytes_produced
                .fetch_add(batch.len() as u64, Relaxed);
            metrics
                .records_produced
                .fetch_add(u64::try_from(header.record_count).unwrap_or(0), Relaxed);
            Ok((partition.log, appended))
        }
        Err(error) => {
            let code = append_error(&error);
            if code == ErrorCode::KafkaStorageError && !error.is_of_the_node() {
                tracing::error!(topic = %partition.topic.name, partition = partition.index, %error, "append failed");
            }
            Err(Failure::from(error).of(&partition))
        }
    }
}
