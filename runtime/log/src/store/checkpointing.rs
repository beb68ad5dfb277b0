//! Moving the recovery points: logs synced, the checkpoint file replaced, the journal cut.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::node_checkpoint::NodeCheckpoint;
use super::{LogKey, LogStore, StoreError, key_of};
use crate::checkpoint::{
    HIGH_WATERMARKS, LEADER_EPOCHS, LOG_STARTS, OffsetMap, PARTITION_METADATA, RECOVERY_POINTS,
    write_offsets,
};
use crate::failpoint;
use crate::fs::OpenMode;
use crate::journal::{JournalError, JournalHealth, Lsn};
use crate::log::{Log, LogCheckpoint, Unsynced};

/// More files than this are synced by one `syncfs` instead of one by one.
const SYNC_SINGLY_MAX: usize = 32;
/// A checkpoint that meets a journal which fills up meanwhile begins anew this often.
const ATTEMPTS: usize = 3;

/// A log as it was captured.
struct Captured {
    log: Arc<Log>,
    checkpoint: LogCheckpoint,
    unsynced: Unsynced,
}

impl LogStore {
    /// Syncs all changed logs, writes their recovery points and cuts the journal. Runs in the background by itself.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        failpoint::hit("store.before_checkpoint");
        let mut file = self.checkpoint.lock();
        self.shared
            .check_healthy()
            .map_err(|reason| StoreError::Poisoned { reason })?;
        for attempt in 1.. {
            match self.attempt_checkpoint(&mut file) {
                Err(StoreError::Journal(JournalError::Full { .. })) if attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        self.cleaner.note_checkpoint();
        Ok(())
    }

    /// Asks for a checkpoint in the background, soon.
    pub(crate) fn want_checkpoint(&self) {
        self.worker.signal().want_checkpoint();
    }

    fn attempt_checkpoint(&self, file: &mut NodeCheckpoint) -> Result<(), StoreError> {
        // No log may come or go between the noted number and the captures.
        let changing = self.changing.lock();
        let noted = self.next_lsn();
        let logs = self.sorted_logs();
        let lost: HashSet<LogKey> = self.lost.lock().keys().copied().collect();
        let captured = capture_all(&logs)?;
        drop(changing);
        let is_quiet = self.next_lsn() == noted;
        if let Err(error) = self.make_durable(&captured, is_quiet) {
            give_back(captured);
            return Err(error);
        }
        if captured.iter().any(|one| one.log.was_cut())
            && let Err(error) = self.cleaner.write_checkpoint(&logs)
        {
            // Once the checkpoint has the cut, nothing else tells that what follows it was never compacted.
            give_back(captured);
            return Err(error.into());
        }
        let mut next = file.clone();
        next.flush = self.options.flush;
        next.next_incarnation = self.next_incarnation.load(Ordering::Relaxed);
        // Without a journal the numbers stand still; they never go back.
        next.next_lsn = noted.max(next.next_lsn);
        let known: HashSet<LogKey> = logs.iter().map(|log| key_of(log)).collect();
        // What is lost may come back, and is not new then.
        next.retain(|key| known.contains(key) || lost.contains(key));
        for one in &captured {
            next.insert(
                key_of(&one.log),
                &one.log.id().topic,
                one.checkpoint.clone(),
            );
        }
        for log in &logs {
            next.set_topic(&key_of(log), &log.id().topic);
        }
        if let Err(error) = next.write(&*self.shared.fs, &self.options.dir) {
            give_back(captured);
            return Err(error);
        }
        *file = next;
        for one in &captured {
            one.log.note_durable(&one.checkpoint);
        }
        self.shared.failed_sync.settle(&*self.shared.fs);
        self.write_text_files(file, &logs)?;
        if let Some(journal) = self.shared.journal() {
            failpoint::hit("journal.before_cut");
            journal.cut_before(noted)?;
        }
        Ok(())
    }

    fn next_lsn(&self) -> Lsn {
        self.shared
            .journal()
            .map_or(Lsn(1), |journal| journal.next_lsn())
    }

    /// Syncs what was captured. A failed sync poisons the store: the kernel may have dropped the bytes, and would
    /// report success the next time.
    fn make_durable(&self, captured: &[Captured], is_quiet: bool) -> Result<(), StoreError> {
        if let Err(error) = self.sync_all(captured) {
            self.shared.poison(&format!("a sync failed: {error}"));
            return Err(error);
        }
        failpoint::hit("store.after_log_sync");
        let Some(journal) = self.shared.journal() else {
            return Ok(());
        };
        // The logs were captured one after the other. What the last one has must not survive without what the first
        // one got meanwhile: that is so when the journal is durable as far, or when nothing came in between.
        if !is_quiet {
            let newest = captured.iter().map(|one| one.checkpoint.lsn).max();
            journal.wait_flushed_blocking(newest.unwrap_or(Lsn::ZERO))?;
        }
        Ok(())
    }

    fn sync_all(&self, captured: &[Captured]) -> Result<(), StoreError> {
        let fs = &*self.shared.fs;
        let root = &self.options.dir;
        let names_changed = self.names_changed.swap(false, Ordering::AcqRel);
        let files: usize = captured
            .iter()
            .map(|one| 4 * one.unsynced.segments.len() + 3)
            .sum();
        if files > SYNC_SINGLY_MAX {
            return fs
                .sync_filesystem(root)
                .map_err(|source| StoreError::io("syncing the file system of", root, source));
        }
        for one in captured {
            for segment in &one.unsynced.segments {
                segment
                    .sync(fs)
                    .map_err(|source| StoreError::io("syncing", &segment.path(), source))?;
            }
            let dir = one.log.dir();
            let io = |source| StoreError::io("syncing", dir, source);
            for (name, is_wanted) in [
                (PARTITION_METADATA, one.unsynced.names_changed),
                (LEADER_EPOCHS, one.unsynced.epochs_written),
            ] {
                if is_wanted {
                    let file = fs.open(&dir.join(name), OpenMode::ReadWrite);
                    file.and_then(|file| file.sync_data()).map_err(io)?;
                }
            }
            // An index gets its file with its first entries, so any segment may have new names.
            fs.sync_dir(dir).map_err(io)?;
        }
        if names_changed {
            fs.sync_dir(root)
                .map_err(|source| StoreError::io("syncing", root, source))?;
        }
        Ok(())
    }

    /// The same facts in Kafka's files, for Kafka's tools and for people.
    fn write_text_files(&self, file: &NodeCheckpoint, logs: &[Arc<Log>]) -> Result<(), StoreError> {
        let (mut points, mut starts, mut watermarks) =
            (OffsetMap::new(), OffsetMap::new(), OffsetMap::new());
        for log in logs {
            let name = (log.id().topic.clone(), log.id().partition);
            if let Some(at) = file.get(&key_of(log)) {
                points.insert(name.clone(), at.recovery_point);
                if at.log_start > 0 {
                    starts.insert(name.clone(), at.log_start);
                }
            }
            watermarks.insert(name, log.offsets().high_watermark);
        }
        let mut written = self.text_files.lock();
        for (name, offsets) in [
            (RECOVERY_POINTS, points),
            (LOG_STARTS, starts),
            (HIGH_WATERMARKS, watermarks),
        ] {
            let last = written.entry(name).or_default();
            if *last != offsets {
                write_offsets(&*self.shared.fs, &self.options.dir.join(name), &offsets)?;
                *last = offsets;
            }
        }
        Ok(())
    }

    /// [`LogStore::flushed`] for threads outside of the async runtime.
    pub fn flushed_blocking(&self, lsn: Lsn) -> Result<(), StoreError> {
        match self.shared.journal() {
            Some(journal) => Ok(journal.wait_flushed_blocking(lsn)?),
            None => Ok(()),
        }
    }

    pub(super) fn journal_is_full(&self) -> bool {
        self.shared
            .journal()
            .is_some_and(|journal| matches!(journal.health(), JournalHealth::Full { .. }))
    }

    /// Closes idle files and forgets producers that have long been silent.
    pub(super) fn sweep(&self) {
        self.shared.open_files.close_idle();
        for log in self.logs() {
            log.remove_expired_producers(self.producer_id_expiration_ms());
        }
    }
}

fn capture_all(logs: &[Arc<Log>]) -> Result<Vec<Captured>, StoreError> {
    let mut captured = Vec::new();
    for log in logs {
        match log.capture() {
            Ok(None) => {}
            Ok(Some((checkpoint, unsynced))) => captured.push(Captured {
                log: Arc::clone(log),
                checkpoint,
                unsynced,
            }),
            Err(error) => {
                give_back(captured);
                return Err(error.into());
            }
        }
    }
    Ok(captured)
}

fn give_back(captured: Vec<Captured>) {
    for one in captured {
        one.log.capture_again(one.unsynced);
    }
}
