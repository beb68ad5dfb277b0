//! A log brought back from its files, and from the journal's entries.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_records::{BatchView, ControlRecord, Marker, batches};
use parking_lot::{Mutex, RwLock};

use super::stability::Stability;
use super::{
    Appender, Life, ListenerHandle, Log, LogCheckpoint, LogId, Positions, Progress, Watchers,
    index_limits,
};
use crate::LogConfig;
use crate::checkpoint::{LEADER_EPOCHS, read_leader_epochs};
use crate::epochs::LeaderEpochs;
use crate::index::AbortedEntry;
use crate::journal::Lsn;
use crate::producer_state::{BatchFacts, ProducerStates, ProducerUpdate};
use crate::segment::{
    BatchScan, Incoming, IndexedBatch, ScanError, ScannedBatch, Segment, SegmentFile, SegmentSizes,
    path_of,
};
use crate::store::{Problem, Shared, StoreError};

/// A producer snapshot larger than this is not believed (some 5 million producers).
const SNAPSHOT_BYTES_MAX: u64 = 256 << 20;

/// How much of a log's files can be believed.
#[derive(Debug, Clone)]
pub(crate) enum LoadPlan {
    /// The store was closed: the files are as the checkpoint says.
    Closed(LogCheckpoint),
    /// Durable by the journal: the files are cut to the checkpoint's recovery point, the journal has the rest.
    Journaled(LogCheckpoint),
    /// Durable by the operating system: what lies behind the recovery point is checked batch by batch. Without a
    /// checkpoint everything is.
    Scanned(Option<LogCheckpoint>),
}

/// A log that was loaded, and what was found wrong with it.
pub(crate) struct Loaded {
    pub(crate) log: Arc<Log>,
    pub(crate) problems: Vec<Problem>,
}

impl Log {
    /// A log without records.
    pub(crate) fn create(
        id: LogId,
        dir: PathBuf,
        incarnation: u64,
        shared: &Arc<Shared>,
        config: LogConfig,
    ) -> Arc<Self> {
        let segment = Segment::open(&shared.open_files, &dir, 0, SegmentSizes::default());
        let (log, _) = Self::assemble(
            id,
            dir,
            incarnation,
            shared,
            config,
            vec![Arc::new(segment)],
        );
        log.appender.lock().names_changed = true;
        log
    }

    fn assemble(
        id: LogId,
        dir: PathBuf,
        incarnation: u64,
        shared: &Arc<Shared>,
        config: LogConfig,
        segments: Vec<Arc<Segment>>,
    ) -> (Arc<Self>, Arc<Segment>) {
        let active = Arc::clone(segments.last().expect("a log has a segment"));
        let start = segments[0].base_offset();
        let progress = Arc::new(Progress {
            stability: Mutex::new(Stability::new(start, start, shared.waits_for_flush(), [])),
            watchers: Arc::new(Watchers::default()),
        });
        let log = Self {
            id,
            dir,
            incarnation,
            shared: Arc::clone(shared),
            config: RwLock::new(Arc::new(config)),
            appender: Mutex::new(Appender {
                log_end: start,
                log_start: start,
                active: Arc::clone(&active),
                epochs: LeaderEpochs::default(),
                producers: ProducerStates::default(),
                last_lsn: Lsn::ZERO,
                life: Life::Open,
                trim_needed: false,
                dirty: true,
                touched: false,
                epochs_changed: false,
                names_changed: false,
                unsynced: Vec::new(),
            }),
            segments: RwLock::new(segments),
            cutting: RwLock::new(()),
            listener: ListenerHandle(Arc::clone(&progress) as _),
            progress,
            positions: Positions::default(),
        };
        (Arc::new(log), active)
    }

