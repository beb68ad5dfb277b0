//! A log brought back from its files.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::cut_notes::CutNote;
use super::directory::{finish_drop, list_segments};
use super::stability::Stability;
use super::{
    Appender, CutNotes, DurablePoint, Life, ListenerHandle, Log, LogCheckpoint, LogId, Positions,
    Progress, Watchers,
};
use crate::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::journal::Lsn;
use crate::producer_state::ProducerStates;
use crate::repair::AcceptedLosses;
use crate::segment::{Segment, SegmentSizes};
use crate::store::{Problem, Shared, StoreError};

/// How much of a log's files can be believed.
#[derive(Debug, Clone)]
pub(crate) enum LoadPlan {
    /// The store was closed: the files are as the checkpoint says. If not, what is behind it is believed only when
    /// the log was not durable by the journal.
    Closed {
        at: LogCheckpoint,
        was_journaled: bool,
    },
    /// Durable by the journal: the files are cut to the checkpoint's recovery point, the journal has the rest.
    Journaled(LogCheckpoint),
    /// Durable by the operating system: what lies behind the recovery point is checked batch by batch; everything, for
    /// a log that is younger than the checkpoint. And it is written again, when a sync of the run before has failed.
    Scanned {
        at: Option<LogCheckpoint>,
        writes_again: bool,
    },
    /// Written by somebody else: everything is checked, and there may be gaps, which compaction leaves.
    Foreign,
}

impl LoadPlan {
    fn checkpoint(&self) -> Option<&LogCheckpoint> {
        match self {
            Self::Closed { at, .. } | Self::Journaled(at) => Some(at),
            Self::Scanned { at, .. } => at.as_ref(),
            Self::Foreign => None,
        }
    }

    /// The plan for a log that was cut since its checkpoint.
    fn cut_by(self, note: &CutNote) -> Self {
        match self {
            Self::Closed { at, was_journaled } => Self::Closed {
                at: note.apply(&at),
                was_journaled,
            },
            Self::Journaled(at) => Self::Journaled(note.apply(&at)),
            Self::Scanned { at, writes_again } => Self::Scanned {
                at: at.map(|at| note.apply(&at)),
                writes_again,
            },
            Self::Foreign => Self::Foreign,
        }
    }
}

