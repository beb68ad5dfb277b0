//! Logs come and go: made, deleted, set aside.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::names::{deleted_name, stray_name};
use super::open::remove_dir;
use super::{LogKey, LogStore, LostLog, Shared, StoreError, key_of};
use crate::checkpoint::{PARTITION_METADATA, PartitionMetadata};
use crate::fs::OpenMode;
use crate::journal::{EntryKind, EntryRef, FlushListener, Lsn};
use crate::log::{Log, LogId};
use crate::{FlushMode, LogConfig, failpoint};

impl LogStore {
    /// Makes a log, or returns the one that exists, with these settings. In journal mode its creation is durable
    /// before its first entry, in the same journal, so nothing is waited for here; without a journal a checkpoint is
    /// asked for.
    ///
    /// # Errors
    /// [`StoreError::Taken`] while a log of another topic of that name is there.
    /// [`StoreError::Lost`] for a log that is known and not there: a new one would give its offsets again.
    pub fn create_log(&self, id: LogId, config: LogConfig) -> Result<Arc<Log>, StoreError> {
        check_name(&id)?;
        let _changing = self.changing.lock();
        self.check_usable()?;
        let key = (id.topic_id, id.partition);
        let dir = self.options.dir.join(id.to_string());
        self.check_metadata_log(&id)?;
        if let Some(log) = self.get(&key.0, key.1) {
            if log.id() != &id {
                return Err(StoreError::taken(&id, log.id()));
            }
            log.set_config(config);
            return Ok(log);
        }
        self.check_not_lost(&key, &dir)?;
        let incarnation = self.next_incarnation.fetch_add(1, Ordering::Relaxed);
        self.make_way(&dir, &id)?;
        write_log_dir(&self.shared, &dir, id.topic_id)?;
        self.names_changed.store(true, Ordering::Release);
        let log = Log::create(id, dir, incarnation, &self.shared, config);
        let created = EntryKind::Create {
            topic: &log.id().topic,
        };
        if let Err(error) = self.journal_entry(key, incarnation, created) {
            // Nobody knows of the directory; what cannot be removed is set aside by the next attempt.
            let _ = self.shared.fs.remove_dir_all(log.dir());
            return Err(error);
        }
        self.logs.write().insert(key_of(&log), Arc::clone(&log));
        if self.options.flush == FlushMode::Os {
            // Until a checkpoint knows it, a log that gets lost passes for new.
            self.worker.signal().want_checkpoint_soon();
        }
        Ok(log)
    }

    /// Removes a log and its files. Readers that still hold it get [`crate::ReadError::Deleted`] sooner or later.
    pub fn delete_log(self: &Arc<Self>, topic_id: &Uuid, partition: i32) -> Result<(), StoreError> {
        self.begin_deletion(topic_id, [partition])?.finish()
    }

    /// Takes logs of a topic out of the store: from here on others may be made in their place. Lost ones are forgotten;
    /// what lies where they belong stays. To be called only for a topic whose removal is durable.
    pub fn begin_deletion(
        self: &Arc<Self>,
        topic_id: &Uuid,
        partitions: impl IntoIterator<Item = i32>,
    ) -> Result<Deletion, StoreError> {
        let mut deletion = Deletion {
            store: Arc::clone(self),
            renamed: Vec::new(),
            last: None,
        };
        let _changing = self.changing.lock();
        for partition in partitions {
            let key = (*topic_id, partition);
            let log = self.get(topic_id, partition);
            let lost = self.lost.lock().get(&key).map(|lost| lost.incarnation);
            let Some(incarnation) = log.as_ref().map(|log| log.incarnation()).or(lost) else {
                continue;
            };
            self.check_usable()?;
            deletion.last = Some(self.journal_entry(key, incarnation, EntryKind::Delete)?);
            failpoint::hit("store.after_delete_entry");
            self.lost.lock().remove(&key);
            if let Some(log) = log {
                self.take_out(&log);
                let name = deleted_name(log.dir());
                let io = |source| StoreError::io("deleting", log.dir(), source);
                self.shared.fs.rename(log.dir(), &name).map_err(io)?;
                self.names_changed.store(true, Ordering::Release);
                deletion.renamed.push(name);
                failpoint::hit("store.after_delete_name");
            }
        }
        Ok(deletion)
    }

    /// Sets the directories of logs aside that nobody knows: they leave the store, and their files stay for their owner to
    /// look at. Returns the new paths.
    pub fn set_logs_aside(&self, logs: &[Arc<Log>]) -> Result<Vec<PathBuf>, StoreError> {
        self.check_usable()?;
        // All of them is in their files then, and nothing in the journal alone.
        self.checkpoint()?;
        {
            let _changing = self.changing.lock();
            logs.iter().for_each(|log| self.take_out(log));
        }
        // A crash from here on leaves directories that no checkpoint knows; the next start sets them aside.
        self.checkpoint()?;
        let _changing = self.changing.lock();
        let mut aside = Vec::new();
        for log in logs {
            // Else a log that was made in its place has set it aside already.
            if self.log_in(log.dir()).is_none() {
                let name = stray_name(log.dir());
                let io = |source| StoreError::io("setting aside", log.dir(), source);
                self.shared.fs.rename(log.dir(), &name).map_err(io)?;
                self.names_changed.store(true, Ordering::Release);
                aside.push(name);
            }
        }
        Ok(aside)
    }

    /// The logs that are known and not there.
    pub fn lost_logs(&self) -> Vec<LostLog> {
        let mut lost: Vec<_> = self.lost.lock().values().cloned().collect();
        lost.sort_unstable_by_key(LostLog::key);
        lost
    }

