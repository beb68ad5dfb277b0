//! What lies in a data directory, read before a start changes anything in it.
//!
//! `refusal.rs` decides by it alone whether the start goes on: what is missing is never taken for new. `journal.rs` and
//! `metadata.rs` look into the files when the rest leaves a question.

mod journal;
mod metadata;
mod refusal;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lost::{DirFault, LostLog, topic_id_in};
use super::names::{split_deleted, split_name};
use super::node_checkpoint::NodeCheckpoint;
use super::parallel::in_parallel;
use super::{JOURNAL_DIR, LogKey, StoreError};
use crate::checkpoint::{
    CLEAN_SHUTDOWN, CleanShutdown, META_PROPERTIES, MetaProperties, PARTITION_METADATA,
};
use crate::fs::FileSystem;
use crate::log::LogId;
use crate::segment::SegmentFile;
use crate::{FlushMode, StoreOptions};

pub use metadata::MetadataFault;
pub use refusal::FoundLogs;

use journal::JournalChanges;

/// A partition's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogDir {
    pub(super) id: LogId,
    pub(super) path: PathBuf,
}

impl LogDir {
    pub(super) fn key(&self) -> LogKey {
        (self.id.topic_id, self.id.partition)
    }
}

/// A directory that is named as a partition's, and does not say of which topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamelessDir {
    pub(super) path: PathBuf,
    pub(super) fault: DirFault,
    /// Segments, or a `partition.metadata`. Without them it may be anybody's.
    pub(super) has_files: bool,
}

/// What a data directory has.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) root: PathBuf,
    pub(super) checkpoint: Option<NodeCheckpoint>,
    pub(super) meta: Option<MetaProperties>,
    pub(super) was_clean: bool,
    /// Directories of logs by their own account; that of the metadata log by its name.
    pub(super) logs: Vec<LogDir>,
    /// What is wrong with the `partition.metadata` of the metadata log, which has a fixed content.
    pub(super) metadata_name_fault: Option<DirFault>,
    pub(super) nameless: Vec<NamelessDir>,
    /// Directories whose logs were deleted.
    pub(super) deleted: Vec<PathBuf>,
    pub(super) lost: Vec<LostLog>,
    /// Of those, the ones of which the journal has something that is nowhere else.
    lost_changes: Vec<LostLog>,
    /// Two directories that are one log's.
    twins: Option<(PathBuf, PathBuf)>,
    /// Looked at without a checkpoint only.
    journal_has_entries: bool,
    metadata_fault: Option<MetadataFault>,
}

impl Survey {
    pub(super) fn read(options: &StoreOptions) -> Result<Survey, StoreError> {
        let (fs, root) = (&*options.fs, &options.dir);
        let mut survey = Survey {
            root: root.clone(),
            checkpoint: NodeCheckpoint::read(fs, root)?,
            meta: MetaProperties::read(fs, &root.join(META_PROPERTIES))?,
            was_clean: CleanShutdown::exists(fs, &root.join(CLEAN_SHUTDOWN))?,
            ..Survey::default()
        };
        let mut gone = survey.list(options)?;
        survey.find_twins();
        let Some(checkpoint) = survey.checkpoint.take() else {
            survey.journal_has_entries = journal::has_entries(&options.fs, root)?;
            return Ok(survey);
        };
        let known: HashSet<LogKey> = survey.logs.iter().map(LogDir::key).collect();
        let metadata = options.metadata_log.as_ref();
        let metadata_key = metadata.map(|id| (id.topic_id, id.partition));
        let absent: Vec<LogKey> = checkpoint
            .logs()
            .map(|(key, _)| *key)
            .filter(|key| !known.contains(key) && !gone.contains(key))
            .filter(|key| Some(*key) != metadata_key)
            .collect();
        let needs_journal = !absent.is_empty()
            || metadata_key.is_some_and(|key| {
                checkpoint
                    .get(&key)
                    .is_none_or(|metadata| metadata.recovery_point == 0)
            });
        let mut changes = JournalChanges::default();
        if checkpoint.flush == FlushMode::Journal {
            let journal = journal::open(&options.fs, root, &checkpoint)?;
            if needs_journal {
                changes = JournalChanges::read(journal, &checkpoint)?;
                gone.extend(changes.deleted());
            }
        }
        for key in absent.iter().filter(|key| !gone.contains(key)) {
            survey.note_lost(key, &checkpoint, &changes);
        }
        if let Some(id) = metadata {
            let fault = metadata::fault(fs, &survey, id, &checkpoint, &changes)?;
            survey.metadata_fault = fault;
        }
        survey.checkpoint = Some(checkpoint);
        Ok(survey)
    }