/// A log that was loaded, and what was found wrong with it.
pub(crate) struct Loaded {
    pub(crate) log: Arc<Log>,
    pub(crate) problems: Vec<Problem>,
    /// Segments whose batches are gone. The journal may tell that they should be.
    pub(crate) missing: Vec<Arc<Segment>>,
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
        Self::assemble(
            id,
            dir,
            incarnation,
            shared,
            config,
            vec![Arc::new(segment)],
        )
    }

    fn assemble(
        id: LogId,
        dir: PathBuf,
        incarnation: u64,
        shared: &Arc<Shared>,
        config: LogConfig,
        segments: Vec<Arc<Segment>>,
    ) -> Arc<Self> {
        let active = Arc::clone(segments.last().expect("a log has a segment"));
        let start = segments[0].base_offset();
        let progress = Arc::new(Progress {
            stability: Mutex::new(Stability::new(start, start, shared.waits_for_flush(), [])),
            watchers: Arc::new(Watchers::default()),
        });
        let epochs = LeaderEpochs::default();
        let table = epochs.table();
        let log = Self {
            id,
            dir,
            incarnation,
            shared: Arc::clone(shared),
            config: RwLock::new(Arc::new(config)),
            appender: Mutex::new(Appender {
                log_end: start,
                log_start: start,
                active,
                epochs,
                producers: ProducerStates::default(),
                last_lsn: Lsn::ZERO,
                captured_to: None,
                life: Life::Open,
                trim_needed: false,
                dirty: true,
                touched: false,
                epochs_changed: true,
                // Who was killed may have made files that nobody has synced since.
                names_changed: true,
                unsynced: Vec::new(),
            }),
            segments: RwLock::new(segments),
            cutting: RwLock::new(()),
            listener: ListenerHandle(Arc::clone(&progress) as _),
            progress,
            positions: Positions::default(),
            epochs: table,
            repairing: Mutex::new(()),
            replacing: Mutex::new(None),
            durable: Mutex::new(DurablePoint::NOTHING),
            notes: Mutex::default(),
            accepted: Mutex::default(),
            compaction: Mutex::default(),
            cleaning: Mutex::default(),
            synced: Mutex::default(),
        };
        Arc::new(log)
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
        let mut listing = list_segments(shared, &dir).map_err(io)?;
        let snapshots = std::mem::take(&mut listing.snapshots);
        let has_notes = listing.has_notes;
        let accepted = match listing.has_accepted_losses {
            true => AcceptedLosses::read(&*shared.fs, &dir)?,
            false => AcceptedLosses::default(),
        };
        let mut notes = CutNotes::default();
        let captured_to = plan.checkpoint().map(|at| at.recovery_point);
        let mut cut = None;
        if has_notes && let Some(at) = plan.checkpoint() {
            notes = CutNotes::read(&*shared.fs, &dir, incarnation)?;
            // What follows is written over what was cut, so the note must not get lost.
            shared.fs.sync_dir(&dir).map_err(io)?;
            notes.forget_to(at.lsn);
            cut = notes.deepest_since(at.lsn, at.recovery_point);
        }
        let plan = match &cut {
            Some(cut) => plan.cut_by(cut),
            None => plan,
        };
        let (mut sizes, missing) = listing
            .settle(shared, &dir, plan.checkpoint())
            .map_err(io)?;
        if matches!(plan, LoadPlan::Scanned { at: None, .. }) {
            sizes.entry(0).or_default();
        }
        let mut segments: Vec<_> = sizes
            .iter()
            .map(|(base, sizes)| Arc::new(Segment::open(&shared.open_files, &dir, *base, *sizes)))
            .collect();
        if segments.is_empty() {
            let none = SegmentSizes::default();
            segments.push(Arc::new(Segment::open(&shared.open_files, &dir, 0, none)));
        }
        // Until its owner says what it is, nothing of it may go.
        let mut config = LogConfig::keeping_all();
        if let Some(at) = plan.checkpoint() {
            config.segment_bytes = at.segment_bytes;
        }
        let segments = match plan.checkpoint() {
            Some(at) => finish_drop(shared, &dir, segments, at).map_err(io)?,
            None => segments,
        };
        let log = Self::assemble(id, dir.clone(), incarnation, shared, config, segments);
        if let Some(at) = plan.checkpoint() {
            log.note_durable(at);
        }
        let has_idle_notes = has_notes && notes.is_empty();
        let newest_cut = notes.iter().map(|note| note.lsn).max();
        *log.notes.lock() = notes;
        *log.accepted.lock() = accepted;
        let missing = log.note_missing(&missing).map_err(io)?;
        let sound_to = match &cut {
            Some(cut) => cut.snapshots_are_sound_to(),
            None => log.snapshots_are_sound_to(&plan),
        };
        for offset in snapshots.into_iter().filter(|offset| *offset > sound_to) {
            log.remove_snapshot(offset).map_err(io)?;
        }
        let mut problems = Vec::new();
        {
            let mut appender = log.appender.lock();
            let io = |source| StoreError::io("recovering", &dir, source);
            let checkpoint = plan.checkpoint();
            if let Some(at) = checkpoint {
                log.restore(&mut appender, at)?;
            }
            appender.captured_to = captured_to;
            if let Some(cut) = cut {
                log.restore_cut(&mut appender, &cut).map_err(io)?;
            }
            if let (LoadPlan::Scanned { .. }, Some(newest_cut)) = (&plan, newest_cut) {
                // The files have all cuts behind them; what the log counts next is another one.
                appender.last_lsn = newest_cut.max(appender.last_lsn);
            }
            match &plan {
                LoadPlan::Closed { at, .. } if log.files_match(at) => {
                    appender.dirty = false;
                    appender.names_changed = false;
                    appender.epochs_changed = false;
                }
                LoadPlan::Journaled(at)
                | LoadPlan::Closed {
                    at,
                    was_journaled: true,
                } => log
                    .cut_to_checkpoint(&mut appender, at, &mut problems)
                    .map_err(io)?,
                LoadPlan::Closed { .. } | LoadPlan::Scanned { .. } | LoadPlan::Foreign => {
                    let may_have_gaps = matches!(plan, LoadPlan::Foreign);
                    log.rescan(&mut appender, checkpoint, may_have_gaps, &mut problems)
                        .map_err(io)?;
                    if let LoadPlan::Scanned {
                        writes_again: true, ..
                    } = plan
                    {
                        log.write_again(checkpoint).map_err(io)?;
                    }
                    if has_notes {
                        // A cut that this start sees must not come undone by a power cut after it.
                        log.sync_end(&appender).map_err(io)?;
                    }
                }
            }
        }
        if has_idle_notes {
            log.remove_notes();
        }
        // A store that is closed seals the active segment too, so that its indexes are believed.
        if !matches!(&plan, LoadPlan::Closed { at, .. } if log.files_match(at)) {
            log.forget_old_seal(&sizes).map_err(io)?;
        }
        {
            // A log of another making may say nowhere that its first records were deleted.
            let mut appender = log.appender.lock();
            let first = log.segments.read()[0].base_offset();
            appender.log_start = appender.log_start.max(first);
        }
        log.settle();
        Ok(Loaded {
            log,
            problems,
            missing,
        })
    }

    /// Producer snapshots behind this offset may be of a history that a crash took, though the log has grown over it again:
    /// they are not synced when they are written.
    fn snapshots_are_sound_to(&self, plan: &LoadPlan) -> i64 {
        match plan {
            LoadPlan::Foreign => i64::MAX,
            LoadPlan::Closed { at, .. } if self.files_match(at) => i64::MAX,
            LoadPlan::Closed { at, .. }
            | LoadPlan::Journaled(at)
            | LoadPlan::Scanned { at: Some(at), .. } => at.recovery_point,
            LoadPlan::Scanned { at: None, .. } => self.segments.read()[0].base_offset(),
        }
    }

    /// The active segment may have been sealed, and what followed was lost. Its sidecar must not outlive that: another
    /// one's batches may come to the same length, and a full disk keep them from getting a sidecar of their own.
    fn forget_old_seal(&self, sizes: &BTreeMap<i64, SegmentSizes>) -> io::Result<()> {
        let active = Arc::clone(&self.appender.lock().active);
        match sizes.get(&active.base_offset()) {
            Some(sizes) if sizes.has_sidecar => active.reopen(&*self.shared.fs),
            _ => Ok(()),
        }
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
        appender.epochs.replace(at.epochs.clone());
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
            return self.keep_short(appender, &active, at, problems);
        }
        if active.mark_unsynced() {
            appender.unsynced.push(Arc::clone(&active));
        }
        active.restore_indexes(at.indexes)?;
        // What lies behind is cut off when the journal was redone over it.
        appender.trim_needed = active.end_at(at.segment_size);
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

    pub(super) fn active_at(&self, base_offset: i64) -> Arc<Segment> {
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
}
