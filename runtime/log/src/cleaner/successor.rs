//! The segment that comes of a group: written as `.cleaned`, durable, then `.swap`, then in its place.

use std::io;
use std::sync::Arc;

use millstream_records::{BatchHeader, BatchView};

use super::error::CleanError;
use super::filter::write_placeholder;
use crate::failpoint;
use crate::index::AbortedEntry;
use crate::log::{CompactionView, Log};
use crate::segment::{IndexLimits, IndexedBatch, Segment, Suffix};

/// A compacted segment while it is written.
pub(crate) struct Successor<'a> {
    log: &'a Log,
    segment: Arc<Segment>,
    limits: IndexLimits,
    /// Batches that are not in the file yet, and what the indexes are to get of them.
    out: Vec<u8>,
    noted: usize,
    batches: Vec<IndexedBatch>,
}

impl<'a> Successor<'a> {
    /// No file of such a name is there: see [`super::recovery::clear_leftovers`].
    pub(crate) fn begin(log: &'a Log, base_offset: i64) -> Self {
        let segment = Segment::open_as(log.open_files(), log.dir(), base_offset, Suffix::Cleaned);
        Self {
            log,
            segment: Arc::new(segment),
            limits: log.index_limits(),
            out: Vec::new(),
            noted: 0,
            batches: Vec::new(),
        }
    }

    /// Where a batch that is written anew goes; [`Successor::written`] takes note of it.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    pub(crate) fn copy(&mut self, batch: &BatchView<'_>) {
        self.out.extend_from_slice(batch.bytes());
        self.note(batch.header());
    }

    pub(crate) fn written(&mut self) {
        let header = BatchHeader::parse(&self.out[self.noted..]).expect("it was just written");
        self.note(&header);
    }

    /// An empty batch in the place of the last one, which was dropped.
    pub(crate) fn placeholder(&mut self, header: &BatchHeader) -> Result<(), CleanError> {
        write_placeholder(header, &mut self.out).map_err(|error| {
            let error = io::Error::other(error);
            CleanError::io("writing", &self.segment.path(), error)
        })?;
        self.written();
        Ok(())
    }

    pub(crate) fn push_aborted(&mut self, entry: AbortedEntry) {
        self.segment.push_aborted(entry);
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.segment.size() + self.out.len() as u64
    }

    fn note(&mut self, header: &BatchHeader) {
        let position = self.segment.size() + self.noted as u64;
        self.batches.push(IndexedBatch::new(position, header));
        self.noted = self.out.len();
    }

    /// Writes what waits when it is at least so much; returns how much that was.
    pub(crate) fn flush_if(&mut self, bytes: usize) -> Result<u64, CleanError> {
        if self.out.is_empty() || self.out.len() < bytes {
            return Ok(0);
        }
        self.segment
            .write(&self.out)
            .map_err(|error| CleanError::io("writing", &self.segment.path(), error))?;
        self.segment.publish(&self.batches, self.limits);
        let written = self.out.len() as u64;
        self.out.clear();
        self.batches.clear();
        self.noted = 0;
        Ok(written)
    }

    /// Makes it durable and puts it into the place of `old`. False when the log has changed so that it cannot.
    pub(crate) fn take_place(
        self,
        view: &CompactionView,
        old: &[Arc<Segment>],
    ) -> Result<bool, CleanError> {
        let end = old.last().and_then(|last| self.log.end_of_rolled(last));
        let placed = self
            .make_whole(old, end)
            .and_then(|()| self.log.put_compacted(view, old, &self.segment));
        if !self.log.has_segment(&self.segment) {
            self.abandon();
        }
        placed.map_err(|source| CleanError::io("swapping segments of", self.log.dir(), source))
    }

    fn make_whole(&self, old: &[Arc<Segment>], end_offset: Option<i64>) -> io::Result<()> {
        let fs = &**self.log.open_files().fs();
        self.segment.seal(fs, end_offset)?;
        // Retention goes by it where records have no timestamps: they are not younger than they were.
        if let Some(last) = old.last()
            && self.segment.size() > 0
        {
            match last.modified_ms(fs) {
                Ok(modified_ms) => self.segment.set_modified(modified_ms)?,
                // A repair replaces what is gone too.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        failpoint::hit("cleaner.before_sync");
        self.segment.sync(fs)?;
        // A `.cleaned` must be seen after a power cut as long as not all files of the segment are `.swap`.
        fs.sync_dir(self.log.dir())
    }

    /// Removes what was written. While it is there nothing else may be swapped: a start would take the other one for
    /// not whole.
    pub(crate) fn discard(&self) -> Result<(), CleanError> {
        self.segment
            .remove(self.log.open_files())
            .map_err(|error| CleanError::io("removing", &self.segment.path(), error))
    }

    /// As [`Successor::discard`] at the end of a pass that has failed already: the next one, or a start, tries again.
    pub(crate) fn abandon(&self) {
        if let Err(error) = self.discard() {
            tracing::warn!(%error, "a half compacted segment stays for now");
        }
    }
}
