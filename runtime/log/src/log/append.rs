//! The way in: check, give offsets, write, journal, publish.

use std::sync::Arc;
use std::time::Duration;

use millstream_records::{
    BatchError, BatchHeader, BatchView, HEADER_LEN, Marker, TimestampType, build_marker, patch,
};

use super::{AppendError, Appender, Life, Log, index_limits};
use crate::LogConfig;
use crate::failpoint;
use crate::index::AbortedEntry;
use crate::journal::{EntryKind, EntryRef, Lsn};
use crate::producer_state::{BatchFacts, Origin, ProducerUpdate, StoredBatch, VerificationGuard};
use crate::segment::{Incoming, IndexedBatch, Segment, SegmentFile, SegmentSizes, path_of};

/// Who appends, and with it which rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer: batches, timestamps, sequences, epochs and verification are checked.
    Client,
    /// A coordinator of this broker: the same but sequences and timestamps; a producer id may come without a sequence.
    Coordinator,
}

/// How to append.
#[derive(Debug, Clone, Copy)]
pub struct AppendOptions {
    /// Stamped into the batches; not older than the epoch of what the log has.
    pub leader_epoch: i32,
    pub origin: AppendOrigin,
    /// The proof for the first batch of a transaction; see [`Log::verification_guard`].
    pub verification: Option<VerificationGuard>,
    /// In journal mode, when the flush must begin at the latest. Zero: at once. A longer time is for an append that
    /// others will follow before anybody waits (the first ones of a fused commit); a wait begins the flush anyway.
    pub flush_within: Duration,
}

impl AppendOptions {
    /// An append of a producer, flushed at once.
    pub fn client(leader_epoch: i32) -> Self {
        Self {
            leader_epoch,
            origin: AppendOrigin::Client,
            verification: None,
            flush_within: Duration::ZERO,
        }
    }

    /// An append of a coordinator, flushed at once.
    pub fn coordinator(leader_epoch: i32) -> Self {
        Self {
            origin: AppendOrigin::Coordinator,
            ..Self::client(leader_epoch)
        }
    }

    #[must_use]
    pub fn verified_by(self, verification: Option<VerificationGuard>) -> Self {
        Self {
            verification,
            ..self
        }
    }

    #[must_use]
    pub fn flush_within(self, flush_within: Duration) -> Self {
        Self {
            flush_within,
            ..self
        }
    }
}

/// Where an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    pub last_offset: i64,
    /// The time that was stamped into the batches, ms, or -1 when they keep their producer's.
    pub log_append_time: i64,
    pub log_start_offset: i64,
    /// Wait for this with [`Log::flushed`] before the append is acknowledged.
    pub lsn: Lsn,
    /// The batch was in the log already; the offsets are those of then.
    pub duplicate: bool,
}

/// A batch within the appended bytes.
struct Incomer {
    header: BatchHeader,
    start: usize,
    marker: Option<(Marker, i32)>,
}

impl Log {
    /// Appends whole batches. Base offsets, the leader epoch and, in a log of `LogAppendTime`, the timestamp are
    /// assigned in place. All batches are appended or none. Blocks for a write into the page cache, and while the
    /// journal pushes back.
    pub fn append(
        &self,
        batches: &mut [u8],
        options: AppendOptions,
    ) -> Result<Appended, AppendError> {
        let config = self.config();
        let incomers = check_batches(batches, &config, options.origin)?;
        self.append_checked(batches, incomers, &config, options)
    }

    /// Appends the marker that ends a producer's transaction in this log.
    pub fn append_marker(
        &self,
        marker: Marker,
        producer_id: i64,
        producer_epoch: i16,
        coordinator_epoch: i32,
        leader_epoch: i32,
    ) -> Result<Appended, AppendError> {
        let options = AppendOptions::coordinator(leader_epoch);
        self.append_marker_with(
            marker,
            producer_id,
            producer_epoch,
            coordinator_epoch,
            options,
        )
    }

    /// As [`Log::append_marker`], with all options.
    pub fn append_marker_with(
        &self,
        marker: Marker,
        producer_id: i64,
        producer_epoch: i16,
        coordinator_epoch: i32,
        options: AppendOptions,
    ) -> Result<Appended, AppendError> {
        let now_ms = self.shared.clock.now_ms();
        let mut bytes = build_marker(
            marker,
            producer_id,
            producer_epoch,
            coordinator_epoch,
            now_ms,
        );
        let incomer = Incomer {
            header: BatchHeader::parse(&bytes)?,
            start: 0,
            marker: Some((marker, coordinator_epoch)),
        };
        let config = self.config();
        self.append_checked(&mut bytes, vec![incomer], &config, options)
    }