    /// Loads a log from its directory.
    pub(crate) fn load(
        id: LogId,
        dir: PathBuf,
        incarnation: u64,
        shared: &Arc<Shared>,
        plan: LoadPlan,
    ) -> Result<Loaded, StoreError> {
        let io = |source| StoreError::io("listing", &dir, source);
        let sizes = list_segments(shared, &dir).map_err(io)?;
        let first = match &plan {
            LoadPlan::Closed(at) | LoadPlan::Journaled(at) => at.segment_base,
            LoadPlan::Scanned(_) => 0,
        };
        let mut segments: Vec<_> = sizes
            .iter()
            .map(|(base, sizes)| Arc::new(Segment::open(&shared.open_files, &dir, *base, *sizes)))
            .collect();
        if segments.is_empty() {
            segments.push(Arc::new(Segment::open(
                &shared.open_files,
                &dir,
                first,
                SegmentSizes::default(),
            )));
        }
        let mut config = LogConfig::default();
        if let LoadPlan::Closed(at) | LoadPlan::Journaled(at) | LoadPlan::Scanned(Some(at)) = &plan
        {
            config.segment_bytes = at.segment_bytes;
        }
        let (log, _) = Self::assemble(id, dir.clone(), incarnation, shared, config, segments);
        let mut problems = Vec::new();
        {
            let mut appender = log.appender.lock();
            let epochs = read_leader_epochs(&*shared.fs, &dir.join(LEADER_EPOCHS));
            appender.epochs =
                LeaderEpochs::from_entries(epochs.unwrap_or_default().unwrap_or_default());
            let io = |source| StoreError::io("recovering", &dir, source);
            match plan {
                LoadPlan::Closed(at) if log.files_match(&at) => {
                    log.restore(&mut appender, &at)?;
                    appender.dirty = false;
                }
                LoadPlan::Closed(at) | LoadPlan::Scanned(Some(at)) => {
                    log.restore(&mut appender, &at)?;
                    log.rescan(&mut appender, Some(&at), &mut problems)
                        .map_err(io)?;
                }
                LoadPlan::Scanned(None) => {
                    log.rescan(&mut appender, None, &mut problems).map_err(io)?;
                }
                LoadPlan::Journaled(at) => {
                    log.restore(&mut appender, &at)?;
                    log.cut_to_checkpoint(&mut appender, &at, &mut problems)
                        .map_err(io)?;
                }
            }
        }
        log.settle();
        Ok(Loaded { log, problems })
    }

    fn files_match(&self, at: &LogCheckpoint) -> bool {
        self.segments.read().last().is_some_and(|last| {
            last.base_offset() == at.segment_base && last.size() == at.segment_size
        })
    }

    fn restore(&self, appender: &mut Appender, at: &LogCheckpoint) -> Result<(), StoreError> {
        appender.producers = ProducerStates::from_checkpoint(&at.producers).map_err(|source| {
            StoreError::Producers {
                dir: self.dir.clone(),
                source,
            }
        })?;
        appender.log_start = at.log_start;
        appender.log_end = at.recovery_point;
        appender.last_lsn = at.lsn;
        Ok(())
    }

    /// Everything that the log has is durable and visible by the rules now; readers and appends may come.
    pub(crate) fn settle(&self) {
        let appender = self.appender.lock();
        let waits = self.shared.waits_for_flush();
        let open = appender.producers.open_transactions();
        *self.progress.stability.lock() =
            Stability::new(appender.log_start, appender.log_end, waits, open);
    }

    /// Removes what lies behind the recovery point. It is in the journal, or it was never acknowledged: the kernel may
    /// have kept it while earlier bytes of another file were lost.
    fn cut_to_checkpoint(
        &self,
        appender: &mut Appender,
        at: &LogCheckpoint,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        appender.epochs_changed |= appender.epochs.truncate_to(at.recovery_point);
        self.drop_segments_behind(at.segment_base)?;
        let active = self.active_at(at.segment_base);
        appender.active = Arc::clone(&active);
        if active.size() < at.segment_size {
            problems.push(Problem {
                path: active.path().to_owned(),
                position: active.size(),
                reason: format!(
                    "the file has {} bytes, {} were synced: offsets below {} are missing and cannot be read",
                    active.size(),
                    at.segment_size,
                    at.recovery_point
                ),
            });
            let end = sound_end(&active, 0)?;
            return active.truncate(end, at.recovery_point);
        }
        if at.segment_size > 0 {
            active.truncate(at.segment_size, at.recovery_point)?;
        }
        Ok(())
    }

    fn drop_segments_behind(&self, base_offset: i64) -> io::Result<()> {
        loop {
            let mut segments = self.segments.write();
            let Some(last) = segments
                .last()
                .filter(|last| last.base_offset() > base_offset)
                .cloned()
            else {
                return Ok(());
            };
            segments.pop();
            drop(segments);
            last.remove(&self.shared.open_files)?;
        }
    }

    fn active_at(&self, base_offset: i64) -> Arc<Segment> {
        let mut segments = self.segments.write();
        match segments.last() {
            Some(last) if last.base_offset() == base_offset => Arc::clone(last),
            _ => {
                let sizes = SegmentSizes::default();
                let segment = Arc::new(Segment::open(
                    &self.shared.open_files,
                    &self.dir,
                    base_offset,
                    sizes,
                ));
                segments.push(Arc::clone(&segment));
                segment
            }
        }
    }

