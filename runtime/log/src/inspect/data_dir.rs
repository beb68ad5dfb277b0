//! All files of a node.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::partition::{Known, verify_partition};
use super::texts::text_damage;
use super::{CLEANER_OFFSETS, Damage, NodeState, read_node_checkpoint};
use crate::checkpoint::{
    CLEAN_SHUTDOWN, CleanShutdown, HIGH_WATERMARKS, LOG_STARTS, META_PROPERTIES, MetaProperties,
    PARTITION_METADATA, PartitionMetadata, RECOVERY_POINTS, read_offsets,
};
use crate::fs::{FileLock, FileSystem};
use crate::journal::{Journal, JournalError, Lsn};
use crate::log::CutNotes;
use crate::repair::AcceptedLoss;
use crate::segment::SegmentFile;
use crate::store::{JOURNAL_DIR, LOCK_FILE, StoreError, find_lost_logs, split_name};

/// What a verification read, and what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub partitions: u64,
    pub segments: u64,
    pub batches: u64,
    /// Only when records were read.
    pub records: u64,
    /// Of sound batches.
    pub bytes: u64,
    /// Entries of the journal.
    pub journal_entries: u64,
    /// A node has the directory open. Its journal and checkpoint, and the ends of its logs, were left out.
    pub is_open: bool,
    pub damages: Vec<Damage>,
    /// Losses that a repair has given up, with the partition's directory. They are no damage any more.
    pub accepted: Vec<(PathBuf, AcceptedLoss)>,
    /// Ends of files that a node was writing when it was killed: the next start cuts them off or redoes them.
    pub unfinished: Vec<Damage>,
}

/// Checks every checksum and every file of a data directory or of one partition's directory against each other.
/// Nothing is changed. Safe beside a running node: what it may be writing is left out.
///
/// # Errors
/// A file or directory cannot be read. What can be read and is wrong is in the report.
pub fn verify(fs: &Arc<dyn FileSystem>, path: &Path, reads_records: bool) -> io::Result<Report> {
    let is_partition = fs.exists(&path.join(PARTITION_METADATA))?
        || fs
            .read_dir(path)?
            .iter()
            .any(|entry| matches!(SegmentFile::parse(&entry.name), Some((SegmentFile::Log, _))));
    let absolute;
    let root = if is_partition {
        absolute = std::path::absolute(path)?;
        absolute.parent().unwrap_or(path)
    } else {
        path
    };
    // Held to the end, so that no node starts and changes what is being read.
    let lock = take_lock(&**fs, root)?;
    let is_open = matches!(lock, Lock::Foreign);
    let mut check = NodeCheck {
        fs,
        root,
        node: None,
        known: Known {
            is_open,
            reads_records,
            ..Known::default()
        },
        report: Report {
            is_open,
            ..Report::default()
        },
    };
    check.read_node(!is_partition)?;
    if is_partition {
        check.partition(path)?;
    } else {
        check.all()?;
    }
    Ok(check.report)
}

/// Who has the directory.
enum Lock {
    /// Nobody ever had.
    Absent,
    Ours {
        _lock: Box<dyn FileLock>,
    },
    /// A node that runs; or it cannot be known.
    Foreign,
}

fn take_lock(fs: &dyn FileSystem, root: &Path) -> io::Result<Lock> {
    let path = root.join(LOCK_FILE);
    if !fs.exists(&path)? {
        return Ok(Lock::Absent);
    }
    match fs.lock(&path) {
        Ok(lock) => Ok(Lock::Ours { _lock: lock }),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem => Ok(Lock::Foreign),
            _ => Err(error),
        },
    }
}

struct NodeCheck<'a> {
    fs: &'a Arc<dyn FileSystem>,
    root: &'a Path,
    node: Option<NodeState>,
    known: Known,
    report: Report,
}

