//! A segment: one `.log` file of batches back to back, with its indexes.

mod checksums;
mod damage;
mod departure;
mod names;
mod open_files;
mod rolling;
mod room;
mod scan;
mod walk;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::fs::FileSystem;
use crate::index::{
    AbortedEntry, AbortedTxn, Checksum, EntryFile, IndexEntry, OffsetEntry, TimeEntry,
};

pub(crate) use checksums::Sidecar;
pub(crate) use names::{SegmentFile, Suffix, path_of, path_with};
pub(crate) use open_files::{CachedFile, OpenFiles};
pub(crate) use rolling::Incoming;
pub(crate) use scan::{BatchScan, ScanError, ScannedBatch};
pub(crate) use walk::{Anchor, Contradiction, Piece, Region, Surroundings, Walk};

/// A timestamp and the last offset of the batch that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchTimestamp {
    pub(crate) timestamp: i64,
    pub(crate) last_offset: i64,
}

/// What the indexes keep of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexedBatch {
    pub(crate) position: u64,
    pub(crate) size: u32,
    pub(crate) last_offset: i64,
    pub(crate) max_timestamp: i64,
}

/// Sizes of a segment's files when they were listed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SegmentSizes {
    pub(crate) log: u64,
    pub(crate) offset_index: u64,
    pub(crate) time_index: u64,
    pub(crate) aborted_index: u64,
    /// Whether there is a file with checksums.
    pub(crate) has_sidecar: bool,
}

/// What the indexes of a segment hold: offset, time and aborted index.
pub(crate) type IndexSums = [Checksum; 3];

/// When indexes get an entry and when they are full; from the log's settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexLimits {
    pub(crate) interval_bytes: u32,
    pub(crate) index_bytes: u32,
}

#[derive(Debug)]
struct Indexes {
    offset: EntryFile<OffsetEntry>,
    time: EntryFile<TimeEntry>,
    aborted: EntryFile<AbortedEntry>,
    bytes_since_entry: u64,
    /// Unknown after opening until it is asked for; inner none in a segment without batches.
    largest: Option<Option<BatchTimestamp>>,
    /// The same for the first batch's timestamp.
    first_timestamp: Option<Option<i64>>,
}

impl Indexes {
    /// Keeps so many entries of each. What is known of timestamps is asked anew, unless nothing is left.
    fn truncate(
        &mut self,
        offsets: usize,
        times: usize,
        aborted: usize,
        is_empty: bool,
    ) -> io::Result<()> {
        self.offset.truncate(offsets)?;
        self.time.truncate(times)?;
        self.aborted.truncate(aborted)?;
        self.bytes_since_entry = 0;
        self.largest = is_empty.then_some(None);
        self.first_timestamp = is_empty.then_some(None);
        Ok(())
    }
}

/// One segment. Appends come under the log's append lock; reads need no lock of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    /// No other segment of this process has it, also none that takes the place of this one.
    id: u64,
    base_offset: i64,
    dir: PathBuf,
    /// What stands behind the names of its files.
    suffix: Mutex<Suffix>,
    log: CachedFile,
    /// Bytes of whole batches that belong to the log; the file may be longer after a failed write.
    size: AtomicU64,
    /// See `rolling.rs`.
    begun_ms: AtomicI64,
    /// See `room.rs`.
    has_room: AtomicBool,
    is_sealed: AtomicBool,
    /// The last entry of the time index was made of all batches that the file had when the indexes were opened.
    has_whole_indexes: AtomicBool,
    /// Written since it was last synced.
    unsynced: AtomicBool,
    /// See `checksums.rs`.
    trusted: AtomicBool,
    /// What the indexes must begin with to be trusted, where a checkpoint says that.
    expected: Mutex<Option<IndexSums>>,
    damage: damage::DamageList,
    indexes: RwLock<Indexes>,
}

impl Segment {
    /// A segment that begins at `base_offset`, with files of these sizes (zero for one that does not exist: files
    /// are made when they are first written).
    pub(crate) fn open(
        files: &Arc<OpenFiles>,
        dir: &Path,
        base_offset: i64,
        sizes: SegmentSizes,
    ) -> Self {
        Self::open_with(files, dir, base_offset, sizes, Suffix::None)
    }

    /// A segment that is to be written under names with this suffix.
    pub(crate) fn open_as(
        files: &Arc<OpenFiles>,
        dir: &Path,
        base_offset: i64,
        suffix: Suffix,
    ) -> Self {
        Self::open_with(files, dir, base_offset, SegmentSizes::default(), suffix)
    }