    /// Reads the names and the accounts of all directories; returns the logs of those that a deletion has renamed.
    fn list(&mut self, options: &StoreOptions) -> Result<HashSet<LogKey>, StoreError> {
        let (fs, root) = (&*options.fs, &options.dir);
        let entries = match fs.read_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
            result => result.map_err(|source| StoreError::io("listing", root, source))?,
        };
        let mut named = Vec::new();
        let mut gone = HashSet::new();
        for entry in entries.into_iter().filter(|entry| entry.is_dir) {
            let path = root.join(&entry.name);
            if let Some((_, partition)) = split_deleted(&entry.name) {
                gone.extend(topic_id_in(fs, &path)?.ok().map(|id| (id, partition)));
                self.deleted.push(path);
            } else if let Some((topic, partition)) = split_name(&entry.name)
                && entry.name != JOURNAL_DIR
            {
                named.push((topic, partition, path));
            }
        }
        let read = in_parallel(named, |(topic, partition, path)| {
            Ok::<_, StoreError>((topic_id_in(fs, &path)?, topic, partition, path))
        })?;
        for (found, topic, partition, path) in read {
            let metadata = options.metadata_log.as_ref();
            match metadata.filter(|id| id.topic == topic && id.partition == partition) {
                Some(id) => {
                    self.metadata_name_fault = match found {
                        Ok(topic_id) if topic_id == id.topic_id => None,
                        Ok(topic_id) => Some(DirFault::OtherTopic { topic_id }),
                        Err(fault) => Some(fault),
                    };
                    let id = id.clone();
                    self.logs.push(LogDir { id, path });
                }
                None => self.take_in(fs, found, topic, partition, path)?,
            }
        }
        Ok(gone)
    }

    fn take_in(
        &mut self,
        fs: &dyn FileSystem,
        found: Result<uuid::Uuid, DirFault>,
        topic: String,
        partition: i32,
        path: PathBuf,
    ) -> Result<(), StoreError> {
        match found {
            Ok(topic_id) => {
                let id = LogId {
                    topic_id,
                    topic,
                    partition,
                };
                self.logs.push(LogDir { id, path });
            }
            Err(fault) => {
                let has_files = has_files(fs, &path)
                    .map_err(|source| StoreError::io("listing", &path, source))?;
                self.nameless.push(NamelessDir {
                    path,
                    fault,
                    has_files,
                });
            }
        }
        Ok(())
    }

    fn find_twins(&mut self) {
        let mut seen: HashMap<LogKey, &Path> = HashMap::new();
        for dir in &self.logs {
            if let Some(other) = seen.insert(dir.key(), &dir.path) {
                let mut twins = [other.to_owned(), dir.path.clone()];
                twins.sort();
                let [one, other] = twins;
                self.twins = Some((one, other));
                return;
            }
        }
    }

    /// Notes a lost log. What lies where it belongs is not another log, and is left alone.
    fn note_lost(&mut self, key: &LogKey, checkpoint: &NodeCheckpoint, changes: &JournalChanges) {
        let Some(at) = checkpoint.get(key) else {
            return;
        };
        let mut lost = LostLog::new(&self.root, key, checkpoint.topic(key), at);
        let is_there = |path: &Path| lost.dir.as_deref() == Some(path);
        let other = self
            .logs
            .iter()
            .position(|dir| is_there(&dir.path) && checkpoint.get(&dir.key()).is_none());
        if let Some(other) = other {
            let topic_id = self.logs.swap_remove(other).id.topic_id;
            lost.fault = DirFault::OtherTopic { topic_id };
        } else if let Some(nameless) = self.nameless.iter().find(|dir| is_there(&dir.path)) {
            lost.fault = nameless.fault.clone();
        }
        if changes.has_changed(key, at) {
            self.lost_changes.push(lost.clone());
        }
        self.lost.push(lost);
    }
}

/// The logs of a data directory that its checkpoint knows and that are not there.
pub(crate) fn find_lost_logs(
    fs: &Arc<dyn FileSystem>,
    root: &Path,
) -> Result<Vec<LostLog>, StoreError> {
    let options = StoreOptions {
        fs: Arc::clone(fs),
        ..StoreOptions::new(root, FlushMode::default())
    };
    Ok(Survey::read(&options)?.lost)
}

fn has_files(fs: &dyn FileSystem, dir: &Path) -> io::Result<bool> {
    let is_of_a_log = |name: &str| {
        name == PARTITION_METADATA
            || matches!(SegmentFile::parse(name), Some((SegmentFile::Log, _)))
    };
    Ok(fs
        .read_dir(dir)?
        .iter()
        .any(|entry| is_of_a_log(&entry.name)))
}
