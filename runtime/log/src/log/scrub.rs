//! Rolled segments read again, so that decay is found before a consumer meets it.

use std::io;
use std::sync::Arc;

use super::{Life, Log};
use crate::segment::{IndexedBatch, Piece, Places, Segment, Stretch};

/// Shown to the pacer after so many bytes.
const STEP_BYTES: u64 = 1 << 20;

/// How the scrub of a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scrubbed {
    Sound,
    Damaged,
    /// The pacer said so, or the segment left the log meanwhile.
    Stopped,
}

impl Log {
    /// All segments but the active one.
    pub(crate) fn rolled_segments(&self) -> Vec<Arc<Segment>> {
        let mut segments = self.segments.read().clone();
        segments.pop();
        segments
    }

    /// Reads a rolled segment whole: the checksum and the place of every batch, the checksums of its indexes, its
    /// length. Damage is noted, indexes that do not match are built anew. `pace` is told how many bytes were read; it
    /// may block, and false ends the scrub.
    pub(crate) fn scrub(
        &self,
        segment: &Arc<Segment>,
        mut pace: impl FnMut(u64) -> bool,
    ) -> io::Result<Scrubbed> {
        match self.try_scrub(segment, &mut pace) {
            // It was deleted, or compaction put another one into its place.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.has(segment) => {
                Ok(Scrubbed::Stopped)
            }
            result => result,
        }
    }

    fn try_scrub(
        &self,
        segment: &Arc<Segment>,
        pace: &mut impl FnMut(u64) -> bool,
    ) -> io::Result<Scrubbed> {
        self.check_again(segment)?;
        let sight = self.sight_at_rest(segment);
        let mut is_sound = segment.damages().is_empty();
        let mut paced_to = 0;
        let mut places = self.places_to_add(segment)?;
        if let Some(mut walk) = Self::walk(segment, &sight)? {
            while let Some(piece) = walk.next()? {
                let end = match piece {
                    Piece::Batch(batch) => {
                        let batch = IndexedBatch::new(batch.position, &batch.header);
                        if let Some(places) = &mut places {
                            places.note(&batch);
                        }
                        batch.position + u64::from(batch.size)
                    }
                    Piece::Damage(region) => {
                        is_sound = false;
                        if self.has(segment) {
                            self.note(segment, &region);
                        }
                        region.end
                    }
                };
                if end - paced_to >= STEP_BYTES {
                    if !pace(end - paced_to) {
                        return Ok(Scrubbed::Stopped);
                    }
                    paced_to = end;
                }
            }
        }
        if !pace(segment.size().saturating_sub(paced_to)) || !self.has(segment) {
            return Ok(Scrubbed::Stopped);
        }
        if !is_sound {
            return Ok(Scrubbed::Damaged);
        }
        segment.set_scrubbed();
        if let Some(mut places) = places {
            self.add_places(segment, places.stretches())?;
        }
        Ok(Scrubbed::Sound)
    }

    /// What the sidecar says of the batches' places, when it does not say all: one of an older version, or of a segment
    /// that a killed node was writing.
    fn places_to_add(&self, segment: &Segment) -> io::Result<Option<Places>> {
        let sidecar = segment.sidecar(&*self.shared.fs)?;
        Ok(sidecar
            .filter(|sidecar| !sidecar.covers_all())
            .map(|sidecar| Places::recalled(&sidecar.stretches)))
    }

    /// Lets the sidecar of a segment that is sound say where its batches belong.
    fn add_places(&self, segment: &Arc<Segment>, stretches: &[Stretch]) -> io::Result<()> {
        // Nobody renames the files or writes them anew meanwhile.
        let _one_at_a_time = self.repairing.lock();
        let fs = &*self.shared.fs;
        match segment.sidecar(fs)? {
            Some(sidecar) if self.has(segment) && sidecar.log_bytes == segment.size() => {
                segment.add_places(fs, sidecar, stretches)?;
                self.shared.places.forget(segment.id());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn has(&self, segment: &Arc<Segment>) -> bool {
        if self.appender.lock().life == Life::Deleted {
            return false;
        }
        self.segments
            .read()
            .iter()
            .any(|one| Arc::ptr_eq(one, segment))
    }
}
