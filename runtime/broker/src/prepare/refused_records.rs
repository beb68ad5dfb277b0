//! Records that their topic does not take, in a batch that is sound: the client learns which they are (KIP-467).

use std::ops::RangeInclusive;

use millstream_log::LogConfig;
use millstream_records::{BatchHeader, Record, TimestampType};
use millstream_wire::ErrorCode;
use thiserror::Error;

/// "No time" of a record, which every topic takes.
const NO_TIMESTAMP: i64 = -1;

/// What a topic wants of each record.
pub(super) struct RecordRules {
    wants_keys: bool,
    /// None in a topic that gives its own times.
    times: Option<RangeInclusive<i64>>,
    /// The batch says that the log gave its records their times.
    has_append_time: bool,
}

/// Why a topic does not take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum RecordRefusal {
    #[error("it has no key, and the topic is compacted")]
    Keyless,
    #[error("its timestamp {0} is older than message.timestamp.before.max.ms allows")]
    TooOld(i64),
    #[error("its timestamp {0} lies further ahead than message.timestamp.after.max.ms allows")]
    TooNew(i64),
    #[error("its batch says LogAppendTime, which the node alone gives")]
    AppendTime,
}

/// The refused records of a batch.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{count} of the batch's records are refused, the first is record {}: {}", .first.0, .first.1)]
pub(crate) struct RefusedRecords {
    count: usize,
    has_wrong_time: bool,
    first: (i32, RecordRefusal),
    /// By their numbers in the batch, in order, as far as the answer has room.
    named: Vec<(i32, RecordRefusal)>,
}

impl RecordRules {
    pub fn of(log: &LogConfig, header: &BatchHeader, now_ms: i64) -> RecordRules {
        let earliest = now_ms.saturating_sub(log.timestamp_before_max_ms);
        let latest = now_ms.saturating_add(log.timestamp_after_max_ms);
        RecordRules {
            wants_keys: log.cleanup.compact,
            times: (log.timestamp_type == TimestampType::CreateTime).then_some(earliest..=latest),
            has_append_time: header.timestamp_type() == TimestampType::LogAppendTime,
        }
    }

    pub fn check(&self, record: &Record<'_>) -> Result<(), RecordRefusal> {
        if self.wants_keys && record.key.is_none() {
            return Err(RecordRefusal::Keyless);
        }
        if self.has_append_time {
            return Err(RecordRefusal::AppendTime);
        }
        match &self.times {
            Some(times) if record.timestamp != NO_TIMESTAMP => {
                if record.timestamp < *times.start() {
                    return Err(RecordRefusal::TooOld(record.timestamp));
                }
                if record.timestamp > *times.end() {
                    return Err(RecordRefusal::TooNew(record.timestamp));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl RefusedRecords {
    /// One more to those that a batch has so far, of which at most `named_max` are named.
    pub(super) fn add(
        so_far: &mut Option<RefusedRecords>,
        index: i32,
        refusal: RecordRefusal,
        named_max: usize,
    ) {
        let all = so_far.get_or_insert(RefusedRecords {
            count: 0,
            has_wrong_time: false,
            first: (index, refusal),
            named: Vec::new(),
        });
        all.count += 1;
        all.has_wrong_time |= refusal != RecordRefusal::Keyless;
        if all.named.len() < named_max {
            all.named.push((index, refusal));
        }
    }

    /// As in Kafka, a wrong time counts more than a missing key.
    pub fn code(&self) -> ErrorCode {
        match self.has_wrong_time {
            true => ErrorCode::InvalidTimestamp,
            false => ErrorCode::InvalidRecord,
        }
    }

    /// The named records with what is wrong with each.
    pub fn named(&self) -> impl Iterator<Item = (i32, String)> {
        self.named
            .iter()
            .map(|(index, refusal)| (*index, refusal.to_string()))
    }
}
