//! What stored batches mean: epochs, producers, aborted transactions.

use std::io;
use std::path::Path;

use millstream_records::{BatchError, BatchView, ControlRecord, Marker};

use super::{Appender, Log};
use crate::fs::{FileSystem, OpenMode};
use crate::index::AbortedEntry;
use crate::producer_state::{BatchFacts, ProducerStates, ProducerUpdate};
use crate::segment::{IndexedBatch, Piece, ScannedBatch, Segment, SegmentFile, path_of};

/// A producer snapshot larger than this is not believed (some 5 million producers).
const SNAPSHOT_BYTES_MAX: u64 = 256 << 20;

impl Log {
    /// What a stored batch means for epochs, producers, aborted transactions and the log's end.
    pub(super) fn take_in(
        &self,
        appender: &mut Appender,
        segment: &Segment,
        batch: &ScannedBatch,
        marker: Option<(Marker, i32)>,
    ) {
        let header = &batch.header;
        appender
            .epochs
            .assign(header.leader_epoch, header.base_offset);
        self.note_stored(&mut appender.producers, segment, batch, marker);
        appender.log_end = header.next_offset();
    }

    /// What a stored batch means for producers and for the segment's aborted transactions.
    pub(super) fn note_stored(
        &self,
        producers: &mut ProducerStates,
        segment: &Segment,
        batch: &ScannedBatch,
        marker: Option<(Marker, i32)>,
    ) {
        let header = &batch.header;
        if !header.has_producer_id() {
            return;
        }
        let facts = BatchFacts {
            header,
            marker,
            now_ms: self.shared.clock.now_ms(),
        };
        let update = ProducerUpdate::stored(producers, &facts);
        for completed in update
            .completed
            .iter()
            .filter(|completed| completed.aborted)
        {
            segment.push_aborted(AbortedEntry {
                producer_id: completed.producer_id,
                first_offset: completed.first_offset,
                last_offset: completed.marker_offset,
                last_stable: producers
                    .last_stable_after(completed.producer_id, completed.marker_offset),
            });
        }
        update.apply(producers);
    }

    /// The producers' states at `end`, from the newest snapshot of a segment and the sound batches behind it.
    pub(super) fn replay_producers(&self, end: i64) -> io::Result<ProducerStates> {
        let segments = self.segments.read().clone();
        let mut first = 0;
        let mut producers = ProducerStates::default();
        for (index, segment) in segments.iter().enumerate().rev() {
            if segment.base_offset() <= end
                && let Some(states) = self.load_snapshot(segment.base_offset())
            {
                (first, producers) = (index, states);
                break;
            }
        }
        for segment in &segments[first..] {
            let sight = self.sight_at_rest(segment);
            let Some(mut walk) = Self::walk(segment, &sight)? else {
                continue;
            };
            while let Some(piece) = walk.next()? {
                let Piece::Batch(batch) = piece else {
                    continue;
                };
                if batch.header.base_offset >= end {
                    return Ok(producers);
                }
                if batch.header.has_producer_id() {
                    let bytes = walk.bytes(batch.position, batch.header.size_in_bytes())?;
                    let facts = BatchFacts {
                        header: &batch.header,
                        marker: marker_of(bytes).map_err(io::Error::other)?,
                        now_ms: self.shared.clock.now_ms(),
                    };
                    ProducerUpdate::stored(&producers, &facts).apply(&mut producers);
                }
            }
        }
        Ok(producers)
    }

    /// A sound snapshot at exactly this offset; a broken one is removed.
    pub(super) fn load_snapshot(&self, offset: i64) -> Option<ProducerStates> {
        let path = path_of(&self.dir, offset, SegmentFile::ProducerSnapshot);
        let bytes = self.shared.fs.read(&path, SNAPSHOT_BYTES_MAX).ok()?;
        match ProducerStates::from_snapshot(&bytes) {
            Ok(states) => Some(states),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "removing a broken producer snapshot");
                let _ = self.shared.fs.remove_file(&path);
                None
            }
        }
    }
}

/// Makes the snapshot at exactly this offset durable; false when there is none that is sound.
pub(super) fn sync_snapshot(fs: &dyn FileSystem, dir: &Path, offset: i64) -> io::Result<bool> {
    let path = path_of(dir, offset, SegmentFile::ProducerSnapshot);
    let is_sound = fs
        .read(&path, SNAPSHOT_BYTES_MAX)
        .is_ok_and(|bytes| ProducerStates::from_snapshot(&bytes).is_ok());
    if is_sound {
        fs.open(&path, OpenMode::ReadWrite)?.sync_data()?;
        fs.sync_dir(dir)?;
    }
    Ok(is_sound)
}

pub(super) fn indexed(batch: &ScannedBatch) -> IndexedBatch {
    IndexedBatch::new(batch.position, &batch.header)
}

/// The marker that a control batch holds, with the epoch of its coordinator.
pub(super) fn marker_of(batch: &[u8]) -> Result<Option<(Marker, i32)>, String> {
    BatchView::parse(batch)
        .and_then(|batch| marker_in(&batch))
        .map_err(|error| error.to_string())
}

pub(crate) fn marker_in(batch: &BatchView<'_>) -> Result<Option<(Marker, i32)>, BatchError> {
    if !batch.header().is_control() {
        return Ok(None);
    }
    let records = batch.records(batch.bytes().len())?;
    let Some(record) = records.iter().next() else {
        return Ok(None);
    };
    let control = ControlRecord::parse(&record?)?;
    Ok(control
        .marker()
        .map(|marker| (marker, control.coordinator_epoch)))
}
