//! Produce: record batches from clients into partitions.
//!
//! In two steps: [`append`] puts everything into the logs, in order; [`Appended::flushed`] waits, with `acks=all`, for
//! the one flush that covers it all. Between the two the connection already begins its next request.

use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use millstream_log::{AppendOptions, FlushMode, Log, VerificationGuard, journal::Lsn};
use millstream_records::BatchHeader;
use millstream_wire::{
    ErrorCode,
    produce::{
        PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
        TopicProduceResponse,
    },
};

use crate::{
    context::RequestContext,
    error_codes::append_error,
    partition::Partition,
    prepare::{BatchLimits, PrepareError, prepare},
    verification::{NamedPartition, produce_error},
};

/// The least time for which an acknowledgement waits for its flush, whatever the client says: less than a flush takes
/// would only make it retry.
const FLUSH_WAIT_MIN: Duration = Duration::from_secs(1);
/// The first version that may carry zstd (KIP-110).
const ZSTD_FROM: i16 = 7;

/// Why a partition's batch was not appended.
struct Failure {
    code: ErrorCode,
    message: Option<String>,
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Failure {
        Failure {
            code,
            message: None,
        }
    }
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

/// The request's outcome before the flush.
pub(crate) struct Appended {
    response: ProduceResponse,
    wait: Option<FlushWait>,
}

/// What has to be durable before the client is told so.
struct FlushWait {
    log: Arc<Log>,
    lsn: Lsn,
    limit: Duration,
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
    let is_transactional = transactional_id.is_some();
    let mut items = Vec::new();
    for (position, topic) in request.topic_data.into_iter().enumerate() {
        for data in topic.partition_data {
            let index = data.index;
            let state = check(context, acks, is_transactional, &topic.name, data);
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

/// The checks of one partition's batch that need neither the coordinator nor the log's lock.
fn check(
    context: &RequestContext,
    acks: i16,
    is_transactional: bool,
    topic: &str,
    data: PartitionProduceData,
) -> Result<Checked, Failure> {
    if !(-1..=1).contains(&acks) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    let partition = context.broker.partitions().led(topic, data.index)?;
    if !partition.takes_clients() {
        return Err(Failure {
            code: ErrorCode::InvalidTopicException,
            message: Some(format!(
                "topic {topic} is the node's own: no client writes to it"
            )),
        });
    }
    if acks == -1 && !partition.has_enough_replicas() {
        return Err(ErrorCode::NotEnoughReplicas.into());
    }
    let records = data.records.unwrap_or_default();
    if !is_transactional && claims_a_transaction(&records) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed.into());
    }
    let limits = BatchLimits {
        decompressed_bytes_max: usize::try_from(context.broker.config().socket_request_max_bytes)
            .unwrap_or(0),
        zstd: context.api_version >= ZSTD_FROM,
    };
    let (batch, header) = prepare(&records, &partition.settings, limits).map_err(refused)?;
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

fn refused(error: PrepareError) -> Failure {
    Failure {
        code: error.code(),
        message: Some(error.to_string()),
    }
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
                item.state = Err(produce_error(verdict).into());
            }
        }
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
            Err(Failure {
                code,
                message: Some(error.to_string()),
            })
        }
    }
}

fn answer(
    index: i32,
    done: Result<(Arc<Log>, millstream_log::Appended), Failure>,
) -> (Option<(Arc<Log>, Lsn)>, PartitionProduceResponse) {
    match done {
        Ok((log, appended)) => {
            let response = PartitionProduceResponse {
                index,
                error_code: ErrorCode::None.code(),
                base_offset: appended.base_offset,
                log_append_time_ms: appended.log_append_time,
                log_start_offset: appended.log_start_offset,
                ..PartitionProduceResponse::default()
            };
            (Some((log, appended.lsn)), response)
        }
        Err(failure) => (None, failed(index, failure.code, failure.message)),
    }
}

fn failed(index: i32, code: ErrorCode, message: Option<String>) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: code.code(),
        base_offset: -1,
        error_message: message,
        ..PartitionProduceResponse::default()
    }
}

impl Appended {
    /// The first partition's error, in the request's order.
    pub(crate) fn first_error(&self) -> Option<ErrorCode> {
        let partitions = self
            .response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        let code = partitions
            .map(|partition| partition.error_code)
            .find(|code| *code != ErrorCode::None.code())?;
        Some(ErrorCode::try_from(code).unwrap_or(ErrorCode::UnknownServerError))
    }

    /// The response, when nothing is to be waited for.
    pub(crate) fn settled(self) -> Result<ProduceResponse, Appended> {
        match self.wait {
            None => Ok(self.response),
            Some(_) => Err(self),
        }
    }

    /// Waits until everything is durable. What is not in time, or never will be, is an error of its partition.
    pub(crate) async fn flushed(mut self) -> ProduceResponse {
        let Some(wait) = self.wait.take() else {
            return self.response;
        };
        let (code, message) =
            match tokio::time::timeout(wait.limit, wait.log.flushed(wait.lsn)).await {
                Ok(Ok(())) => return self.response,
                Ok(Err(error)) => (ErrorCode::KafkaStorageError, error.to_string()),
                Err(_) => (
                    ErrorCode::RequestTimedOut,
                    format!("the flush took longer than {:?}", wait.limit),
                ),
            };
        for topic in &mut self.response.responses {
            for partition in &mut topic.partition_responses {
                if partition.error_code == ErrorCode::None.code() {
                    *partition = failed(partition.index, code, Some(message.clone()));
                }
            }
        }
        self.response
    }
}
