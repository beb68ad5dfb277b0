//! Bringing a data directory back.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::lost::{DirFault, LostLog};
use super::names::stray_name;
use super::node_checkpoint::NodeCheckpoint;
use super::parallel::in_parallel;
use super::scrub::Scrub;
use super::survey::{LogDir, NamelessDir, Survey};
use super::worker::{Signal, Worker};
use super::{JOURNAL_DIR, LOCK_FILE, LogKey, LogStore, Problem, Shared, StoreError, key_of, owner};
use crate::checkpoint::{
    CLEAN_SHUTDOWN, CleanShutdown, META_PROPERTIES, MetaProperties, PARTITION_METADATA,
    PartitionMetadata,
};
use crate::cleaner;
use crate::fs::{FileLock, FileSystem};
use crate::journal::{Journal, JournalOptions, Lsn};
use crate::log::{LoadPlan, Log};
use crate::segment::Segment;
use crate::{FlushMode, StoreOptions};

/// What opening a store found.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// The store was closed cleanly before, so nothing had to be recovered.
    pub was_clean: bool,
    pub logs: usize,
    /// Entries of the journal that were applied.
    pub redone_entries: u64,
    /// Damage that was found, and what was done about it.
    pub problems: Vec<Problem>,
}

pub(super) struct Opening {
    pub(super) options: StoreOptions,
    pub(super) shared: Arc<Shared>,
    pub(super) checkpoint: NodeCheckpoint,
    pub(super) logs: HashMap<LogKey, Arc<Log>>,
    /// Directories of which nothing durable is known so far.
    pub(super) unknown: HashMap<LogKey, LogDir>,
    /// Directories that have another name by now, and that name.
    pub(super) aside: HashMap<LogKey, (LogDir, PathBuf)>,
    pub(super) next_incarnation: u64,
    /// The directories of `logs`.
    pub(super) used: HashSet<PathBuf>,
    /// Segments whose batches are gone.
    missing: Vec<(Arc<Log>, Arc<Segment>)>,
    lost: Vec<LostLog>,
    pub(super) report: RecoveryReport,
}

pub(super) fn open(options: StoreOptions) -> Result<(Arc<LogStore>, RecoveryReport), StoreError> {
    let fs = Arc::clone(&options.fs);
    let root = options.dir.clone();
    let lock_path = root.join(LOCK_FILE);
    let was_locked = fs.exists(&lock_path);
    if !was_locked.map_err(|source| StoreError::io("looking for", &lock_path, source))? {
        // Nobody has it open. In a directory that is refused nothing is made, no lock either.
        Survey::read(&options)?.check(&options)?;
        fs.create_dir_all(&root)
            .map_err(|source| StoreError::io("creating", &root, source))?;
    }
    let lock = take_lock(&*fs, &lock_path)?;
    let survey = Survey::read(&options)?;
    survey.check(&options)?;
    // From here on the directory is changed.
    if let Some(parent) = root
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fs.sync_dir(parent)
            .map_err(|source| StoreError::io("syncing", parent, source))?;
    }
    let Survey {
        checkpoint: found,
        meta,
        was_clean,
        logs,
        metadata_name_fault,
        nameless,
        deleted,
        lost,
        ..
    } = survey;
    let meta = match meta {
        Some(meta) => meta,
        None => {
            let meta = owner::new(&options);
            meta.write(&*fs, &root.join(META_PROPERTIES))?;
            meta
        }
    };
    if found.is_some() {
        // What this start sees is built upon: a power cut must not bring the checkpoint before it back.
        fs.sync_dir(&root)
            .map_err(|source| StoreError::io("syncing", &root, source))?;
    }
    let marker = root.join(CLEAN_SHUTDOWN);
    let is_settled = found
        .as_ref()
        .is_some_and(|found| found.flush == options.flush);
    let was_journaled = found
        .as_ref()
        .is_some_and(|found| found.flush == FlushMode::Journal);
    let is_ours = found.is_some();
    let checkpoint = found.unwrap_or_else(|| NodeCheckpoint::new(options.flush));
    let mut opening = Opening {
        shared: Shared::new(&options),
        next_incarnation: checkpoint.next_incarnation,
        checkpoint,
        logs: HashMap::new(),
        unknown: HashMap::new(),
        aside: HashMap::new(),
        used: HashSet::new(),
        missing: Vec::new(),
        lost,
        report: RecoveryReport {
            was_clean,
            ..RecoveryReport::default()
        },
        options,
    };
    opening.name_metadata_log(metadata_name_fault)?;
    opening.load_logs(logs, was_clean, was_journaled, is_ours)?;
    let worker = Worker::default();
    opening.redo_journal(was_journaled, worker.signal())?;
    opening.checkpoint.next_lsn = opening.next_lsn();
    opening.set_strays_aside()?;
    opening.report_lost_logs();
    opening.report_nameless(nameless);
    opening.report_missing_segments();
    let store = opening.finish(meta, lock, worker);
    if !is_settled {
        // From the first append on it must be known how this run makes appends durable.
        store.0.checkpoint()?;
        if store.0.options.flush == FlushMode::Os {
            remove_journal(&*fs, &root)?;
        }
    }
    if !deleted.is_empty() {
        // Their names say that these logs were deleted, so they go when the checkpoint does not know them any more.
        store.0.checkpoint()?;
        for dir in &deleted {
            remove_dir(&*fs, dir)?;
        }
    }
    CleanShutdown::delete(&*fs, &marker)?;
    let interval = Duration::from_millis(store.0.options.checkpoint_interval_ms);
    store
        .0
        .worker
        .start(Arc::downgrade(&store.0), interval)
        .map_err(|source| StoreError::io("starting the checkpoint thread of", &root, source))?;
    let interval = Duration::from_millis(store.0.options.scrub_interval_ms);
    store
        .0
        .scrub
        .start(
            Arc::downgrade(&store.0),
            interval,
            store.0.options.scrub_bytes_per_second,
        )
        .map_err(|source| StoreError::io("starting the scrub thread of", &root, source))?;
    store
        .0
        .cleaner
        .start(Arc::downgrade(&store.0))
        .map_err(|source| StoreError::io("starting the cleaner's threads of", &root, source))?;
    Ok(store)
}

