//! Bringing a data directory back.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::node_checkpoint::{FILE_NAME as CHECKPOINT_FILE, NodeCheckpoint};
use super::parallel::in_parallel;
use super::scrub::Scrub;
use super::worker::{Signal, Worker};
use super::{
    DELETED_SUFFIX, JOURNAL_DIR, LOCK_FILE, LogKey, LogStore, Problem, STRAY_SUFFIX, Shared,
    StoreError, key_of, suffixed,
};
use crate::checkpoint::{
    CLEAN_SHUTDOWN, CheckpointError, CleanShutdown, META_PROPERTIES, MetaProperties,
    PARTITION_METADATA, PartitionMetadata, id_to_text,
};
use crate::cleaner;
use crate::fs::{FileLock, FileSystem};
use crate::journal::{Journal, JournalOptions, Lsn};
use crate::log::{LoadPlan, Log, LogId};
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

/// A partition's directory.
pub(super) struct LogDir {
    id: LogId,
    path: PathBuf,
}

pub(super) struct Opening {
    pub(super) options: StoreOptions,
    pub(super) shared: Arc<Shared>,
    checkpoint: NodeCheckpoint,
    pub(super) logs: HashMap<LogKey, Arc<Log>>,
    /// Directories of which nothing durable is known so far.
    pub(super) unknown: HashMap<LogKey, LogDir>,
    pub(super) next_incarnation: u64,
    /// Segments whose batches are gone.
    missing: Vec<(Arc<Log>, Arc<Segment>)>,
    /// Logs whose deletion the journal tells.
    pub(super) deleted: HashSet<LogKey>,
    pub(super) report: RecoveryReport,
}