    fn append_checked(
        &self,
        bytes: &mut [u8],
        mut incomers: Vec<Incomer>,
        config: &Arc<LogConfig>,
        options: AppendOptions,
    ) -> Result<Appended, AppendError> {
        let mut appender = self.appender.lock();
        appender.check_open()?;
        self.shared
            .check_healthy()
            .map_err(|reason| AppendError::Poisoned { reason })?;
        if let Some(current) = appender.epochs.latest()
            && options.leader_epoch < current
        {
            return Err(AppendError::StaleLeaderEpoch {
                current,
                found: options.leader_epoch,
            });
        }
        if let Some(stored) = find_duplicate(&appender, &incomers, options.origin) {
            return Ok(appender.duplicate(&stored, config));
        }
        let now_ms = self.shared.clock.now_ms();
        let stamp = assign(
            bytes,
            &mut incomers,
            appender.log_end,
            config,
            options,
            now_ms,
        )?;
        let update = check_producers(&appender, &incomers, options, now_ms)?;
        self.roll_if_needed(&mut appender, bytes.len(), &incomers, config)?;
        let lsn = self.write(&mut appender, bytes, &incomers, options)?;
        let appended = self.publish(
            &mut appender,
            &incomers,
            &update,
            lsn,
            stamp,
            config,
            options,
        );
        drop(appender);
        self.progress.watchers.notify();
        Ok(appended)
    }

    fn roll_if_needed(
        &self,
        appender: &mut Appender,
        bytes: usize,
        incomers: &[Incomer],
        config: &LogConfig,
    ) -> Result<(), AppendError> {
        let incoming = Incoming {
            bytes: bytes as u64,
            last_offset: incomers.last().map_or(0, |last| last.header.last_offset()),
            max_timestamp: incomers
                .iter()
                .map(|one| one.header.max_timestamp)
                .max()
                .unwrap_or(-1),
            segment_bytes: config.segment_bytes,
            segment_ms: config.segment_ms,
        };
        let should_roll = appender
            .active
            .should_roll(&incoming, index_limits(config))
            .map_err(|error| AppendError::write(appender.active.path().to_owned(), error))?;
        if should_roll {
            self.roll(appender);
        }
        Ok(())
    }

    /// Seals the active segment and begins the next one at the log end.
    pub(super) fn roll(&self, appender: &mut Appender) {
        failpoint::hit("log.before_roll");
        if appender.active.mark_unsynced() {
            let active = Arc::clone(&appender.active);
            appender.unsynced.push(active);
        }
        // Neither an index nor a snapshot is needed for the log to be right, so a full disk does not stop the roll:
        // the next checkpoint writes the rest, or fails.
        if let Err(error) = appender.active.seal() {
            tracing::warn!(path = %appender.active.path().display(), %error, "indexes are not complete yet");
        }
        self.write_snapshot(appender);
        let next = Segment::open(
            &self.shared.open_files,
            &self.dir,
            appender.log_end,
            SegmentSizes::default(),
        );
        let next = Arc::new(next);
        self.segments.write().push(Arc::clone(&next));
        appender.active = next;
    }

