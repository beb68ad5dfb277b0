//! Fetch: batches of partitions, as they lie in the logs, for consumers.
//!
//! A request that finds less than `min_bytes` waits on one `Notify` that all its logs share; a log that moves wakes it
//! at once, and only what is new is read again. Fetch sessions are not kept: every answer has session id 0, which
//! tells the client to send whole requests.

use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::{Bytes, BytesMut};
use millstream_log::{AbortedTxn, Isolation, LogOffsets};
use millstream_records::batches;
use millstream_wire::{
    ErrorCode,
    fetch::{
        AbortedTransaction, EpochEndOffset, FetchPartition, FetchRequest, FetchResponse,
        FetchTopic, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
    },
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{context::RequestContext, error_codes::read_error, partition::Partition};

/// From this version on topics are named by id.
const TOPIC_IDS_FROM: i16 = 13;
/// A client may wait as long as it likes, but not beyond what a point in time can express.
const WAIT_MAX: Duration = Duration::from_secs(86_400);

/// A partition of the request and what has been read of it.
struct Wanted {
    topic: usize,
    index: i32,
    /// The client's limit for this partition, bytes.
    max_bytes: usize,
    /// Where the next read begins.
    next: i64,
    partition: Result<Partition, ErrorCode>,
    diverging: Option<EpochEndOffset>,
    pieces: Vec<Bytes>,
    bytes: usize,
    aborted: Vec<AbortedTxn>,
    offsets: Option<LogOffsets>,
}

pub(super) async fn handle(context: &RequestContext, request: FetchRequest) -> FetchResponse {
    if request.session_id != 0 {
        return FetchResponse {
            error_code: ErrorCode::FetchSessionIdNotFound.code(),
            ..FetchResponse::default()
        };
    }
    let isolation = if request.isolation_level == 1 {
        Isolation::Committed
    } else {
        Isolation::Uncommitted
    };
    let node_max = context.broker.config().fetch_max_bytes;
    let max_bytes = usize::try_from(request.max_bytes.min(node_max)).unwrap_or(0);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let mut wanted = Vec::new();
    for (position, topic) in request.topics.iter().enumerate() {
        wanted.extend(
            topic
                .partitions
                .iter()
                .map(|asked| find(context, position, topic, asked)),
        );
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let pass = Pass {
        isolation,
        max_bytes,
        min_bytes,
    };
    if !pass.run(&mut wanted) && !wait.is_zero() {
        pass.wait(context, &mut wanted, Instant::now() + wait).await;
    }
    respond(context, request.topics, wanted, isolation)
}

/// Looks a partition up and checks what the client believes about it.
fn find(
    context: &RequestContext,
    position: usize,
    topic: &FetchTopic,
    asked: &FetchPartition,
) -> Wanted {
    let partitions = context.broker.partitions();
    let led = if context.api_version >= TOPIC_IDS_FROM {
        partitions.led_by_id(&topic.topic_id, asked.partition)
    } else {
        partitions.led(&topic.topic, asked.partition)
    };
    let partition = led.and_then(|partition| {
        partition.check_leader_epoch(asked.current_leader_epoch)?;
        Ok(partition)
    });
    let diverging = partition
        .as_ref()
        .ok()
        .and_then(|partition| diverging(partition, asked));
    Wanted {
        topic: position,
        index: asked.partition,
        max_bytes: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
        next: asked.fetch_offset,
        offsets: partition
            .as_ref()
            .ok()
            .map(|partition| partition.log.offsets()),
        partition,
        diverging,
        pieces: Vec::new(),
        bytes: 0,
        aborted: Vec::new(),
    }
}

/// Where the log parts from what the client has read under an epoch that has ended earlier here (KIP-320).
fn diverging(partition: &Partition, asked: &FetchPartition) -> Option<EpochEndOffset> {
    if asked.last_fetched_epoch < 0 {
        return None;
    }
    let (epoch, end_offset) = partition
        .log
        .epoch_end_offset(asked.last_fetched_epoch)
        .unwrap_or((-1, -1));
    let parted = epoch < asked.last_fetched_epoch || end_offset < asked.fetch_offset;
    (parted && asked.fetch_offset > partition.log.offsets().log_start)
        .then_some(EpochEndOffset { epoch, end_offset })
}

/// The limits of one request.
struct Pass {
    isolation: Isolation,
    max_bytes: usize,
    min_bytes: usize,
}

impl Pass {
    /// Reads what there is beyond what has been read already. True when the answer can go out: enough bytes, no more
    /// room, an error or nothing to wait for.
    fn run(&self, wanted: &mut [Wanted]) -> bool {
        let mut total: usize = wanted.iter().map(|one| one.bytes).sum();
        for one in wanted.iter_mut() {
            let Ok(partition) = &one.partition else {
                continue;
            };
            let room = self
                .max_bytes
                .saturating_sub(total)
                .min(one.max_bytes.saturating_sub(one.bytes));
            // The first batch of an answer goes out whole, however small the client's limits are.
            let first = total == 0;
            if one.diverging.is_some() || (room == 0 && !first) {
                continue;
            }
            match partition.log.read(one.next, room, self.isolation, first) {
                Ok(read) => {
                    one.offsets = Some(read.offsets);
                    if !read.bytes.is_empty() {
                        one.next = behind(&read.bytes, one.next);
                        one.bytes += read.bytes.len();
                        total += read.bytes.len();
                        one.aborted.extend(read.aborted);
                        one.pieces.push(read.bytes);
                    }
                }
                Err(error) => {
                    let code = read_error(&error);
                    if code != ErrorCode::OffsetOutOfRange {
                        let topic = &partition.topic.name;
                        tracing::error!(%topic, partition = one.index, offset = one.next, %error, "read failed");
                    }
                    one.partition = Err(code);
                }
            }
        }
        let settled = |one: &Wanted| one.partition.is_err() || one.diverging.is_some();
        let full = total > 0 && total >= self.max_bytes;
        total >= self.min_bytes || full || wanted.is_empty() || wanted.iter().any(settled)
    }

    /// Waits until the answer can go out, at most until the deadline or the node's shutdown.
    async fn wait(&self, context: &RequestContext, wanted: &mut [Wanted], deadline: Instant) {
        let notify = Arc::new(Notify::new());
        let watch = |one: &Wanted| {
            one.partition
                .as_ref()
                .ok()
                .map(|found| found.log.watch(Arc::clone(&notify)))
        };
        let _guards: Vec<_> = wanted.iter().filter_map(watch).collect();
        let mut closing = context.broker.closing();
        // Watched first, then read: an append in between is either seen or wakes us.
        while !self.run(wanted) {
            loop {
                let woken = async {
                    tokio::select! {
                        () = notify.notified() => true,
                        _ = closing.wait_for(|closing| *closing) => false,
                    }
                };
                match timeout_at(deadline, woken).await {
                    Ok(true) if wanted.iter().any(|one| self.has_news(one)) => break,
                    Ok(true) => {}
                    Ok(false) | Err(_) => return,
                }
            }
        }
    }

    /// Whether there is something to read beyond what was read.
    fn has_news(&self, one: &Wanted) -> bool {
        one.partition.as_ref().is_ok_and(|partition| {
            let offsets = partition.log.offsets();
            let end = if self.isolation == Isolation::Committed {
                offsets.last_stable
            } else {
                offsets.high_watermark
            };
            end > one.next
        })
    }
}

/// The offset behind the last batch. Bytes from a log are whole batches.
fn behind(bytes: &Bytes, from: i64) -> i64 {
    let last = batches(bytes).filter_map(Result::ok).last();
    last.map_or(from, |batch| batch.header().next_offset())
}

fn respond(
    context: &RequestContext,
    topics: Vec<FetchTopic>,
    wanted: Vec<Wanted>,
    isolation: Isolation,
) -> FetchResponse {
    let by_id = context.api_version >= TOPIC_IDS_FROM;
    let named = |topic: FetchTopic| FetchableTopicResponse {
        topic: if by_id { String::new() } else { topic.topic },
        topic_id: topic.topic_id,
        partitions: Vec::with_capacity(topic.partitions.len()),
    };
    let mut responses: Vec<FetchableTopicResponse> = topics.into_iter().map(named).collect();
    let mut fetched = 0;
    for one in wanted {
        fetched += one.bytes as u64;
        let topic = one.topic;
        responses[topic]
            .partitions
            .push(partition_data(context, one, isolation));
    }
    context
        .broker
        .metrics()
        .bytes_fetched
        .fetch_add(fetched, Relaxed);
    FetchResponse {
        responses,
        ..FetchResponse::default()
    }
}

fn partition_data(context: &RequestContext, one: Wanted, isolation: Isolation) -> PartitionData {
    let mut data = PartitionData {
        partition_index: one.index,
        high_watermark: -1,
        records: Some(Bytes::new()),
        ..PartitionData::default()
    };
    match one.partition {
        Err(code) => {
            data.error_code = code.code();
            if let Some(offsets) = one.offsets {
                data.log_start_offset = offsets.log_start;
            }
        }
        Ok(partition) => {
            let offsets = one.offsets.unwrap_or_else(|| partition.log.offsets());
            data.high_watermark = offsets.high_watermark;
            data.last_stable_offset = offsets.last_stable;
            data.log_start_offset = offsets.log_start;
            if let Some(diverging) = one.diverging {
                data.diverging_epoch = diverging;
                let leader_id = context.broker.cluster().node_id();
                data.current_leader = LeaderIdAndEpoch {
                    leader_id,
                    leader_epoch: partition.leader_epoch,
                };
            }
            data.aborted_transactions =
                (isolation == Isolation::Committed).then(|| aborted(one.aborted));
            data.records = Some(joined(one.pieces, one.bytes));
        }
    }
    data
}

fn aborted(mut found: Vec<AbortedTxn>) -> Vec<AbortedTransaction> {
    // Several reads of one request may have met the same transaction.
    found.sort_by_key(|one| (one.first_offset, one.producer_id));
    found.dedup_by_key(|one| (one.first_offset, one.producer_id));
    let describe = |one: AbortedTxn| AbortedTransaction {
        producer_id: one.producer_id,
        first_offset: one.first_offset,
    };
    found.into_iter().map(describe).collect()
}

fn joined(mut pieces: Vec<Bytes>, bytes: usize) -> Bytes {
    if pieces.len() <= 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(bytes);
    pieces
        .iter()
        .for_each(|piece| whole.extend_from_slice(piece));
    whole.freeze()
}