impl NodeCheck<'_> {
    /// Reads what the node knows of its logs.
    fn read_node(&mut self, reports: bool) -> io::Result<()> {
        let marker = self.root.join(CLEAN_SHUTDOWN);
        match CleanShutdown::exists(&**self.fs, &marker) {
            Ok(exists) => self.known.is_closed = exists && !self.known.is_open,
            Err(error) => self.note_text(error, reports)?,
        }
        match read_node_checkpoint(&**self.fs, self.root) {
            Ok(node) => self.node = node,
            Err(StoreError::DamagedCheckpoint { path, reason }) if reports => {
                self.report.damages.push(Damage::new(&path, 0, reason));
            }
            Err(StoreError::DamagedCheckpoint { .. }) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(())
    }

    fn note_text(
        &mut self,
        error: crate::checkpoint::CheckpointError,
        reports: bool,
    ) -> io::Result<()> {
        let damage = text_damage(error)?;
        if reports {
            self.report.damages.push(damage);
        }
        Ok(())
    }

    fn partition(&mut self, dir: &Path) -> io::Result<()> {
        let mut known = self.known.clone();
        let metadata = PartitionMetadata::read(&**self.fs, &dir.join(PARTITION_METADATA));
        let name = dir.file_name().and_then(|name| name.to_str());
        let partition = name.and_then(split_name).map(|(_, partition)| partition);
        if let (Ok(Some(metadata)), Some(node), Some(partition)) = (metadata, &self.node, partition)
        {
            let log = node
                .logs
                .iter()
                .find(|log| log.topic_id == metadata.topic_id && log.partition == partition);
            known.synced = log.map(|log| (log.segment_base, log.segment_size));
            known.synced_end = log.map(|log| log.recovery_point);
            known.log_start = log.filter(|_| !known.is_open).map(|log| log.log_start);
            if let Some(log) = log.filter(|_| !known.is_closed) {
                match CutNotes::read(&**self.fs, dir, log.incarnation) {
                    Ok(notes) => {
                        let cut = notes.deepest_since(Lsn(log.lsn), log.recovery_point);
                        if cut.is_some() {
                            known.log_start = None;
                        }
                        known.synced_end = cut.map(|cut| cut.log_end).or(known.synced_end);
                        let cut = cut.map(|cut| (cut.segment_base, cut.segment_size));
                        known.synced = cut.or(known.synced);
                    }
                    Err(error) => {
                        let damage = text_damage(error)?;
                        self.report.damages.push(damage);
                    }
                }
            }
            known.offsets = log
                .filter(|_| known.is_closed)
                .map(|log| log.log_start..log.recovery_point);
        }
        match verify_partition(&**self.fs, dir, &known, &mut self.report) {
            // Its topic was just deleted.
            Err(error) if known.is_open && error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn all(&mut self) -> io::Result<()> {
        let meta = self.root.join(META_PROPERTIES);
        if let Err(error) = MetaProperties::read(&**self.fs, &meta) {
            self.note_text(error, true)?;
        }
        for name in [
            RECOVERY_POINTS,
            HIGH_WATERMARKS,
            LOG_STARTS,
            CLEANER_OFFSETS,
        ] {
            if let Err(error) = read_offsets(&**self.fs, &self.root.join(name)) {
                self.note_text(error, true)?;
            }
        }
        for entry in self.fs.read_dir(self.root)? {
            if entry.is_dir && split_name(&entry.name).is_some() {
                self.partition(&self.root.join(&entry.name))?;
            }
        }
        if !self.known.is_open {
            self.lost_logs();
            self.journal()?;
        }
        Ok(())
    }

    /// Logs that the checkpoint knows and that are not there. What keeps a start from looking is reported for itself.
    fn lost_logs(&mut self) {
        for lost in find_lost_logs(self.fs, self.root).unwrap_or_default() {
            let path = lost.path().unwrap_or_else(|| self.root.to_owned());
            let mut damage = Damage::new(&path, 0, lost.to_string());
            damage.offsets = Some(lost.log_start..lost.log_end);
            self.report.damages.push(damage);
        }
    }

    fn journal(&mut self) -> io::Result<()> {
        let dir = self.root.join(JOURNAL_DIR);
        let read = || {
            let mut redo = Journal::look(Arc::clone(self.fs), &dir)?;
            let mut entries = 0;
            while redo.next_entry()?.is_some() {
                entries += 1;
            }
            Ok(entries)
        };
        match read() {
            Ok(entries) => self.report.journal_entries = entries,
            Err(JournalError::Damaged {
                path,
                position,
                reason,
            }) => {
                let damage = Damage::new(&path, position, reason);
                self.report.damages.push(damage);
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(())
    }
}
