//! Applying the journal to the logs: its entries are gathered by log and applied to many logs at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::changes::{check_name, write_log_dir};
use super::lost::topic_id_in;
use super::open::{Opening, remove_dir};
use super::parallel::in_parallel;
use super::survey::LogDir;
use super::{LogKey, StoreError, key_of};
use crate::LogConfig;
use crate::journal::{EntryKind, EntryRef, Lsn, Redo};
use crate::log::{Log, LogId, RedoChange, RedoEntry};

/// Records' bytes that are gathered before they are applied, and entries. They bound the memory that a redo takes.
const GATHERED_BYTES_MAX: usize = 32 << 20;
const GATHERED_ENTRIES_MAX: usize = 256 << 10;

/// A gathered entry; an append's records lie in `Gathered::bytes`.
enum Kept {
    Append {
        base_offset: i64,
        bytes: Range<usize>,
    },
    Change(RedoChange),
}

/// A log and its entries, in their order.
type LogEntries = (Arc<Log>, Vec<(Lsn, Kept)>);

/// Entries of the journal, by log.
#[derive(Default)]
struct Gathered {
    /// In the order of their keys, so that the same journal is always redone in the same order.
    logs: BTreeMap<LogKey, LogEntries>,
    bytes: Vec<u8>,
    entries: usize,
}

impl Gathered {
    fn push(&mut self, key: LogKey, log: &Arc<Log>, lsn: Lsn, entry: RedoEntry<'_>) {
        let kept = match entry {
            RedoEntry::Append { base_offset, bytes } => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(bytes);
                Kept::Append {
                    base_offset,
                    bytes: start..self.bytes.len(),
                }
            }
            RedoEntry::Change(change) => Kept::Change(change),
        };
        let (_, entries) = self
            .logs
            .entry(key)
            .or_insert_with(|| (Arc::clone(log), Vec::new()));
        entries.push((lsn, kept));
        self.entries += 1;
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= GATHERED_BYTES_MAX || self.entries >= GATHERED_ENTRIES_MAX
    }

    /// Applies everything; returns how many entries changed something.
    fn apply(&mut self) -> Result<u64, StoreError> {
        let bytes = &self.bytes;
        let logs: Vec<_> = std::mem::take(&mut self.logs).into_values().collect();
        let applied = in_parallel(logs, |(log, entries)| {
            log.redo(entries.into_iter().map(|(lsn, kept)| {
                let entry = match kept {
                    Kept::Append {
                        base_offset,
                        bytes: range,
                    } => RedoEntry::Append {
                        base_offset,
                        bytes: &bytes[range],
                    },
                    Kept::Change(change) => RedoEntry::Change(change),
                };
                (lsn, entry)
            }))
        })?;
        self.bytes.clear();
        self.entries = 0;
        Ok(applied.into_iter().sum())
    }
}

impl Opening {
    /// Applies all that the journal has, and ends the recovery of every log.
    pub(super) fn redo_all(&mut self, redo: &mut Redo) -> Result<(), StoreError> {
        let mut gathered = Gathered::default();
        while let Some((lsn, entry)) = redo.next_entry()? {
            self.next_incarnation = self
                .next_incarnation
                .max(entry.incarnation.saturating_add(1));
            self.gather(&mut gathered, lsn, entry)?;
            if gathered.is_full() {
                self.report.redone_entries += gathered.apply()?;
            }
        }
        self.report.redone_entries += gathered.apply()?;
        let mut logs: Vec<_> = self.logs.values().collect();
        logs.sort_unstable_by_key(|log| key_of(log));
        in_parallel(logs, |log| log.finish_recovery())?;
        Ok(())
    }

