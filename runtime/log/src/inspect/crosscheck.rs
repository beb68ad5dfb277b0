//! A segment's indexes against its batches, in one walk.

use std::collections::HashSet;
use std::path::Path;

use millstream_records::{BatchHeader, BatchView, ControlRecord, Marker};

use super::{AbortedIndexEntry, Damage, OffsetIndexEntry, TimeIndexEntry};
use crate::index::{AbortedEntry, IndexEntry, OffsetEntry, TimeEntry};

/// The entries of a segment's indexes, each waiting for the batch that it speaks of.
pub(super) struct Crosscheck<'a> {
    offset: Cursor<'a, OffsetIndexEntry>,
    time: Cursor<'a, TimeIndexEntry>,
    aborted: Cursor<'a, AbortedIndexEntry>,
    greatest_timestamp: i64,
    /// Producers with transactional records in this segment that no marker has ended.
    open: HashSet<i64>,
    pub(super) found: Vec<Damage>,
}

struct Cursor<'a, E> {
    path: &'a Path,
    entries: &'a [E],
    next: usize,
    entry_bytes: usize,
}

impl<'a, E: Copy> Cursor<'a, E> {
    fn new((path, entries): (&'a Path, &'a [E]), entry_bytes: usize) -> Self {
        Self {
            path,
            entries,
            next: 0,
            entry_bytes,
        }
    }

    /// Takes the next entry if `is_due`.
    fn take(&mut self, is_due: impl Fn(&E) -> bool) -> Option<E> {
        let entry = self.entries.get(self.next).copied().filter(is_due)?;
        self.next += 1;
        Some(entry)
    }

    /// Damage at the entry that was taken last.
    fn damage(&self, reason: impl Into<String>) -> Damage {
        let position = self.next.saturating_sub(1) * self.entry_bytes;
        Damage::new(self.path, position as u64, reason)
    }
}

impl<'a> Crosscheck<'a> {
    pub(super) fn new(
        offset: (&'a Path, &'a [OffsetIndexEntry]),
        time: (&'a Path, &'a [TimeIndexEntry]),
        aborted: (&'a Path, &'a [AbortedIndexEntry]),
    ) -> Self {
        Self {
            offset: Cursor::new(offset, OffsetEntry::BYTES),
            time: Cursor::new(time, TimeEntry::BYTES),
            aborted: Cursor::new(aborted, AbortedEntry::BYTES),
            greatest_timestamp: i64::MIN,
            open: HashSet::new(),
            found: Vec::new(),
        }
    }

    /// Compares a sound batch with the entries that speak of it. Returns what is wrong with its records, if they must
    /// be looked at.
    pub(super) fn batch(&mut self, position: u64, batch: &BatchView<'_>) -> Result<(), String> {
        let header = batch.header();
        self.check_offsets(position, header);
        self.check_times(header);
        let marker = if header.is_control() {
            marker(batch)?
        } else {
            None
        };
        self.check_aborted(header, marker);
        Ok(())
    }

    /// Nothing is known of the bytes up to `end` and the offsets up to `next_offset`.
    pub(super) fn damaged(&mut self, end: u64, next_offset: i64) {
        while self
            .offset
            .take(|entry| u64::try_from(entry.position).is_ok_and(|at| at < end))
            .is_some()
        {}
        while self.time.take(|entry| entry.offset < next_offset).is_some() {}
        while self
            .aborted
            .take(|entry| entry.last_offset < next_offset)
            .is_some()
        {}
        self.open.clear();
    }

    /// Entries that speak of what lies behind the last batch.
    pub(super) fn finish(mut self) -> Vec<Damage> {
        if self.offset.take(|_| true).is_some() {
            let damage = self
                .offset
                .damage("the entry points behind the segment's end");
            self.found.push(damage);
        }
        if self.time.take(|_| true).is_some() {
            let damage = self
                .time
                .damage("the entry's offset is behind the segment's end");
            self.found.push(damage);
        }
        if self.aborted.take(|_| true).is_some() {
            let damage = self
                .aborted
                .damage("the entry's offset is behind the segment's end");
            self.found.push(damage);
        }
        self.found
    }

    fn check_offsets(&mut self, position: u64, header: &BatchHeader) {
        let end = position + header.size_in_bytes() as u64;
        while let Some(entry) = self
            .offset
            .take(|entry| u64::try_from(entry.position).is_ok_and(|at| at < end))
        {
            if u64::try_from(entry.position).is_ok_and(|at| at != position) {
                let damage = self.offset.damage(format!(
                    "the entry of offset {} points into the batch at {position}",
                    entry.offset
                ));
                self.found.push(damage);
            } else if entry.offset < header.base_offset {
                let damage = self.offset.damage(format!(
                    "the entry says offset {}, the batch at {position} begins with {}",
                    entry.offset, header.base_offset
                ));
                self.found.push(damage);
            }
        }
    }

    fn check_times(&mut self, header: &BatchHeader) {
        self.greatest_timestamp = self.greatest_timestamp.max(header.max_timestamp);
        let last = header.last_offset();
        while let Some(entry) = self.time.take(|entry| entry.offset <= last) {
            // An entry for an offset within the batch may have been made before a compaction took the greatest.
            if entry.timestamp < self.greatest_timestamp && entry.offset == last {
                let damage = self.time.damage(format!(
                    "the entry says that up to offset {} no timestamp is greater than {}, there is {}",
                    entry.offset, entry.timestamp, self.greatest_timestamp
                ));
                self.found.push(damage);
            }
        }
    }

    fn check_aborted(&mut self, header: &BatchHeader, marker: Option<Marker>) {
        let producer = header.producer_id;
        let last = header.last_offset();
        let mut is_listed = false;
        while let Some(entry) = self.aborted.take(|entry| entry.last_offset <= last) {
            // A marker that compaction removed may have left its entry behind.
            if entry.last_offset < header.base_offset {
                continue;
            }
            if marker == Some(Marker::Abort) && entry.producer_id == producer {
                is_listed = true;
            } else {
                let damage = self.aborted.damage(format!(
                    "the entry says that producer {} aborted at offset {}, where no such marker is",
                    entry.producer_id, entry.last_offset
                ));
                self.found.push(damage);
            }
        }
        match marker {
            None if header.is_transactional() && !header.is_control() => {
                self.open.insert(producer);
            }
            Some(_) => {
                let had_records = self.open.remove(&producer);
                if marker == Some(Marker::Abort) && had_records && !is_listed {
                    let position = self.aborted.next * self.aborted.entry_bytes;
                    let reason = format!(
                        "the transaction that producer {producer} aborted at offset {last} is not listed"
                    );
                    let damage = Damage::new(self.aborted.path, position as u64, reason);
                    self.found.push(damage);
                }
            }
            None => {}
        }
    }
}

fn marker(batch: &BatchView<'_>) -> Result<Option<Marker>, String> {
    let records = batch
        .records(batch.bytes().len())
        .map_err(|error| error.to_string())?;
    let Some(record) = records.iter().next() else {
        return Ok(None);
    };
    let record = record.map_err(|error| error.to_string())?;
    let control = ControlRecord::parse(&record).map_err(|error| error.to_string())?;
    Ok(control.marker())
}