    fn open_with(
        files: &Arc<OpenFiles>,
        dir: &Path,
        base_offset: i64,
        sizes: SegmentSizes,
        suffix: Suffix,
    ) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let file = |kind| files.file(path_with(dir, base_offset, kind, suffix));
        // An empty file that has a sidecar may have lost what it held.
        let is_empty = sizes.log == 0 && !sizes.has_sidecar;
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            base_offset,
            dir: dir.to_owned(),
            suffix: Mutex::new(suffix),
            log: file(SegmentFile::Log),
            size: AtomicU64::new(sizes.log),
            begun_ms: AtomicI64::new(rolling::NOT_BEGUN),
            has_room: AtomicBool::new(false),
            is_sealed: AtomicBool::new(false),
            has_whole_indexes: AtomicBool::new(false),
            unsynced: AtomicBool::new(false),
            trusted: AtomicBool::new(is_empty),
            expected: Mutex::new(None),
            damage: damage::DamageList::default(),
            indexes: RwLock::new(Indexes {
                offset: EntryFile::new(file(SegmentFile::OffsetIndex), sizes.offset_index),
                time: EntryFile::new(file(SegmentFile::TimeIndex), sizes.time_index),
                aborted: EntryFile::new(file(SegmentFile::AbortedIndex), sizes.aborted_index),
                bytes_since_entry: 0,
                largest: is_empty.then_some(None),
                first_timestamp: is_empty.then_some(None),
            }),
        }
    }

    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.log.path()
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// True once for every time that the segment goes from synced to written.
    pub(crate) fn mark_unsynced(&self) -> bool {
        !self.unsynced.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn mark_synced(&self) {
        self.unsynced.store(false, Ordering::Relaxed);
    }

    /// Writes behind the last batch. What is written belongs to the log only after [`Segment::publish`].
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.log.get_or_create()?.write_at(bytes, self.size())
    }

    /// Writes batches that are published already.
    pub(crate) fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.log.get_or_create()?.write_at(bytes, position)
    }

    /// Cuts off what a failed append left behind the last batch.
    pub(crate) fn trim(&self) -> io::Result<()> {
        let file = self.log.get_or_create()?;
        if file.len()? > self.size() {
            file.set_len(self.size())?;
        }
        self.has_room.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Lets what was written become part of the segment, and indexes it.
    pub(crate) fn publish(&self, batches: &[IndexedBatch], limits: IndexLimits) {
        let mut indexes = self.indexes.write();
        for batch in batches {
            self.index_batch(&mut indexes, batch, limits);
        }
        let end = batches
            .last()
            .map_or(self.size(), |last| last.position + u64::from(last.size));
        self.size.store(end, Ordering::Release);
    }

    fn index_batch(&self, indexes: &mut Indexes, batch: &IndexedBatch, limits: IndexLimits) {
        let found = BatchTimestamp {
            timestamp: batch.max_timestamp,
            last_offset: batch.last_offset,
        };
        if batch.position == 0 {
            indexes.first_timestamp = Some(Some(batch.max_timestamp));
            indexes.largest = Some(Some(found));
        }
        let mut largest = match indexes.largest {
            Some(known) => known,
            // An opened segment that was never asked: what it holds already counts too.
            None => self.scan_largest(indexes, batch.position).unwrap_or_else(|error| {
                tracing::warn!(path = %self.path().display(), %error, "the greatest timestamp is not known");
                None
            }),
        };
        if largest.is_none_or(|largest| batch.max_timestamp > largest.timestamp) {
            largest = Some(found);
        }
        indexes.largest = Some(largest);
        if indexes.bytes_since_entry > u64::from(limits.interval_bytes)
            && let Some(relative_offset) = self.relative(batch.last_offset)
            && let Ok(position) = i32::try_from(batch.position)
        {
            indexes.offset.push(OffsetEntry {
                relative_offset,
                position,
            });
            self.index_largest(indexes);
            indexes.bytes_since_entry = 0;
        }
        indexes.bytes_since_entry += u64::from(batch.size);
    }

    /// Adds the greatest timestamp so far to the time index.
    fn index_largest(&self, indexes: &mut Indexes) {
        if let Some(Some(largest)) = indexes.largest
            && let Some(relative_offset) = self.relative(largest.last_offset)
        {
            let entry = TimeEntry {
                timestamp: largest.timestamp,
                relative_offset,
            };
            // Only a file that cannot be read fails here; then a search merely begins earlier.
            if let Err(error) = indexes.time.push_if_later(entry) {
                tracing::warn!(path = %self.path().display(), %error, "a time index entry is left out");
            }
        }
    }

    fn relative(&self, offset: i64) -> Option<i32> {
        i32::try_from(offset - self.base_offset).ok()
    }

    /// Notes an aborted transaction whose marker is in this segment.
    pub(crate) fn push_aborted(&self, entry: AbortedEntry) {
        self.indexes.write().aborted.push(entry);
    }

    /// All aborted transactions whose markers are in this segment.
    pub(crate) fn aborted_entries(&self) -> io::Result<Vec<AbortedEntry>> {
        let indexes = self.indexes.read();
        match indexes.aborted.len() {
            0 => Ok(Vec::new()),
            count => indexes.aborted.range(0, count),
        }
    }

    /// Adds the aborted transactions that touch `from..to`; true when no later segment can add more.
    pub(crate) fn collect_aborted(
        &self,
        from: i64,
        to: i64,
        found: &mut Vec<AbortedTxn>,
    ) -> io::Result<bool> {
        let indexes = self.indexes.read();
        if indexes.aborted.len() == 0 {
            return Ok(false);
        }
        indexes.aborted.collect(from, to, found)
    }

    /// Ends the segment: the time index gets its last entry, and no index changes any more.
    pub(crate) fn seal(&self, fs: &dyn FileSystem) -> io::Result<()> {
        self.is_sealed.store(true, Ordering::Relaxed);
        self.give_room_back()?;
        self.finish_indexes()?;
        self.write_sidecar(fs, self.size())
    }

    fn finish_indexes(&self) -> io::Result<()> {
        let mut indexes = self.indexes.write();
        if indexes.largest.is_none() {
            let largest = self.scan_largest(&indexes, self.size())?;
            indexes.largest = Some(largest);
        }
        self.index_largest(&mut indexes);
        indexes.offset.finish(true)?;
        indexes.time.finish(true)?;
        indexes.aborted.finish(false)
    }

    /// Writes index entries that wait in memory. What a checkpoint covers must not depend on memory.
    pub(crate) fn write_indexes(&self) -> io::Result<()> {
        self.give_room_back()?;
        let mut indexes = self.indexes.write();
        indexes.offset.write_pending()?;
        indexes.time.write_pending()?;
        indexes.aborted.write_pending()
    }

    /// Makes batches and indexes durable.
    pub(crate) fn sync(&self, fs: &dyn FileSystem) -> io::Result<()> {
        if self.size() > 0 {
            self.log.get()?.sync_data()?;
        }
        self.sync_sidecar(fs)?;
        // Appends need the indexes' lock.
        let files = {
            let indexes = self.indexes.read();
            [
                indexes.offset.to_sync()?,
                indexes.time.to_sync()?,
                indexes.aborted.to_sync()?,
            ]
        };
        files
            .into_iter()
            .flatten()
            .try_for_each(|file| file.sync_data())
    }

    /// Reads exactly `buffer` at `position`.
    pub(crate) fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.log.get()?.read_exact_at(buffer, position)
    }

    /// The offset from which a search for `timestamp` has to look.
    pub(crate) fn offset_before_timestamp(&self, timestamp: i64) -> io::Result<i64> {
        let relative = self.indexes.read().time.offset_before(timestamp)?;
        Ok(self.base_offset + i64::from(relative.unwrap_or(0)))
    }

    /// The batch with the greatest timestamp.
    pub(crate) fn largest_timestamp(&self) -> io::Result<Option<BatchTimestamp>> {
        if let Some(known) = self.indexes.read().largest {
            return Ok(known);
        }
        let mut indexes = self.indexes.write();
        let found = self.scan_largest(&indexes, self.size())?;
        indexes.largest = Some(found);
        Ok(found)
    }

    fn scan_largest(&self, indexes: &Indexes, end: u64) -> io::Result<Option<BatchTimestamp>> {
        let mut largest = None;
        if let Some(last) = indexes.time.len().checked_sub(1)
            && let Some(entry) = indexes.time.get(last)?
        {
            largest = Some(BatchTimestamp {
                timestamp: entry.timestamp,
                last_offset: self.base_offset + i64::from(entry.relative_offset),
            });
            if self.has_whole_indexes.load(Ordering::Relaxed) {
                return Ok(largest);
            }
        }
        let mut from = 0;
        if let Some(last) = indexes.offset.len().checked_sub(1)
            && let Some(entry) = indexes.offset.get(last)?
        {
            from = u64::try_from(entry.position).unwrap_or(0);
        }
        if end == 0 {
            return Ok(largest);
        }
        let mut walk = self.walk(if from < end { from } else { 0 }, end)?;
        while let Some(piece) = walk.next()? {
            let Piece::Batch(batch) = piece else {
                continue;
            };
            let header = batch.header;
            if largest
                .is_none_or(|largest: BatchTimestamp| header.max_timestamp > largest.timestamp)
            {
                largest = Some(BatchTimestamp {
                    timestamp: header.max_timestamp,
                    last_offset: header.last_offset(),
                });
            }
        }
        Ok(largest)
    }

    /// Walks the segment over damage, knowing nothing but its base offset.
    fn walk(&self, from: u64, end: u64) -> io::Result<Walk<'static>> {
        let around = Surroundings {
            lower: self.base_offset,
            upper: i64::MAX,
            epochs: &[],
        };
        Ok(Walk::new(self.log.get()?, from, end, around, &[]))
    }

    /// Cuts the segment at `position`, where the batch with base offset `offset` begins, and its indexes with it.
    pub(crate) fn truncate(&self, position: u64, offset: i64) -> io::Result<()> {
        self.cut_indexes(position, offset)?;
        self.forget_undecided_from(offset);
        self.set_size(position)
    }

    /// The indexes are found to be those with which a segment of this size was sealed.
    pub(crate) fn note_whole_indexes(&self) {
        self.has_whole_indexes.store(true, Ordering::Relaxed);
    }

    /// Lets a segment that may be sealed be written again. What its sidecar tells is not so any more.
    pub(crate) fn reopen(&self, fs: &dyn FileSystem) -> io::Result<()> {
        self.is_sealed.store(false, Ordering::Relaxed);
        self.has_whole_indexes.store(false, Ordering::Relaxed);
        match fs.remove_file(&self.file_path(SegmentFile::Checksums)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn cut_indexes(&self, position: u64, offset: i64) -> io::Result<()> {
        let mut indexes = self.indexes.write();
        let offsets = indexes
            .offset
            .partition_point(|entry| u64::try_from(entry.position).is_ok_and(|at| at < position))?;
        let times = indexes.time.partition_point(|entry| {
            self.base_offset + i64::from(entry.relative_offset) < offset
        })?;
        let aborted = indexes
            .aborted
            .partition_point(|entry| entry.last_offset < offset)?;
        indexes.truncate(offsets, times, aborted, position == 0)
    }

    /// Bytes of the offset index.
    pub(crate) fn offset_index_bytes(&self) -> u64 {
        (self.indexes.read().offset.len() * OffsetEntry::BYTES) as u64
    }

    /// What the indexes hold now, entries in memory too.
    pub(crate) fn index_sums(&self) -> io::Result<IndexSums> {
        let mut indexes = self.indexes.write();
        Ok([
            indexes.offset.checksum_of_all()?,
            indexes.time.checksum_of_all()?,
            indexes.aborted.checksum_of_all()?,
        ])
    }

    /// Keeps what a checkpoint had of the indexes, whatever lies behind. It is compared before the first use.
    pub(crate) fn restore_indexes(&self, sums: IndexSums) -> io::Result<()> {
        let mut indexes = self.indexes.write();
        indexes.offset.restore(sums[0])?;
        indexes.time.restore(sums[1])?;
        indexes.aborted.restore(sums[2])?;
        indexes.bytes_since_entry = 0;
        indexes.largest = None;
        indexes.first_timestamp = None;
        *self.expected.lock() = Some(sums);
        self.trusted.store(false, Ordering::Release);
        Ok(())
    }

    /// Whether the indexes begin with what a checkpoint said; `None` when none did.
    pub(crate) fn indexes_begin_as_expected(&self) -> Option<io::Result<bool>> {
        let sums = (*self.expected.lock())?;
        let indexes = self.indexes.read();
        let matches = || -> io::Result<bool> {
            Ok(indexes.offset.begins_with(sums[0])?
                && indexes.time.begins_with(sums[1])?
                && indexes.aborted.begins_with(sums[2])?)
        };
        Some(match matches() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            result => result,
        })
    }

    /// Cuts the batches at `position` and leaves the indexes.
    pub(crate) fn set_size(&self, position: u64) -> io::Result<()> {
        if position > 0 || self.size() > 0 {
            self.log.get_or_create()?.set_len(position)?;
        }
        self.size.store(position, Ordering::Release);
        self.forget_damage_from(position);
        Ok(())
    }

    /// Ends the segment at `position` and leaves the file as it is; whether the file is longer.
    pub(crate) fn end_at(&self, position: u64) -> bool {
        self.size.swap(position, Ordering::AcqRel) > position
    }

    /// Forgets the indexes, to be built anew by [`Segment::reindex`].
    pub(crate) fn clear_indexes(&self) -> io::Result<()> {
        *self.expected.lock() = None;
        self.has_whole_indexes.store(false, Ordering::Relaxed);
        self.indexes.write().truncate(0, 0, 0, true)
    }

    /// Indexes a batch that is in the file already.
    pub(crate) fn reindex(&self, batch: &IndexedBatch, limits: IndexLimits) {
        self.index_batch(&mut self.indexes.write(), batch, limits);
    }
}

#[cfg(test)]
mod tests;