    /// Keeps the entry for its log. One whose log is another one by now, or is gone, changes nothing.
    fn gather(
        &mut self,
        gathered: &mut Gathered,
        lsn: Lsn,
        entry: EntryRef<'_>,
    ) -> Result<(), StoreError> {
        let key = (entry.topic_id, entry.partition);
        let comes_or_goes = matches!(entry.kind, EntryKind::Create { .. } | EntryKind::Delete);
        if comes_or_goes && lsn < self.checkpoint.next_lsn {
            // The checkpoint knows all logs that there were at that number. Where one was that is gone since, another
            // one's directory may be.
            return Ok(());
        }
        if let EntryKind::Create { topic } = entry.kind {
            self.report.redone_entries += gathered.apply()?;
            return self.redo_create(lsn, key, entry.incarnation, topic);
        }
        let Some(log) = self
            .logs
            .get(&key)
            .filter(|log| log.incarnation() == entry.incarnation)
        else {
            return Ok(());
        };
        let redo = match entry.kind {
            EntryKind::Append { base_offset, bytes } => RedoEntry::Append { base_offset, bytes },
            EntryKind::Truncate { to } => RedoEntry::Change(RedoChange::Truncate { to }),
            EntryKind::Reset { to } => RedoEntry::Change(RedoChange::Reset { to }),
            EntryKind::LogStart { to } => RedoEntry::Change(RedoChange::LogStart { to }),
            EntryKind::Create { .. } => unreachable!("handled above"),
            EntryKind::Delete => {
                self.report.redone_entries += gathered.apply()?;
                return self.redo_delete(lsn, key);
            }
        };
        gathered.push(key, log, lsn, redo);
        Ok(())
    }

    fn redo_delete(&mut self, lsn: Lsn, key: LogKey) -> Result<(), StoreError> {
        if let Some(log) = self.logs.get(&key).filter(|log| lsn > log.last_lsn()) {
            let dir = log.dir().to_owned();
            self.logs.remove(&key);
            self.used.remove(&dir);
            self.report.redone_entries += 1;
            remove_dir(&*self.shared.fs, &dir)?;
        }
        Ok(())
    }

    fn redo_create(
        &mut self,
        lsn: Lsn,
        key: LogKey,
        incarnation: u64,
        topic: &str,
    ) -> Result<(), StoreError> {
        if self
            .logs
            .get(&key)
            .is_some_and(|log| log.incarnation() >= incarnation)
        {
            return Ok(());
        }
        let id = LogId {
            topic_id: key.0,
            topic: topic.to_owned(),
            partition: key.1,
        };
        check_name(&id)?;
        if let Some(former) = self.logs.remove(&key) {
            self.used.remove(former.dir());
        }
        self.unknown.remove(&key);
        let path = self.options.dir.join(id.to_string());
        if !self.used.insert(path.clone())
            && let Some(holder) = self.logs.values().find(|log| log.dir() == path)
        {
            return Err(StoreError::taken(&id, holder.id()));
        }
        self.make_room(&path, &id)?;
        // Its entries are in the journal, all of them: whatever the directory has is repeated from there.
        remove_dir(&*self.shared.fs, &path)?;
        write_log_dir(&self.shared, &path, key.0)?;
        let log = Log::create(
            id,
            path,
            incarnation,
            &self.shared,
            LogConfig::keeping_all(),
        );
        log.set_last_lsn(lsn);
        self.logs.insert(key, log);
        self.report.redone_entries += 1;
        Ok(())
    }

    /// Sets aside what lies where the log `id` is made again, if it is another log's. That one may come later in the
    /// journal; otherwise its creation did not become durable, or somebody has put it there.
    fn make_room(&mut self, path: &Path, id: &LogId) -> Result<(), StoreError> {
        let fs = Arc::clone(&self.shared.fs);
        if let Some((_, aside)) = self.aside.remove(&(id.topic_id, id.partition)) {
            remove_dir(&*fs, &aside)?;
        }
        let Ok(topic_id) = topic_id_in(&*fs, path)? else {
            return Ok(());
        };
        if topic_id == id.topic_id {
            return Ok(());
        }
        let other = LogDir {
            id: LogId {
                topic_id,
                ..id.clone()
            },
            path: path.to_owned(),
        };
        self.unknown.remove(&other.key());
        self.set_aside(other)
    }
}
