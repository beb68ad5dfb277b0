//! The small binary files beside a segment, and the node's checkpoint.

use std::io;
use std::path::Path;

use super::Damage;
use crate::checkpoint::EpochStart;
use crate::fs::FileSystem;
use crate::index::{ABORTED_VERSION, AbortedEntry, IndexEntry, OffsetEntry, TimeEntry};
use crate::producer_state::ProducerStates;
use crate::store::{NodeCheckpoint, StoreError};
use crate::{FlushMode, ProducerEntry};

/// No index is larger: `segment.index.bytes` is an i32.
const INDEX_BYTES_MAX: u64 = i32::MAX as u64;
/// As the log itself believes (some 5 million producers).
const SNAPSHOT_BYTES_MAX: u64 = 256 << 20;

/// An entry of an `.index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetIndexEntry {
    /// The last offset of the batch at `position`.
    pub offset: i64,
    pub position: i32,
}

/// An entry of a `.timeindex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeIndexEntry {
    /// No batch up to the one that ends with `offset` has a greater timestamp.
    pub timestamp: i64,
    pub offset: i64,
}

/// An entry of a `.txnindex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedIndexEntry {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Of the abort marker.
    pub last_offset: i64,
    pub last_stable_offset: i64,
}

/// The node's checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    pub flush: FlushMode,
    pub next_incarnation: u64,
    pub next_lsn: u64,
    pub logs: Vec<LogState>,
}

/// What the node's checkpoint keeps of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The topic's name; none when a former version wrote the checkpoint.
    pub topic: Option<String>,
    pub topic_id: uuid::Uuid,
    pub partition: i32,
    pub incarnation: u64,
    /// Everything below is synced.
    pub recovery_point: i64,
    pub log_start: i64,
    /// Entries of the journal up to this one are contained.
    pub lsn: u64,
    /// Base offset of the segment that was active.
    pub segment_base: i64,
    /// Its bytes that are synced.
    pub segment_size: u64,
    pub epochs: Vec<EpochStart>,
    pub producers: usize,
}

/// The entries of an offset index, as far as they are sound, and what is wrong with the rest. Zeros at the end are
/// room that a broker reserved for more entries.
///
/// # Errors
/// The file cannot be read.
pub fn read_offset_index(
    fs: &dyn FileSystem,
    path: &Path,
    base_offset: i64,
) -> io::Result<(Vec<OffsetIndexEntry>, Option<Damage>)> {
    let (entries, mut damage) = read_entries::<OffsetEntry>(fs, path)?;
    let used = entries
        .iter()
        .rposition(|entry| entry.relative_offset != 0 || entry.position != 0)
        .map_or(0, |last| last + 1);
    let mut found: Vec<OffsetIndexEntry> = Vec::new();
    for (index, entry) in entries[..used].iter().enumerate() {
        let at = (index * OffsetEntry::BYTES) as u64;
        let rises = found.last().is_none_or(|last| {
            base_offset.saturating_add(i64::from(entry.relative_offset)) > last.offset
                && entry.position > last.position
        });
        if entry.relative_offset < 0 || entry.position < 0 || !rises {
            damage = Some(Damage::new(path, at, "the entries do not rise"));
            break;
        }
        found.push(OffsetIndexEntry {
            offset: base_offset.saturating_add(i64::from(entry.relative_offset)),
            position: entry.position,
        });
    }
    Ok((found, damage))
}

/// The entries of a time index, as [`read_offset_index`].
///
/// # Errors
/// The file cannot be read.
pub fn read_time_index(
    fs: &dyn FileSystem,
    path: &Path,
    base_offset: i64,
) -> io::Result<(Vec<TimeIndexEntry>, Option<Damage>)> {
    let (entries, mut damage) = read_entries::<TimeEntry>(fs, path)?;
    let used = entries
        .iter()
        .rposition(|entry| entry.relative_offset != 0 || entry.timestamp != 0)
        .map_or(0, |last| last + 1);
    let mut found: Vec<TimeIndexEntry> = Vec::new();
    for (index, entry) in entries[..used].iter().enumerate() {
        let at = (index * TimeEntry::BYTES) as u64;
        let offset = base_offset.saturating_add(i64::from(entry.relative_offset));
        let rises = found
            .last()
            .is_none_or(|last| entry.timestamp > last.timestamp && offset >= last.offset);
        if entry.relative_offset < 0 || !rises {
            damage = Some(Damage::new(path, at, "the entries do not rise"));
            break;
        }
        found.push(TimeIndexEntry {
            timestamp: entry.timestamp,
            offset,
        });
    }
    Ok((found, damage))
}

