//! What an append is checked for before it is written, and what is assigned to it.

use millstream_records::{BatchError, BatchHeader, BatchView, HEADER_LEN, TimestampType, patch};

use super::append::Incomer;
use super::{AppendError, AppendOptions, AppendOrigin, Appender};
use crate::LogConfig;
use crate::producer_state::{BatchFacts, Origin, ProducerUpdate, StoredBatch};

/// What can be checked without the log.
pub(super) fn check_batches(
    bytes: &mut [u8],
    config: &LogConfig,
    origin: AppendOrigin,
) -> Result<Vec<Incomer>, AppendError> {
    if bytes.is_empty() {
        return Err(AppendError::Empty);
    }
    check_size(bytes.len(), config.segment_bytes, "segment.bytes")?;
    let mut incomers = Vec::with_capacity(1);
    let mut start = 0;
    while start < bytes.len() {
        let rest = &mut bytes[start..];
        if rest.len() >= HEADER_LEN {
            // Whatever the sender put there, offsets are the log's to give.
            patch::set_base_offset(rest, 0);
        }
        let size = BatchHeader::parse(rest)?.size_in_bytes();
        check_size(size, config.max_message_bytes, "max.message.bytes")?;
        let batch = BatchView::parse(&rest[..size.min(rest.len())])?;
        match origin.is_producer() {
            true => batch.check_produced_header()?,
            false => check_coordinator_header(batch.header())?,
        }
        batch.verify_crc()?;
        incomers.push(Incomer {
            header: *batch.header(),
            start,
            marker: None,
        });
        start += size;
    }
    Ok(incomers)
}

fn check_size(size: usize, max: u32, setting: &'static str) -> Result<(), AppendError> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    if size > max {
        return Err(AppendError::TooLarge { size, max, setting });
    }
    Ok(())
}

fn check_coordinator_header(header: &BatchHeader) -> Result<(), BatchError> {
    let refuse = |field, value| Err(BatchError::Field { field, value });
    if header.is_control() {
        return refuse("attributes of a data batch", i64::from(header.attributes));
    }
    if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        return Err(BatchError::Count {
            record_count: header.record_count,
            last_offset_delta: header.last_offset_delta,
        });
    }
    if header.has_producer_id() && header.producer_epoch < 0 {
        return refuse("producer epoch", i64::from(header.producer_epoch));
    }
    if header.is_transactional() && !header.has_producer_id() {
        return refuse("producer id of a transactional batch", header.producer_id);
    }
    Ok(())
}

pub(super) fn find_duplicate(
    appender: &Appender,
    incomers: &[Incomer],
    origin: AppendOrigin,
) -> Option<StoredBatch> {
    let first = &incomers.first()?.header;
    if !origin.is_producer() || !first.has_producer_id() {
        return None;
    }
    appender.producers.find_duplicate(first)
}

/// Gives the batches their offsets, leader epoch and, where the log's setting says so, time.
/// Returns the time that was stamped, or -1.
pub(super) fn assign(
    bytes: &mut [u8],
    incomers: &mut [Incomer],
    log_end: i64,
    config: &LogConfig,
    options: AppendOptions,
    now_ms: i64,
) -> Result<i64, AppendError> {
    let mut next = log_end;
    let stamps = config.timestamp_type == TimestampType::LogAppendTime;
    for incomer in incomers {
        let batch = &mut bytes[incomer.start..incomer.start + incomer.header.size_in_bytes()];
        let after = next
            .checked_add(i64::from(incomer.header.last_offset_delta))
            .and_then(|last| last.checked_add(1))
            .filter(|after| *after < i64::MAX);
        let Some(after) = after else {
            return Err(AppendError::NoOffsetsLeft { log_end });
        };
        patch::set_base_offset(batch, next);
        patch::set_leader_epoch(batch, options.leader_epoch);
        if stamps {
            patch::set_log_append_time(batch, now_ms);
            incomer.header.max_timestamp = now_ms;
        } else if options.origin.is_producer() {
            check_timestamps(&incomer.header, config, now_ms)?;
        }
        incomer.header.base_offset = next;
        incomer.header.leader_epoch = options.leader_epoch;
        next = after;
    }
    Ok(if stamps { now_ms } else { -1 })
}

/// The header's greatest timestamp must not be too far ahead, its first not too far behind.
fn check_timestamps(
    header: &BatchHeader,
    config: &LogConfig,
    now_ms: i64,
) -> Result<(), AppendError> {
    let refuse = |timestamp, allowed_ms, setting| {
        Err(AppendError::Timestamp {
            timestamp,
            now_ms,
            allowed_ms,
            setting,
        })
    };
    let (first, greatest) = (header.base_timestamp, header.max_timestamp);
    if greatest >= 0 && greatest.saturating_sub(now_ms) > config.timestamp_after_max_ms {
        return refuse(
            greatest,
            config.timestamp_after_max_ms,
            "message.timestamp.after.max.ms",
        );
    }
    if first >= 0 && now_ms.saturating_sub(first) > config.timestamp_before_max_ms {
        return refuse(
            first,
            config.timestamp_before_max_ms,
            "message.timestamp.before.max.ms",
        );
    }
    Ok(())
}

pub(super) fn check_producers(
    appender: &Appender,
    incomers: &[Incomer],
    options: AppendOptions,
    now_ms: i64,
) -> Result<ProducerUpdate, AppendError> {
    let origin = match options.origin {
        AppendOrigin::Client | AppendOrigin::Task => Origin::Client,
        AppendOrigin::Coordinator => Origin::Coordinator,
    };
    let mut update = ProducerUpdate::default();
    for incomer in incomers.iter().filter(|one| one.header.has_producer_id()) {
        let facts = BatchFacts {
            header: &incomer.header,
            marker: incomer.marker,
            now_ms,
        };
        update.add(&appender.producers, &facts, origin, options.verification)?;
    }
    Ok(update)
}