impl Opening {
    /// Writes the `partition.metadata` of the metadata log again, which has one content only.
    fn name_metadata_log(&mut self, fault: Option<DirFault>) -> Result<(), StoreError> {
        let (Some(_), Some(id)) = (fault, &self.options.metadata_log) else {
            return Ok(());
        };
        let path = self
            .options
            .dir
            .join(id.to_string())
            .join(PARTITION_METADATA);
        let topic_id = id.topic_id;
        PartitionMetadata { topic_id }.write(&*self.shared.fs, &path)?;
        self.report.problems.push(Problem {
            path,
            position: 0,
            reason:
                "the file was damaged or missing; it has one content only, and is written again"
                    .to_owned(),
        });
        Ok(())
    }

    fn load_logs(
        &mut self,
        dirs: Vec<LogDir>,
        was_clean: bool,
        was_journaled: bool,
        is_ours: bool,
    ) -> Result<(), StoreError> {
        let mut planned = Vec::new();
        for dir in dirs {
            let key = dir.key();
            let known = self.checkpoint.get(&key).cloned();
            let incarnation = known.as_ref().map_or(0, |known| known.incarnation);
            let plan = match known {
                Some(at) if was_clean => LoadPlan::Closed { at, was_journaled },
                Some(known) if was_journaled => LoadPlan::Journaled(known),
                None if was_journaled && !was_clean => {
                    // The journal has this log from its creation on, or it was never durable.
                    self.unknown.insert(key, dir);
                    continue;
                }
                None if !is_ours || was_clean => LoadPlan::Foreign,
                at => LoadPlan::Scanned {
                    at,
                    writes_again: self.shared.failed_sync.is_found(),
                },
            };
            planned.push((dir, incarnation, plan));
        }
        let shared = &self.shared;
        let loaded = in_parallel(planned, |(dir, incarnation, plan)| {
            Log::load(dir.id, dir.path, incarnation, shared, plan)
        })?;
        for loaded in loaded {
            self.report.problems.extend(loaded.problems);
            let missing = loaded.missing.into_iter();
            self.missing
                .extend(missing.map(|segment| (Arc::clone(&loaded.log), segment)));
            self.used.insert(loaded.log.dir().to_owned());
            self.logs.insert(key_of(&loaded.log), loaded.log);
        }
        Ok(())
    }

    /// Applies the journal of a node that was not closed, and starts the journal of this one.
    fn redo_journal(
        &mut self,
        was_journaled: bool,
        signal: &Arc<Signal>,
    ) -> Result<(), StoreError> {
        let dir = self.options.dir.join(JOURNAL_DIR);
        let runs = self.options.flush == FlushMode::Journal;
        if !was_journaled && !runs {
            return Ok(());
        }
        if !was_journaled {
            // Whatever lies there is of a time before the logs were written without a journal.
            remove_journal(&*self.shared.fs, &self.options.dir)?;
        }
        let mut redo = Journal::open(Arc::clone(&self.shared.fs), &dir)?;
        self.redo_all(&mut redo)?;
        if runs {
            let signal = Arc::clone(signal);
            let roll_limit = self.options.checkpoint_journal_bytes;
            let file_bytes_max = self.options.journal_file_bytes_max;
            let defaults = JournalOptions::default();
            let journal = redo.start(JournalOptions {
                first_lsn: self.next_lsn(),
                first_file_bytes: defaults.first_file_bytes.min(file_bytes_max),
                file_bytes_max,
                spare_bytes_max: roll_limit,
                total_bytes_max: defaults.total_bytes_max.max(roll_limit.saturating_mul(2)),
                on_roll: Some(Arc::new(move |bytes| {
                    if bytes >= roll_limit {
                        signal.want_checkpoint();
                    }
                })),
                ..defaults
            })?;
            self.shared.start_journal(journal);
        }
        Ok(())
    }

