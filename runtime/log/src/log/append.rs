//! The way in: check, give offsets, write, journal, publish.

use std::sync::Arc;
use std::time::Duration;

use millstream_records::{BatchHeader, Marker, TimestampType, build_marker};

use super::check::{assign, check_batches, check_producers, find_duplicate};
use super::error::is_full;
use super::{AppendError, Appender, Life, Log, index_limits};
use crate::LogConfig;
use crate::failpoint;
use crate::index::AbortedEntry;
use crate::journal::{EntryKind, EntryRef, Lsn};
use crate::producer_state::{ProducerUpdate, StoredBatch, VerificationGuard};
use crate::segment::IndexedBatch;

/// Who appends, and with it which rules hold and which logs take it; see [`Writers`](crate::Writers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer: batches, timestamps, sequences, epochs and verification are checked.
    Client,
    /// A stage or source of this node: a producer too.
    Task,
    /// A coordinator of this broker: the same but sequences and timestamps; a producer id may come without a sequence.
    Coordinator,
}

impl AppendOrigin {
    /// Whether the rules for producers hold.
    pub(super) fn is_producer(self) -> bool {
        matches!(self, Self::Client | Self::Task)
    }
}

impl std::fmt::Display for AppendOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "clients",
            Self::Task => "stages and sources",
            Self::Coordinator => "coordinators",
        })
    }
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

    /// An append of a stage or source of this node, flushed at once.
    pub fn task(leader_epoch: i32) -> Self {
        Self {
            origin: AppendOrigin::Task,
            ..Self::client(leader_epoch)
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
pub(super) struct Incomer {
    pub(super) header: BatchHeader,
    pub(super) start: usize,
    pub(super) marker: Option<(Marker, i32)>,
}

/// An append that is stored and not published yet.
struct Accepted {
    incomers: Vec<Incomer>,
    update: ProducerUpdate,
    /// The time stamped into the batches, or -1.
    stamp: i64,
    lsn: Lsn,
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
        if !config.writers.admit(options.origin) {
            return Err(AppendError::NotAdmitted {
                log: self.id.to_string(),
                origin: options.origin,
            });
        }
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
        // Before a roll: what a failed write left must not end up within the log.
        self.trim_if_needed(&mut appender)
            .map_err(|error| AppendError::write(appender.active.path(), error))?;
        self.roll_if_needed(&mut appender, bytes.len(), &incomers, config, now_ms)?;
        let lsn = self.write(&mut appender, bytes, &incomers, options)?;
        let accepted = Accepted {
            incomers,
            update,
            stamp,
            lsn,
        };
        let appended = self.publish(&mut appender, &accepted, config, options.leader_epoch);
        drop(appender);
        self.progress.watchers.notify();
        Ok(appended)
    }

    /// Writes the segment, then the journal. After an error neither has anything of it.
    fn write(
        &self,
        appender: &mut Appender,
        bytes: &[u8],
        incomers: &[Incomer],
        options: AppendOptions,
    ) -> Result<Lsn, AppendError> {
        self.announce_epoch(appender, options.leader_epoch)?;
        let active = Arc::clone(&appender.active);
        let path = || active.path();
        if active.mark_unsynced() {
            appender.unsynced.push(Arc::clone(&active));
        }
        appender.names_changed |= active.size() == 0;
        appender.dirty = true;
        appender.touched = true;
        let written = self.preallocate(&active).and_then(|()| active.write(bytes));
        match &written {
            Ok(()) => self.shared.found_room(),
            Err(error) if is_full(error) => self.shared.found_no_room(error),
            Err(_) => {}
        }
        let written = written.map_err(|error| AppendError::write(path(), error));
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
        if journaled.is_err() {
            appender.trim_needed = active.trim().is_err();
        }
        journaled
    }

    fn publish(
        &self,
        appender: &mut Appender,
        accepted: &Accepted,
        config: &LogConfig,
        leader_epoch: i32,
    ) -> Appended {
        let Accepted {
            incomers, update, ..
        } = accepted;
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
        appender.epochs_changed |= appender.epochs.assign(leader_epoch, base_offset);
        let log_end = incomers
            .last()
            .map_or(base_offset, |last| last.header.next_offset());
        appender.log_end = log_end;
        appender.last_lsn = accepted.lsn.max(appender.last_lsn);
        self.positions
            .note(base_offset, appender.active.id(), position);
        self.progress
            .stability
            .lock()
            .appended(log_end, &update.changes);
        Appended {
            base_offset,
            last_offset: log_end - 1,
            log_append_time: accepted.stamp,
            log_start_offset: appender.log_start,
            lsn: accepted.lsn,
            duplicate: false,
        }
    }
}

impl Appender {
    /// Whether a checkpoint has more of the log than ends with this offset.
    pub(super) fn is_captured_beyond(&self, end: i64) -> bool {
        self.captured_to.is_some_and(|captured| end < captured)
    }

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
        IndexedBatch::new(position + self.start as u64, &self.header)
    }
}
