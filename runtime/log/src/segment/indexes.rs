//! What a segment's indexes hold: entries are added with each batch, cut with the batches, and built anew.

use std::io;
use std::sync::atomic::Ordering;

use millstream_records::BatchHeader;

use super::places::Places;
use super::{Piece, Segment};
use crate::index::{
    AbortedEntry, AbortedTxn, Checksum, EntryFile, IndexEntry, OffsetEntry, TimeEntry,
};

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
    pub(crate) base_offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) last_offset: i64,
    pub(crate) max_timestamp: i64,
}

impl IndexedBatch {
    pub(crate) fn new(position: u64, header: &BatchHeader) -> Self {
        Self {
            position,
            size: u32::try_from(header.size_in_bytes()).expect("a batch's length is an i32"),
            base_offset: header.base_offset,
            leader_epoch: header.leader_epoch,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
        }
    }
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
pub(super) struct Indexes {
    pub(super) offset: EntryFile<OffsetEntry>,
    pub(super) time: EntryFile<TimeEntry>,
    pub(super) aborted: EntryFile<AbortedEntry>,
    /// Not an index: what the sidecar will say of the batches.
    pub(super) places: Places,
    bytes_since_entry: u64,
    /// Unknown after opening until it is asked for; inner none in a segment without batches.
    largest: Option<Option<BatchTimestamp>>,
    /// The same for the first batch's timestamp.
    pub(super) first_timestamp: Option<Option<i64>>,
}

impl Indexes {
    pub(super) fn new(
        offset: EntryFile<OffsetEntry>,
        time: EntryFile<TimeEntry>,
        aborted: EntryFile<AbortedEntry>,
        is_empty: bool,
    ) -> Self {
        Self {
            offset,
            time,
            aborted,
            places: Places::default(),
            bytes_since_entry: 0,
            largest: is_empty.then_some(None),
            first_timestamp: is_empty.then_some(None),
        }
    }

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

impl Segment {
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
        indexes.places.note(batch);
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

    pub(super) fn finish_indexes(&self) -> io::Result<()> {
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

    /// The offset from which a search for `timestamp` has to look.
    pub(crate) fn offset_before_timestamp(&self, timestamp: i64) -> io::Result<i64> {
        let relative = self.indexes.read().time.offset_before(timestamp)?;
        Ok(self.absolute(relative.unwrap_or(0)))
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
                last_offset: self.absolute(entry.relative_offset),
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

    pub(super) fn cut_indexes(&self, position: u64, offset: i64) -> io::Result<()> {
        let mut indexes = self.indexes.write();
        let offsets = indexes
            .offset
            .partition_point(|entry| u64::try_from(entry.position).is_ok_and(|at| at < position))?;
        let times = indexes
            .time
            .partition_point(|entry| self.absolute(entry.relative_offset) < offset)?;
        let aborted = indexes
            .aborted
            .partition_point(|entry| entry.last_offset < offset)?;
        indexes.places.truncate(position);
        indexes.truncate(offsets, times, aborted, position == 0)
    }

    /// Bytes of the offset index.
    pub(crate) fn offset_index_bytes(&self) -> u64 {
        (self.indexes.read().offset.len() * OffsetEntry::BYTES) as u64
    }

    /// What the indexes hold now, entries in memory too; unknown as long as they lack what a checkpoint did not know.
    pub(crate) fn index_sums(&self) -> io::Result<IndexSums> {
        let expected = *self.expected.lock();
        let lacks_some = expected.is_some_and(|sums| sums.contains(&Checksum::UNKNOWN));
        if lacks_some && !self.indexes_are_trusted() {
            return Ok([Checksum::UNKNOWN; 3]);
        }
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

    /// Forgets the indexes, to be built anew by [`Segment::reindex`].
    pub(crate) fn clear_indexes(&self) -> io::Result<()> {
        *self.expected.lock() = None;
        self.has_whole_indexes.store(false, Ordering::Relaxed);
        self.indexes.write().truncate(0, 0, 0, true)
    }

    /// Takes the indexes of a segment that has no batches for empty, and leaves their files alone.
    pub(crate) fn forget_indexes(&self) {
        let mut indexes = self.indexes.write();
        indexes.offset.forget();
        indexes.time.forget();
        indexes.aborted.forget();
        indexes.largest = Some(None);
        indexes.first_timestamp = Some(None);
        self.trusted.store(true, Ordering::Release);
    }

    /// Indexes a batch that is in the file already.
    pub(crate) fn reindex(&self, batch: &IndexedBatch, limits: IndexLimits) {
        self.index_batch(&mut self.indexes.write(), batch, limits);
    }
}