    /// Above every number that a checkpoint or a log knows. It is kept over runs without a journal too.
    fn next_lsn(&self) -> Lsn {
        let newest = self.logs.values().map(|log| log.last_lsn()).max();
        self.checkpoint
            .next_lsn
            .max(newest.unwrap_or(Lsn::ZERO).next())
    }

    fn report_lost_logs(&mut self) {
        for lost in &self.lost {
            self.report.problems.push(Problem {
                path: lost.path().unwrap_or_else(|| self.options.dir.clone()),
                position: 0,
                reason: lost.to_string(),
            });
        }
    }

    /// Directories that hold a log and do not say which, and of which nothing durable is known.
    fn report_nameless(&mut self, dirs: Vec<NamelessDir>) {
        for NamelessDir {
            path, has_files, ..
        } in dirs
        {
            let is_lost = self
                .lost
                .iter()
                .any(|lost| lost.dir.as_ref() == Some(&path));
            // A creation that a crash cut short leaves this; what it made was never used.
            if has_files && !self.used.contains(&path) && !is_lost {
                let reason =
                    format!("the directory has no sound {PARTITION_METADATA}, so it is left alone");
                self.report.problems.push(Problem {
                    path,
                    position: 0,
                    reason,
                });
            }
        }
    }

    /// Those that the journal did not take out of their logs.
    fn report_missing_segments(&mut self) {
        for (log, segment) in std::mem::take(&mut self.missing) {
            let is_there = self.logs.values().any(|one| Arc::ptr_eq(one, &log));
            let problem = log.missing_segment(&segment).filter(|_| is_there);
            self.report.problems.extend(problem);
        }
    }

    fn set_strays_aside(&mut self) -> Result<(), StoreError> {
        for dir in std::mem::take(&mut self.unknown).into_values() {
            self.set_aside(dir)?;
        }
        for (dir, aside) in std::mem::take(&mut self.aside).into_values() {
            self.report.problems.push(Problem {
                reason: format!(
                    "neither checkpoint nor journal know this log; it is set aside as {}",
                    aside.display()
                ),
                path: dir.path,
                position: 0,
            });
        }
        Ok(())
    }

    /// Gives the directory of a log that nothing has named so far another name.
    pub(super) fn set_aside(&mut self, dir: LogDir) -> Result<(), StoreError> {
        let aside = stray_name(&dir.path);
        self.shared
            .fs
            .rename(&dir.path, &aside)
            .map_err(|source| StoreError::io("setting aside", &dir.path, source))?;
        self.aside.insert(dir.key(), (dir, aside));
        Ok(())
    }

    fn finish(
        self,
        meta: MetaProperties,
        lock: Box<dyn FileLock>,
        worker: Worker,
    ) -> (Arc<LogStore>, RecoveryReport) {
        let mut report = self.report;
        report.logs = self.logs.len();
        let logs: HashMap<_, _> = self
            .logs
            .into_values()
            .map(|log| (key_of(&log), log))
            .collect();
        let producer_id_expiration_ms = AtomicI64::new(self.options.producer_id_expiration_ms);
        let retention_check_interval_ms = AtomicU64::new(self.options.retention_check_interval_ms);
        let store = LogStore {
            cleaner: cleaner::open(&self.options, logs.values()),
            options: self.options,
            meta,
            shared: self.shared,
            logs: RwLock::new(logs),
            lost: Mutex::new(
                self.lost
                    .into_iter()
                    .map(|lost| (lost.key(), lost))
                    .collect(),
            ),
            changing: Mutex::new(()),
            next_incarnation: AtomicU64::new(self.next_incarnation),
            checkpoint: Mutex::new(self.checkpoint),
            text_files: Mutex::new(HashMap::new()),
            names_changed: AtomicBool::new(true),
            retention_check_interval_ms,
            producer_id_expiration_ms,
            worker,
            scrub: Scrub::default(),
            is_closed: AtomicBool::new(false),
            _lock: lock,
        };
        (Arc::new(store), report)
    }
}

fn take_lock(fs: &dyn FileSystem, path: &Path) -> Result<Box<dyn FileLock>, StoreError> {
    fs.lock(path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => StoreError::Locked {
            dir: path.parent().unwrap_or(path).to_owned(),
        },
        _ => StoreError::io("locking", path, source),
    })
}

fn remove_journal(fs: &dyn FileSystem, root: &Path) -> Result<(), StoreError> {
    Ok(Journal::remove(fs, &root.join(JOURNAL_DIR))?)
}

pub(super) fn remove_dir(fs: &dyn FileSystem, dir: &Path) -> Result<(), StoreError> {
    match fs.remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("deleting", dir, source))
        }
        _ => Ok(()),
    }
}
