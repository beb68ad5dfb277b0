//! What the journal has beyond the node's checkpoint, by log.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::fs::FileSystem;
use crate::journal::{EntryKind, Journal, JournalError, Lsn, Redo};
use crate::log::LogCheckpoint;
use crate::store::node_checkpoint::NodeCheckpoint;
use crate::store::{JOURNAL_DIR, LogKey, StoreError};

/// What became of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Fate {
    /// Its life of which the rest speaks.
    incarnation: u64,
    is_created: bool,
    is_deleted: bool,
    /// The last change of its content.
    changed: Lsn,
}

/// Changes of logs that the node's checkpoint may not have.
#[derive(Debug, Default)]
pub(super) struct JournalChanges {
    fates: HashMap<LogKey, Fate>,
}

impl JournalChanges {
    pub(super) fn read(mut journal: Redo, checkpoint: &NodeCheckpoint) -> Result<Self, StoreError> {
        let mut changes = Self::default();
        while let Some((lsn, entry)) = journal.next_entry()? {
            // All logs were captured as they were at that number, or later.
            if lsn < checkpoint.next_lsn {
                continue;
            }
            let key = (entry.topic_id, entry.partition);
            let fate = changes.fates.entry(key).or_default();
            if entry.incarnation < fate.incarnation {
                continue;
            }
            if entry.incarnation > fate.incarnation {
                *fate = Fate {
                    incarnation: entry.incarnation,
                    ..Fate::default()
                };
            }
            match entry.kind {
                EntryKind::Create { .. } => fate.is_created = true,
                EntryKind::Delete => fate.is_deleted = true,
                _ => fate.changed = lsn,
            }
        }
        Ok(changes)
    }

    /// The logs whose deletion it has.
    pub(super) fn deleted(&self) -> impl Iterator<Item = LogKey> {
        let deleted = self.fates.iter().filter(|(_, fate)| fate.is_deleted);
        deleted.map(|(key, _)| *key)
    }

    /// Whether it has the whole life of a log.
    pub(super) fn has_created(&self, key: &LogKey) -> bool {
        let fate = self.fates.get(key);
        fate.is_some_and(|fate| fate.is_created && !fate.is_deleted)
    }

    /// Whether it has changed the content of any life of a log.
    pub(super) fn has_any_change(&self, key: &LogKey) -> bool {
        let fate = self.fates.get(key);
        fate.is_some_and(|fate| fate.changed > Lsn::ZERO && !fate.is_deleted)
    }

    /// Whether it has a change of this life of a log that the checkpoint has not.
    pub(super) fn has_changed(&self, key: &LogKey, at: &LogCheckpoint) -> bool {
        let fate = self.fates.get(key);
        fate.is_some_and(|fate| {
            !fate.is_deleted && fate.incarnation == at.incarnation && fate.changed > at.lsn
        })
    }
}

/// The journal of a node, which goes back at least as far as the checkpoint needs it.
pub(super) fn open(
    fs: &Arc<dyn FileSystem>,
    root: &Path,
    checkpoint: &NodeCheckpoint,
) -> Result<Redo, StoreError> {
    let dir = root.join(JOURNAL_DIR);
    let journal = Journal::look(Arc::clone(fs), &dir)?;
    let (begins_at, needed) = (journal.begins_at(), checkpoint.next_lsn);
    if begins_at > needed {
        return Err(StoreError::Journal(JournalError::Damaged {
            path: dir,
            position: 0,
            reason: format!(
                "its first file begins with entry {begins_at}, and the checkpoint needs those from {needed} on: the files before it are missing"
            ),
        }));
    }
    Ok(journal)
}

/// Whether a journal has anything, or had, as far as can be read.
pub(super) fn has_entries(fs: &Arc<dyn FileSystem>, root: &Path) -> Result<bool, StoreError> {
    let read = || {
        Journal::look(Arc::clone(fs), &root.join(JOURNAL_DIR))?
            .next_entry()
            .map(|entry| entry.is_some())
    };
    match read() {
        Err(JournalError::Damaged { .. }) => Ok(true),
        result => Ok(result?),
    }
}