    /// Reads every batch behind the recovery point, builds indexes, epochs and producer states anew, and cuts the log
    /// at the first bad batch.
    fn rescan(
        &self,
        appender: &mut Appender,
        from: Option<&LogCheckpoint>,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        let segments = self.segments.read().clone();
        let recovered_to = from.map_or(i64::MIN, |at| at.recovery_point);
        appender.epochs_changed = true;
        appender.epochs.truncate_to(recovered_to);
        let start = from.and_then(|at| {
            let index = segments
                .iter()
                .position(|segment| segment.base_offset() == at.segment_base)?;
            (segments[index].size() >= at.segment_size).then_some((index, at.segment_size))
        });
        let (first, mut position) = match start {
            Some(start) => start,
            None => {
                // Nothing is known of these files but what they say themselves.
                let base = segments[0].base_offset();
                appender.producers = self.load_snapshot(base).unwrap_or_default();
                appender.epochs.truncate_to(i64::MIN);
                appender.log_end = base;
                appender.log_start = appender.log_start.max(base);
                (0, 0)
            }
        };
        for (index, segment) in segments.iter().enumerate().skip(first) {
            appender.active = Arc::clone(segment);
            if segment.base_offset() < appender.log_end && position == 0 {
                let reason = format!(
                    "the segment overlaps the one before, which ends at {}",
                    appender.log_end
                );
                self.cut_at(appender, index, 0, reason, problems)?;
                return Ok(());
            }
            if segment.mark_unsynced() {
                appender.unsynced.push(Arc::clone(segment));
            }
            if position == 0 {
                appender.log_end = segment.base_offset();
                segment.clear_indexes()?;
            } else {
                segment.cut_indexes(position, appender.log_end)?;
            }
            if let Some((position, reason)) = self.rescan_segment(appender, segment, position)? {
                return self.cut_at(appender, index, position, reason, problems);
            }
            if index + 1 < segments.len() {
                segment.seal()?;
            }
            position = 0;
        }
        if let Some(at) = from
            && appender.log_end < at.recovery_point
        {
            problems.push(Problem {
                path: appender.active.path().to_owned(),
                position: appender.active.size(),
                reason: format!(
                    "the log ends at offset {}, but {} was synced",
                    appender.log_end, at.recovery_point
                ),
            });
        }
        Ok(())
    }

    /// Takes in a segment's batches from `position` on; where and why it stopped, if before the end.
    fn rescan_segment(
        &self,
        appender: &mut Appender,
        segment: &Segment,
        position: u64,
    ) -> io::Result<Option<(u64, String)>> {
        let limits = index_limits(&self.config());
        let mut scan = BatchScan::whole(segment, position);
        loop {
            let batch = match scan.next() {
                Ok(None) => return Ok(None),
                Ok(Some(batch)) => batch,
                Err(ScanError::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    return Err(error);
                }
                Err(ScanError::Io(_)) => {
                    return Ok(Some((scan.position(), "the file ends".to_owned())));
                }
                Err(ScanError::Corrupt { position, reason }) => {
                    return Ok(Some((position, reason)));
                }
            };
            if batch.header.base_offset < appender.log_end {
                let reason = format!(
                    "the batch has base offset {}, the one before ends at {}",
                    batch.header.base_offset, appender.log_end
                );
                return Ok(Some((batch.position, reason)));
            }
            let marker = match marker_of(&mut scan, &batch) {
                Ok(marker) => marker,
                Err(reason) => return Ok(Some((batch.position, reason))),
            };
            self.take_in(appender, segment, &batch, marker);
            segment.reindex(&indexed(&batch), limits);
        }
    }

    /// What a stored batch means for epochs, producers, aborted transactions and the log's end.
    fn take_in(
        &self,
        appender: &mut Appender,
        segment: &Segment,
        batch: &ScannedBatch,
        marker: Option<(Marker, i32)>,
    ) {
        let header = &batch.header;
        appender
            .epochs
            .assign(header.leader_epoch, header.base_offset);
        if header.has_producer_id() {
            let facts = BatchFacts {
                header,
                marker,
                now_ms: self.shared.clock.now_ms(),
            };
            let update = ProducerUpdate::stored(&appender.producers, &facts);
            for completed in update
                .completed
                .iter()
                .filter(|completed| completed.aborted)
            {
                segment.push_aborted(AbortedEntry {
                    producer_id: completed.producer_id,
                    first_offset: completed.first_offset,
                    last_offset: completed.marker_offset,
                    last_stable: appender
                        .producers
                        .last_stable_after(completed.producer_id, completed.marker_offset),
                });
            }
            update.apply(&mut appender.producers);
        }
        appender.log_end = header.next_offset();
    }