/// The entries of an index of aborted transactions, as far as they are sound.
///
/// # Errors
/// The file cannot be read.
pub fn read_aborted_index(
    fs: &dyn FileSystem,
    path: &Path,
) -> io::Result<(Vec<AbortedIndexEntry>, Option<Damage>)> {
    let bytes = fs.read(path, INDEX_BYTES_MAX)?;
    let mut damage = unfinished::<AbortedEntry>(path, bytes.len());
    let mut found: Vec<AbortedIndexEntry> = Vec::new();
    for (index, entry) in bytes.chunks_exact(AbortedEntry::BYTES).enumerate() {
        let at = (index * AbortedEntry::BYTES) as u64;
        let version = i16::from_be_bytes([entry[0], entry[1]]);
        if version != ABORTED_VERSION {
            let reason =
                format!("the entry has version {version}, only {ABORTED_VERSION} is known");
            damage = Some(Damage::new(path, at, reason));
            break;
        }
        let entry = AbortedEntry::decode(entry);
        let rises = found
            .last()
            .is_none_or(|last| last.last_offset < entry.last_offset);
        if !rises || entry.first_offset > entry.last_offset || entry.first_offset < 0 {
            damage = Some(Damage::new(path, at, "the entries do not rise"));
            break;
        }
        found.push(AbortedIndexEntry {
            producer_id: entry.producer_id,
            first_offset: entry.first_offset,
            last_offset: entry.last_offset,
            last_stable_offset: entry.last_stable,
        });
    }
    Ok((found, damage))
}

/// The producers of a `.snapshot`, by their ids; the inner error is what is wrong with the file.
///
/// # Errors
/// The file cannot be read.
pub fn read_producer_snapshot(
    fs: &dyn FileSystem,
    path: &Path,
) -> io::Result<Result<Vec<ProducerEntry>, Damage>> {
    let bytes = fs.read(path, SNAPSHOT_BYTES_MAX)?;
    Ok(match ProducerStates::from_snapshot(&bytes) {
        Ok(states) => {
            let mut entries: Vec<_> = states.iter().copied().collect();
            entries.sort_unstable_by_key(|entry| entry.producer_id);
            Ok(entries)
        }
        Err(error) => Err(Damage::new(path, 0, error.to_string())),
    })
}

/// The node's checkpoint in a data directory; none when there is none.
///
/// # Errors
/// The file cannot be read or is damaged.
pub fn read_node_checkpoint(
    fs: &dyn FileSystem,
    dir: &Path,
) -> Result<Option<NodeState>, StoreError> {
    let Some(checkpoint) = NodeCheckpoint::read(fs, dir)? else {
        return Ok(None);
    };
    let mut logs: Vec<_> = checkpoint
        .logs()
        .map(|(key @ (topic_id, partition), log)| LogState {
            topic: checkpoint.topic(key).map(str::to_owned),
            topic_id: *topic_id,
            partition: *partition,
            incarnation: log.incarnation,
            recovery_point: log.recovery_point,
            log_start: log.log_start,
            lsn: log.lsn.0,
            segment_base: log.segment_base,
            segment_size: log.segment_size,
            epochs: log.epochs.clone(),
            producers: ProducerStates::from_checkpoint(&log.producers)
                .map_or(0, |producers| producers.iter().count()),
        })
        .collect();
    logs.sort_unstable_by_key(|log| (log.topic_id, log.partition));
    Ok(Some(NodeState {
        flush: checkpoint.flush,
        next_incarnation: checkpoint.next_incarnation,
        next_lsn: checkpoint.next_lsn.0,
        logs,
    }))
}

fn read_entries<E: IndexEntry>(
    fs: &dyn FileSystem,
    path: &Path,
) -> io::Result<(Vec<E>, Option<Damage>)> {
    let bytes = fs.read(path, INDEX_BYTES_MAX)?;
    let entries = bytes.chunks_exact(E::BYTES).map(E::decode).collect();
    Ok((entries, unfinished::<E>(path, bytes.len())))
}

fn unfinished<E: IndexEntry>(path: &Path, len: usize) -> Option<Damage> {
    let rest = len % E::BYTES;
    (rest != 0).then(|| {
        let reason = format!("{rest} bytes follow the last entry of {} bytes", E::BYTES);
        Damage::new(path, (len - rest) as u64, reason)
    })
}