pub(super) fn open(options: StoreOptions) -> Result<(Arc<LogStore>, RecoveryReport), StoreError> {
    let fs = Arc::clone(&options.fs);
    let root = options.dir.clone();
    fs.create_dir_all(&root)
        .map_err(|source| StoreError::io("creating", &root, source))?;
    if let Some(parent) = root
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fs.sync_dir(parent)
            .map_err(|source| StoreError::io("syncing", parent, source))?;
    }
    let lock = take_lock(&*fs, &root)?;
    let meta = check_owner(&options)?;
    let found = NodeCheckpoint::read(&*fs, &root)?;
    if found.is_some() {
        // What this start sees is built upon: a power cut must not bring the checkpoint before it back.
        fs.sync_dir(&root)
            .map_err(|source| StoreError::io("syncing", &root, source))?;
    }
    let marker = root.join(CLEAN_SHUTDOWN);
    let was_clean = CleanShutdown::exists(&*fs, &marker)?;
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
        missing: Vec::new(),
        deleted: HashSet::new(),
        report: RecoveryReport {
            was_clean,
            ..RecoveryReport::default()
        },
        options,
    };
    opening.load_logs(was_clean, was_journaled, is_ours)?;
    let worker = Worker::default();
    opening.redo_journal(was_journaled, worker.signal())?;
    opening.checkpoint.next_lsn = opening.next_lsn();
    opening.set_strays_aside()?;
    opening.report_missing_logs();
    opening.report_missing_segments();
    let store = opening.finish(meta, lock, worker);
    if !is_settled {
        // From the first append on it must be known how this run makes appends durable.
        store.0.checkpoint()?;
        if store.0.options.flush == FlushMode::Os {
            remove_journal(&*fs, &root)?;
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
    for problem in &store.1.problems {
        tracing::error!(%problem, "damage was found");
    }
    Ok(store)
}

impl Opening {
    fn load_logs(
        &mut self,
        was_clean: bool,
        was_journaled: bool,
        is_ours: bool,
    ) -> Result<(), StoreError> {
        let mut planned = Vec::new();
        for dir in self.list_logs()? {
            let key = (dir.id.topic_id, dir.id.partition);
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
            self.logs.insert(key_of(&loaded.log), loaded.log);
        }
        Ok(())
    }

    fn list_logs(&mut self) -> Result<Vec<LogDir>, StoreError> {
        let root = self.options.dir.clone();
        let fs = Arc::clone(&self.shared.fs);
        let io = |source| StoreError::io("listing", &root, source);
        let mut named = Vec::new();
        for entry in fs.read_dir(&root).map_err(io)? {
            let path = root.join(&entry.name);
            if !entry.is_dir || entry.name == JOURNAL_DIR || entry.name.ends_with(STRAY_SUFFIX) {
                continue;
            }
            if entry.name.ends_with(DELETED_SUFFIX) {
                fs.remove_dir_all(&path)
                    .map_err(|source| StoreError::io("deleting", &path, source))?;
                continue;
            }
            if let Some((topic, partition)) = split_name(&entry.name) {
                named.push((topic, partition, path));
            }
        }
        let read = in_parallel(named, |(topic, partition, path)| {
            read_log_dir(&*fs, topic, partition, path)
        })?;
        let mut found = Vec::with_capacity(read.len());
        for one in read {
            match one {
                Ok(dir) => found.push(dir),
                Err(problem) => self.report.problems.push(problem),
            }
        }
        Ok(found)
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

    /// What the checkpoint knows and no directory is for: the directory is gone, or its `partition.metadata` names
    /// another topic now.
    fn report_missing_logs(&mut self) {
        for (key, at) in self.checkpoint.logs() {
            if self.logs.contains_key(key) || self.deleted.contains(key) {
                continue;
            }
            let (topic_id, partition) = (id_to_text(key.0), key.1);
            self.report.problems.push(Problem {
                path: self.options.dir.join(CHECKPOINT_FILE),
                position: 0,
                reason: format!(
                    "there is no directory for partition {partition} of the topic with id {topic_id}, which had offsets {} to {}; if its {PARTITION_METADATA} is damaged, write that id into it",
                    at.log_start, at.recovery_point
                ),
            });
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
            let aside = suffixed(&dir.path, STRAY_SUFFIX);
            self.shared
                .fs
                .rename(&dir.path, &aside)
                .map_err(|source| StoreError::io("setting aside", &dir.path, source))?;
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

/// A partition's directory by its own account, or what is wrong with it.
fn read_log_dir(
    fs: &dyn FileSystem,
    topic: String,
    partition: i32,
    path: PathBuf,
) -> Result<Result<LogDir, Problem>, StoreError> {
    let metadata = match PartitionMetadata::read(fs, &path.join(PARTITION_METADATA)) {
        Ok(metadata) => metadata,
        Err(CheckpointError::Malformed { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(match metadata {
        Some(PartitionMetadata { topic_id }) => {
            let id = LogId {
                topic_id,
                topic,
                partition,
            };
            Ok(LogDir { id, path })
        }
        // A creation that a crash cut short leaves this; what it made was never used.
        None => Err(Problem {
            path,
            position: 0,
            reason: format!("the directory has no sound {PARTITION_METADATA}, so it is left alone"),
        }),
    })
}

fn take_lock(fs: &dyn FileSystem, root: &Path) -> Result<Box<dyn FileLock>, StoreError> {
    let path = root.join(LOCK_FILE);
    fs.lock(&path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => StoreError::Locked {
            dir: root.to_owned(),
        },
        _ => StoreError::io("locking", &path, source),
    })
}

/// Whose directory it is; a new one becomes this node's.
fn check_owner(options: &StoreOptions) -> Result<MetaProperties, StoreError> {
    let path = options.dir.join(META_PROPERTIES);
    let foreign = |what, found: String, expected: String| StoreError::ForeignDirectory {
        dir: options.dir.clone(),
        what,
        found,
        expected,
    };
    if let Some(meta) = MetaProperties::read(&*options.fs, &path)? {
        if meta.node_id != options.node_id {
            return Err(foreign(
                "node",
                meta.node_id.to_string(),
                options.node_id.to_string(),
            ));
        }
        return match &options.cluster_id {
            Some(expected) if *expected != meta.cluster_id => {
                Err(foreign("cluster", meta.cluster_id, expected.clone()))
            }
            _ => Ok(meta),
        };
    }
    let cluster_id = options.cluster_id.clone();
    let meta = MetaProperties {
        cluster_id: cluster_id.unwrap_or_else(|| crate::checkpoint::id_to_text(Uuid::new_v4())),
        node_id: options.node_id,
        directory_id: Uuid::new_v4(),
    };
    meta.write(&*options.fs, &path)?;
    Ok(meta)
}

fn remove_journal(fs: &dyn FileSystem, root: &Path) -> Result<(), StoreError> {
    remove_dir(fs, &root.join(JOURNAL_DIR))?;
    fs.sync_dir(root)
        .map_err(|source| StoreError::io("syncing", root, source))
}

pub(super) fn remove_dir(fs: &dyn FileSystem, dir: &Path) -> Result<(), StoreError> {
    match fs.remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("deleting", dir, source))
        }
        _ => Ok(()),
    }
}

/// `TOPIC-PARTITION`
pub(crate) fn split_name(name: &str) -> Option<(String, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    let partition = partition
        .parse()
        .ok()
        .filter(|_| is_number && !topic.is_empty())?;
    Some((topic.to_owned(), partition))
}
