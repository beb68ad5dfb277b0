//! One partition of an internal topic: appending to it and reading it whole.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_log::{AppendOptions, Appended, Health, Isolation, Log, Lsn, VerificationGuard};
use millstream_records::{BatchBuilder, BatchOptions, BatchView, Marker, ProducerStamp, batches};
use millstream_wire::ErrorCode;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::LoadError;
use crate::error_codes::{append_error, store_error};

/// How much of a partition is read at once when it is loaded.
const LOAD_CHUNK_BYTES: usize = 1024 * 1024;
/// Most bytes that one batch may unpack to; our own batches are not packed,
/// and Kafka's are smaller than its largest message.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A coordinator's append is mostly followed by others of the same commit, and
/// whoever needs it durable waits, which begins the flush at once. This is for
/// those that nobody waits for.
const FLUSH_WITHIN: Duration = Duration::from_millis(10);
/// How long replicas may take to have everything before a decision is put off.
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(30);

/// A partition that this node leads.
#[derive(Clone)]
pub(crate) struct LedLog {
    pub(crate) log: Arc<Log>,
    /// The leader epoch under which this node may append.
    pub(crate) leader_epoch: i32,
    /// Whether exactly this node is the whole replica set.
    pub(crate) sole_replica: bool,
}

/// A record's place and the transaction that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Written by a coordinator on its own account.
    Plain,
    /// Part of this producer's transaction.
    Transactional(i64),
}

/// What a partition holds, in order.
pub(crate) enum Stored {
    Record {
        at: i64,
        origin: Origin,
        key: Bytes,
        value: Option<Bytes>,
    },
    /// The end of a producer's transaction.
    End {
        at: i64,
        producer_id: i64,
        marker: Marker,
    },
}

impl LedLog {
    /// Appends one batch of records.
    pub(crate) fn append(
        &self,
        mut batch: Vec<u8>,
        verification: Option<VerificationGuard>,
    ) -> Result<Appended, ErrorCode> {
        self.log
            .append(&mut batch, self.options().verified_by(verification))
            .map_err(|error| append_error(&error))
    }

    /// Appends the end of a producer's transaction.
    pub(crate) fn append_marker(
        &self,
        marker: Marker,
        producer_id: i64,
        producer_epoch: i16,
        coordinator_epoch: i32,
    ) -> Result<Appended, ErrorCode> {
        self.log
            .append_marker_with(
                marker,
                producer_id,
                producer_epoch,
                coordinator_epoch,
                self.options(),
            )
            .map_err(|error| append_error(&error))
    }

    fn options(&self) -> AppendOptions {
        AppendOptions::coordinator(self.leader_epoch).flush_within(FLUSH_WITHIN)
    }

    /// Waits until everything up to `lsn` is durable by the node's rules.
    pub(crate) async fn flushed(&self, lsn: Lsn) -> Result<(), ErrorCode> {
        self.log
            .flushed(lsn)
            .await
            .map_err(|error| store_error(&error))
    }

    /// Offsets below this one are committed.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.log.offsets().high_watermark
    }

    /// KAFKA_STORAGE_ERROR when the node takes no writes until it is restarted: there is no point in
    /// waiting for anything, nor in trying again.
    pub(crate) fn check_alive(&self) -> Result<(), ErrorCode> {
        match self.log.health() {
            Health::Poisoned { .. } => Err(ErrorCode::KafkaStorageError),
            Health::Ok | Health::Full { .. } => Ok(()),
        }
    }

    /// Waits until everything that is in the log now is committed.
    pub(crate) async fn all_committed(&self) -> Result<(), ErrorCode> {
        let moved = Arc::new(Notify::new());
        let _watch = self.log.watch(Arc::clone(&moved));
        let end = self.log.offsets().log_end;
        let until = Instant::now() + COMMIT_WAIT_MAX;
        while self.high_watermark() < end {
            self.check_alive()?;
            // Woken, or not in time: either way the loop looks again.
            if timeout_at(until, moved.notified()).await.is_err() {
                return Err(ErrorCode::NotEnoughReplicas);
            }
        }
        Ok(())
    }

    /// Reads everything from the log's start to its present end. Blocks.
    pub(crate) fn read_all(&self, mut visit: impl FnMut(Stored)) -> Result<(), LoadError> {
        let offsets = self.log.offsets();
        let mut at = offsets.log_start;
        while at < offsets.log_end {
            let read = self
                .log
                .read(at, LOAD_CHUNK_BYTES, Isolation::LogEnd, true)
                .map_err(|error| LoadError::unreadable(&self.log, &error))?;
            let before = at;
            for batch in batches(&read.bytes) {
                let batch = batch.map_err(LoadError::corrupt)?;
                if batch.header().next_offset() > at {
                    visit_batch(&batch, at, &mut visit)?;
                    at = batch.header().next_offset();
                }
            }
            if at == before {
                // Compaction may leave a hole at the end; nothing is behind it.
                break;
            }
        }
        Ok(())
    }
}

fn visit_batch(
    batch: &BatchView<'_>,
    from: i64,
    visit: &mut impl FnMut(Stored),
) -> Result<(), LoadError> {
    let corrupt = |error| {
        let offset = batch.header().base_offset;
        LoadError::corrupt(format!("the batch of offset {offset}: {error}"))
    };
    let header = batch.header();
    batch.verify_crc().map_err(corrupt)?;
    let records = batch.records(UNPACKED_BYTES_MAX).map_err(corrupt)?;
    for record in records.iter() {
        let record = record.map_err(corrupt)?;
        if record.offset < from {
            continue;
        }
        if header.is_control() {
            let control = millstream_records::ControlRecord::parse(&record).map_err(corrupt)?;
            if let Some(marker) = control.marker() {
                visit(Stored::End {
                    at: record.offset,
                    producer_id: header.producer_id,
                    marker,
                });
            }
            continue;
        }
        let Some(key) = record.key else {
            continue;
        };
        visit(Stored::Record {
            at: record.offset,
            origin: if header.is_transactional() {
                Origin::Transactional(header.producer_id)
            } else {
                Origin::Plain
            },
            key: Bytes::copy_from_slice(key),
            value: record.value.map(Bytes::copy_from_slice),
        });
    }
    Ok(())
}

/// One uncompressed batch of keyed records, all with the same time. With a
/// producer it is part of that producer's transaction; coordinators' batches
/// carry no sequence of their own, as in Kafka.
pub(crate) fn batch_of<'a>(
    records: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    timestamp_ms: i64,
    producer: Option<(i64, i16)>,
) -> Result<Vec<u8>, ErrorCode> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer: producer.map(|(id, epoch)| ProducerStamp {
            id,
            epoch,
            base_sequence: 0,
        }),
        transactional: producer.is_some(),
        ..BatchOptions::default()
    });
    for (key, value) in records {
        builder
            .append(timestamp_ms, Some(key), value, std::iter::empty())
            .map_err(|_| ErrorCode::InvalidCommitOffsetSize)?;
    }
    builder.build().map_err(|_| ErrorCode::UnknownServerError)
}