    /// Writes the producers' state as a `.snapshot` at the log end.
    pub(super) fn write_snapshot(&self, appender: &mut Appender) {
        let path = path_of(&self.dir, appender.log_end, SegmentFile::ProducerSnapshot);
        let bytes = appender.producers.to_snapshot();
        appender.names_changed = true;
        let written = self
            .shared
            .fs
            .open(&path, crate::fs::OpenMode::Create)
            .and_then(|file| {
                file.set_len(bytes.len() as u64)
                    .and_then(|()| file.write_at(&bytes, 0))
            });
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "the producer snapshot is left out");
        }
    }

    /// Writes the segment, then the journal. After an error neither has anything of it.
    fn write(
        &self,
        appender: &mut Appender,
        bytes: &[u8],
        incomers: &[Incomer],
        options: AppendOptions,
    ) -> Result<Lsn, AppendError> {
        let active = Arc::clone(&appender.active);
        let path = || active.path().to_owned();
        if appender.trim_needed {
            active
                .trim()
                .map_err(|error| AppendError::write(path(), error))?;
            appender.trim_needed = false;
        }
        if active.mark_unsynced() {
            appender.unsynced.push(Arc::clone(&active));
        }
        appender.names_changed |= active.size() == 0;
        appender.dirty = true;
        appender.touched = true;
        let written = active
            .write(bytes)
            .map_err(|error| AppendError::write(path(), error));
        let journaled = written.and_then(|()| {
            failpoint::hit("log.after_segment_write");
            let entry = EntryRef {
                topic_id: self.id.topic_id,
                partition: self.id.partition,
                incarnation: self.incarnation,
                kind: EntryKind::Append {
                    base_offset: appender.log_end,
                    bytes,
                },
            };
            let end_offset = incomers
                .last()
                .map_or(appender.log_end, |last| last.header.next_offset());
            self.shared
                .journal_append(entry, &self.listener.0, end_offset, options.flush_within)
                .map_err(|error| AppendError::journal(path(), error))
        });
        match &journaled {
            Ok(_) => self.shared.set_full(false),
            Err(error) => {
                self.shared
                    .set_full(matches!(error, AppendError::Full { .. }));
                appender.trim_needed = active.trim().is_err();
            }
        }
        journaled
    }

    #[allow(clippy::too_many_arguments)]
    fn publish(
        &self,
        appender: &mut Appender,
        incomers: &[Incomer],
        update: &ProducerUpdate,
        lsn: Lsn,
        stamp: i64,
        config: &LogConfig,
        options: AppendOptions,
    ) -> Appended {
        let base_offset = appender.log_end;
        let position = appender.active.size();
        let indexed: Vec<_> = incomers.iter().map(|one| one.indexed(position)).collect();
        appender.active.publish(&indexed, index_limits(config));
        for completed in update
            .completed
            .iter()
            .filter(|completed| completed.aborted)
        {
            appender.active.push_aborted(AbortedEntry {
                producer_id: completed.producer_id,
                first_offset: completed.first_offset,
                last_offset: completed.marker_offset,
                last_stable: appender
                    .producers
                    .last_stable_after(completed.producer_id, completed.marker_offset),
            });
        }
        update.apply(&mut appender.producers);
        appender.epochs_changed |= appender.epochs.assign(options.leader_epoch, base_offset);
        let log_end = incomers
            .last()
            .map_or(base_offset, |last| last.header.next_offset());
        appender.log_end = log_end;
        appender.last_lsn = lsn;
        self.positions
            .note(base_offset, appender.active.base_offset(), position);
        self.progress
            .stability
            .lock()
            .appended(log_end, &update.changes);
        Appended {
            base_offset,
            last_offset: log_end - 1,
            log_append_time: stamp,
            log_start_offset: appender.log_start,
            lsn,
            duplicate: false,
        }
    }
}

impl Appender {
    pub(super) fn check_open(&self) -> Result<(), AppendError> {
        match self.life {
            Life::Open => Ok(()),
            Life::Closed => Err(AppendError::Closed),
            Life::Deleted => Err(AppendError::Deleted),
        }
    }

    fn duplicate(&self, stored: &StoredBatch, config: &LogConfig) -> Appended {
        Appended {
            base_offset: stored.base_offset(),
            last_offset: stored.last_offset,
            log_append_time: match config.timestamp_type {
                TimestampType::CreateTime => -1,
                TimestampType::LogAppendTime => stored.timestamp,
            },
            log_start_offset: self.log_start,
            // The batch may wait for its flush still; nothing of this log is flushed later than its last change.
            lsn: self.last_lsn,
            duplicate: true,
        }
    }
}

impl Incomer {
    fn indexed(&self, position: u64) -> IndexedBatch {
        IndexedBatch {
            position: position + self.start as u64,
            size: u32::try_from(self.header.size_in_bytes()).expect("a batch's length is an i32"),
            last_offset: self.header.last_offset(),
            max_timestamp: self.header.max_timestamp,
        }
    }
}

/// What can be checked without the log.
fn check_batches(
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
        match origin {
            AppendOrigin::Client => batch.check_produced_header()?,
            AppendOrigin::Coordinator => check_coordinator_header(batch.header())?,
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

fn find_duplicate(
    appender: &Appender,
    incomers: &[Incomer],
    origin: AppendOrigin,
) -> Option<StoredBatch> {
    let first = &incomers.first()?.header;
    if origin != AppendOrigin::Client || !first.has_producer_id() {
        return None;
    }
    appender.producers.find_duplicate(first)
}

/// Gives the batches their offsets, leader epoch and, where the log's setting says so, time.
/// Returns the time that was stamped, or -1.
fn assign(
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
        } else if options.origin == AppendOrigin::Client {
            check_timestamps(&incomer.header, config, now_ms)?;
        }
        incomer.header.base_offset = next;
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

fn check_producers(
    appender: &Appender,
    incomers: &[Incomer],
    options: AppendOptions,
    now_ms: i64,
) -> Result<ProducerUpdate, AppendError> {
    let origin = match options.origin {
        AppendOrigin::Client => Origin::Client,
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