    /// A log leaves the store; its files stay where they are.
    fn take_out(&self, log: &Arc<Log>) {
        self.logs.write().remove(&key_of(log));
        log.mark_deleted();
        // A pass that writes into the directory comes to its end first: soon another log may have the same one.
        drop(log.begin_cleaning());
        if let Err(error) = self.cleaner.forget(log, &self.logs()) {
            tracing::warn!(%error, "a log that is gone stays in the cleaner's checkpoint for a while");
        }
        self.shared.deferred.forget(log.dir());
    }

    fn log_in(&self, dir: &Path) -> Option<Arc<Log>> {
        self.logs
            .read()
            .values()
            .find(|log| log.dir() == dir)
            .cloned()
    }

    /// The metadata log has one name and one id, and no other log has either, be it there or not.
    fn check_metadata_log(&self, id: &LogId) -> Result<(), StoreError> {
        match &self.options.metadata_log {
            Some(own) if id != own && (id.topic == own.topic || id.topic_id == own.topic_id) => {
                Err(StoreError::taken(id, own))
            }
            _ => Ok(()),
        }
    }

    /// Neither is a lost log made anew, nor another one in its place.
    fn check_not_lost(&self, key: &LogKey, dir: &Path) -> Result<(), StoreError> {
        let lost = self.lost.lock();
        let is_it = |one: &&LostLog| one.key() == *key || one.dir.as_deref() == Some(dir);
        match lost.values().find(is_it) {
            Some(lost) => Err(StoreError::Lost { lost: lost.clone() }),
            None => Ok(()),
        }
    }

    /// Whatever stands where a new log's directory belongs is nobody's: nothing durable knows of it.
    fn make_way(&self, dir: &Path, id: &LogId) -> Result<(), StoreError> {
        let io = |source| StoreError::io("setting aside", dir, source);
        if !self.shared.fs.exists(dir).map_err(io)? {
            return Ok(());
        }
        if let Some(holder) = self.log_in(dir) {
            return Err(StoreError::taken(id, holder.id()));
        }
        let aside = stray_name(dir);
        tracing::warn!(path = %dir.display(), moved_to = %aside.display(), "a directory of an unknown log is set aside");
        self.shared.fs.rename(dir, &aside).map_err(io)
    }

    fn journal_entry(
        &self,
        (topic_id, partition): LogKey,
        incarnation: u64,
        kind: EntryKind<'_>,
    ) -> Result<Lsn, StoreError> {
        let entry = EntryRef {
            topic_id,
            partition,
            incarnation,
            kind,
        };
        let nobody: Arc<dyn FlushListener> = Arc::new(Nobody);
        // Whoever appends next, or waits, starts the flush.
        let within = Duration::from_millis(50);
        Ok(self.shared.journal_append(entry, &nobody, -1, within)?)
    }
}

/// Logs that have left the store, and whose files are still there.
#[derive(Debug)]
#[must_use = "the files stay until the next start"]
pub struct Deletion {
    store: Arc<LogStore>,
    renamed: Vec<PathBuf>,
    /// The last entry of the journal about it; none when no log was there.
    last: Option<Lsn>,
}

impl Deletion {
    /// Removes the files, with one flush for all. Blocks as long as that takes.
    pub fn finish(self) -> Result<(), StoreError> {
        let Some(last) = self.last else {
            return Ok(());
        };
        // By their names a start knows that they were deleted, so they stay until something else says it as well.
        let noted = match self.store.options.flush {
            FlushMode::Journal => self.store.flushed_blocking(last),
            FlushMode::Os => self.store.checkpoint(),
        };
        for dir in &self.renamed {
            match &noted {
                Ok(()) => remove_dir(&*self.store.shared.fs, dir)?,
                // A full disk, perhaps: that is what topics are deleted for.
                Err(error) => {
                    tracing::warn!(path = %dir.display(), %error, "the rest of a deleted log goes at the next start");
                    self.remove_content(dir)?;
                }
            }
        }
        Ok(())
    }

    /// Removes all but what says which log it was.
    fn remove_content(&self, dir: &Path) -> Result<(), StoreError> {
        let fs = &*self.store.shared.fs;
        let io = |source| StoreError::io("deleting", dir, source);
        for entry in fs.read_dir(dir).map_err(io)? {
            if !entry.is_dir && entry.name != PARTITION_METADATA {
                fs.remove_file(&dir.join(entry.name)).map_err(io)?;
            }
        }
        Ok(())
    }
}

/// A listener for entries that move no offset.
pub(super) struct Nobody;

impl FlushListener for Nobody {
    fn flushed(&self, _end_offset: i64, _lsn: Lsn) {}

    fn poisoned(&self, _reason: &str) {}
}

/// A topic's name becomes a directory's name: it must stay within the data directory.
pub(super) fn check_name(id: &LogId) -> Result<(), StoreError> {
    let is_sound = !id.topic.is_empty()
        && id.topic.len() <= 249
        && id.topic != "."
        && id.topic != ".."
        && id
            .topic
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && id.partition >= 0;
    if is_sound {
        Ok(())
    } else {
        Err(StoreError::Name {
            log: id.to_string(),
        })
    }
}

/// Makes a log's directory and its `partition.metadata`, which the next checkpoint makes durable.
pub(super) fn write_log_dir(shared: &Shared, dir: &Path, topic_id: Uuid) -> Result<(), StoreError> {
    let io = |source| StoreError::io("creating", dir, source);
    shared.fs.create_dir_all(dir).map_err(io)?;
    let text = PartitionMetadata { topic_id }.to_text();
    let path = dir.join(PARTITION_METADATA);
    let file = shared.fs.open(&path, OpenMode::Create).map_err(io)?;
    file.set_len(0)
        .and_then(|()| file.write_at(text.as_bytes(), 0))
        .map_err(io)
}