    /// Ends the log at a bad batch: that segment is cut, later ones go.
    fn cut_at(
        &self,
        appender: &mut Appender,
        index: usize,
        position: u64,
        reason: String,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        let segment = Arc::clone(&self.segments.read()[index]);
        problems.push(Problem {
            path: segment.path().to_owned(),
            position,
            reason: format!(
                "{reason}; the log was cut there, at offset {}",
                appender.log_end
            ),
        });
        self.drop_segments_behind(segment.base_offset())?;
        segment.truncate(position, appender.log_end)?;
        appender.active = segment;
        Ok(())
    }

    /// Applies an append of the journal: what lies at or behind its offset goes first.
    pub(crate) fn redo_append(
        &self,
        lsn: Lsn,
        base_offset: i64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let mut appender = self.appender.lock();
        if lsn <= appender.last_lsn {
            return Ok(());
        }
        let io = |source| StoreError::io("redoing the journal into", &self.dir, source);
        if base_offset < appender.log_end {
            self.cut_to(&mut appender, base_offset).map_err(io)?;
        }
        if base_offset != appender.log_end {
            return Err(StoreError::Gap {
                log: self.id.to_string(),
                lsn,
                log_end: appender.log_end,
                base_offset,
            });
        }
        self.redo_batches(&mut appender, bytes).map_err(io)?;
        appender.last_lsn = lsn;
        Ok(())
    }

    fn redo_batches(&self, appender: &mut Appender, bytes: &[u8]) -> io::Result<()> {
        let invalid = |error: millstream_records::BatchError| {
            io::Error::new(io::ErrorKind::InvalidData, error)
        };
        let config = self.config();
        for batch in batches(bytes) {
            let batch = batch.map_err(invalid)?;
            let header = *batch.header();
            let incoming = Incoming {
                bytes: batch.bytes().len() as u64,
                last_offset: header.last_offset(),
                max_timestamp: header.max_timestamp,
                segment_bytes: config.segment_bytes,
                segment_ms: i64::MAX,
            };
            if appender
                .active
                .should_roll(&incoming, index_limits(&config))?
            {
                self.roll(appender);
            }
            let active = Arc::clone(&appender.active);
            if active.mark_unsynced() {
                appender.unsynced.push(Arc::clone(&active));
            }
            appender.names_changed |= active.size() == 0;
            active.write(batch.bytes())?;
            let scanned = ScannedBatch {
                position: active.size(),
                header,
            };
            let marker = marker_in(&batch).map_err(invalid)?;
            self.take_in(appender, &active, &scanned, marker);
            active.publish(&[indexed(&scanned)], index_limits(&config));
        }
        appender.epochs_changed = true;
        appender.dirty = true;
        appender.touched = true;
        Ok(())
    }

    /// Applies another change of the journal to the log.
    pub(crate) fn redo_change(&self, lsn: Lsn, change: RedoChange) -> Result<(), StoreError> {
        let mut appender = self.appender.lock();
        if lsn <= appender.last_lsn {
            return Ok(());
        }
        let result = match change {
            RedoChange::Truncate { to } if to >= appender.log_end => Ok(()),
            RedoChange::Truncate { to } => self.cut_to(&mut appender, to),
            RedoChange::Reset { to } => self.clear_to(&mut appender, to),
            RedoChange::LogStart { to } => {
                let to = to.min(appender.log_end);
                if to > appender.log_start {
                    appender.log_start = to;
                    appender.epochs_changed |= appender.epochs.advance_start(to);
                }
                Ok(())
            }
        };
        result.map_err(|source| StoreError::io("redoing the journal into", &self.dir, source))?;
        appender.last_lsn = lsn;
        appender.dirty = true;
        appender.touched = true;
        Ok(())
    }

    /// The producers' states at `end`, from the newest snapshot of a segment and the batches behind it.
    pub(super) fn replay_producers(&self, end: i64) -> io::Result<ProducerStates> {
        let segments = self.segments.read().clone();
        let mut first = 0;
        let mut producers = ProducerStates::default();
        for (index, segment) in segments.iter().enumerate().rev() {
            if segment.base_offset() <= end
                && let Some(states) = self.load_snapshot(segment.base_offset())
            {
                (first, producers) = (index, states);
                break;
            }
        }
        for segment in &segments[first..] {
            let mut scan = BatchScan::headers(segment, 0);
            while let Some(batch) = scan.next().map_err(ScanError::into_io)? {
                if batch.header.base_offset >= end {
                    return Ok(producers);
                }
                if batch.header.has_producer_id() {
                    let marker = marker_of(&mut scan, &batch).map_err(io::Error::other)?;
                    let facts = BatchFacts {
                        header: &batch.header,
                        marker,
                        now_ms: self.shared.clock.now_ms(),
                    };
                    ProducerUpdate::stored(&producers, &facts).apply(&mut producers);
                }
            }
        }
        Ok(producers)
    }

    /// A sound snapshot at exactly this offset; a broken one is removed.
    fn load_snapshot(&self, offset: i64) -> Option<ProducerStates> {
        let path = path_of(&self.dir, offset, SegmentFile::ProducerSnapshot);
        let bytes = self.shared.fs.read(&path, SNAPSHOT_BYTES_MAX).ok()?;
        match ProducerStates::from_snapshot(&bytes) {
            Ok(states) => Some(states),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "removing a broken producer snapshot");
                let _ = self.shared.fs.remove_file(&path);
                None
            }
        }
    }
}

/// An entry of the journal that takes records away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RedoChange {
    Truncate { to: i64 },
    Reset { to: i64 },
    LogStart { to: i64 },
}

fn indexed(batch: &ScannedBatch) -> IndexedBatch {
    IndexedBatch {
        position: batch.position,
        size: u32::try_from(batch.header.size_in_bytes()).expect("a batch's length is an i32"),
        last_offset: batch.header.last_offset(),
        max_timestamp: batch.header.max_timestamp,
    }
}

/// The marker that a control batch holds, with the epoch of its coordinator.
fn marker_of(
    scan: &mut BatchScan<'_>,
    batch: &ScannedBatch,
) -> Result<Option<(Marker, i32)>, String> {
    if !batch.header.is_control() {
        return Ok(None);
    }
    let bytes = scan
        .batch_bytes(batch)
        .map_err(|error| error.into_io().to_string())?;
    BatchView::parse(bytes)
        .and_then(|batch| marker_in(&batch))
        .map_err(|error| error.to_string())
}

fn marker_in(
    batch: &BatchView<'_>,
) -> Result<Option<(Marker, i32)>, millstream_records::BatchError> {
    if !batch.header().is_control() {
        return Ok(None);
    }
    let records = batch.records(batch.bytes().len())?;
    let Some(record) = records.iter().next() else {
        return Ok(None);
    };
    let control = ControlRecord::parse(&record?)?;
    Ok(control
        .marker()
        .map(|marker| (marker, control.coordinator_epoch)))
}

/// The end of the last sound batch.
fn sound_end(segment: &Segment, from: u64) -> io::Result<u64> {
    let mut scan = BatchScan::whole(segment, from);
    loop {
        match scan.next() {
            Ok(Some(_)) => {}
            Ok(None) | Err(ScanError::Corrupt { .. }) => return Ok(scan.position()),
            Err(ScanError::Io(error)) => return Err(error),
        }
    }
}

fn list_segments(shared: &Shared, dir: &Path) -> io::Result<BTreeMap<i64, SegmentSizes>> {
    let mut found: BTreeMap<i64, SegmentSizes> = BTreeMap::new();
    let entries = shared.fs.read_dir(dir)?;
    for entry in &entries {
        if let Some((SegmentFile::Log, base_offset)) = SegmentFile::parse(&entry.name) {
            found.entry(base_offset).or_default().log = entry.len;
        }
    }
    for entry in &entries {
        let Some((kind, base_offset)) = SegmentFile::parse(&entry.name) else {
            continue;
        };
        let Some(sizes) = found.get_mut(&base_offset) else {
            continue;
        };
        match kind {
            SegmentFile::OffsetIndex => sizes.offset_index = entry.len,
            SegmentFile::TimeIndex => sizes.time_index = entry.len,
            SegmentFile::AbortedIndex => sizes.aborted_index = entry.len,
            SegmentFile::Log | SegmentFile::ProducerSnapshot => {}
        }
    }
    Ok(found)
}
