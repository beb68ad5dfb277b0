//! Indexes that cannot be believed are built anew from the batches.

use std::io;
use std::sync::Arc;

use super::replay::{indexed, marker_of};
use super::{Appender, Log, index_limits};
use crate::segment::{Piece, Segment};

impl Log {
    /// To be called before a reader uses a segment's indexes. Costs one load, but for the first use of a segment after
    /// a start: then the indexes are compared with their sidecar.
    pub(super) fn check_indexes(&self, segment: &Arc<Segment>) -> io::Result<()> {
        if segment.indexes_are_trusted() {
            return Ok(());
        }
        let is_active = self
            .segments
            .read()
            .last()
            .is_some_and(|last| Arc::ptr_eq(last, segment));
        if is_active {
            // Appends add to its indexes, so they wait.
            let appender = self.appender.lock();
            self.check_active_indexes(&appender)
        } else {
            self.check_length(segment)?;
            self.check_or_rebuild(segment)
        }
    }

    /// As `check_indexes`, for who has the append lock: what is not believed must not be sealed.
    pub(super) fn check_active_indexes(&self, appender: &Appender) -> io::Result<()> {
        self.check_or_rebuild(&appender.active)
    }

    pub(super) fn check_or_rebuild(&self, segment: &Arc<Segment>) -> io::Result<()> {
        if segment.indexes_are_trusted() {
            return Ok(());
        }
        let _one_at_a_time = self.repairing.lock();
        if segment.indexes_are_trusted() {
            return Ok(());
        }
        let is_sound = match segment.indexes_begin_as_expected() {
            Some(matches) => matches?,
            None => match segment.sidecar(&*self.shared.fs)? {
                Some(sidecar) => {
                    let matches = segment.indexes_match(&sidecar)?;
                    if matches && sidecar.log_bytes == segment.size() {
                        segment.note_whole_indexes();
                    }
                    matches
                }
                None => false,
            },
        };
        if segment.size() > 0 && !is_sound {
            tracing::warn!(path = %segment.path().display(), "the indexes do not match their checksums and are built anew");
            self.rebuild_indexes(segment)?;
        }
        segment.trust_indexes();
        Ok(())
    }

    /// As `check_indexes` for a rolled segment, also when its indexes were found right before: what is on the disk now
    /// counts.
    pub(super) fn check_again(&self, segment: &Arc<Segment>) -> io::Result<()> {
        self.check_length(segment)?;
        let matches = match segment.sidecar(&*self.shared.fs)? {
            Some(sidecar) => segment.indexes_match(&sidecar)?,
            None => false,
        };
        if !matches {
            segment.distrust_indexes();
        }
        self.check_or_rebuild(segment)
    }

    /// What a rolled segment had when it was sealed must still be there.
    fn check_length(&self, segment: &Arc<Segment>) -> io::Result<()> {
        match segment.sidecar(&*self.shared.fs)? {
            Some(sidecar) if segment.size() < sidecar.log_bytes => {
                self.note_lost_end(segment, sidecar.log_bytes)
            }
            _ => Ok(()),
        }
    }

    /// Builds the indexes from the batches that are sound. While bytes are damaged it cannot be known how a
    /// transaction ended that was open there.
    fn rebuild_indexes(&self, segment: &Arc<Segment>) -> io::Result<()> {
        let mut producers = self.replay_producers(segment.base_offset())?;
        let limits = index_limits(&self.config());
        let former = segment.sidecar(&*self.shared.fs)?;
        if let Some(former) = &former {
            segment.recall_places(former);
        }
        segment.clear_indexes()?;
        let sight = self.sight_at_rest(segment);
        if let Some(mut walk) = Self::walk(segment, &sight)? {
            while let Some(piece) = walk.next()? {
                match piece {
                    Piece::Batch(batch) => {
                        let len = batch.header.size_in_bytes();
                        let marker = marker_of(walk.bytes(batch.position, len)?);
                        let marker = marker.map_err(io::Error::other)?;
                        self.note_stored(&mut producers, segment, &batch, marker);
                        segment.reindex(&indexed(&batch), limits);
                    }
                    Piece::Damage(region) => {
                        self.note(segment, &region);
                        let first_open = producers.open_transactions().min();
                        segment.note_undecided(first_open, region.offsets());
                    }
                }
            }
        }
        let fs = &*self.shared.fs;
        let sealed = match former {
            // It goes on telling what was lost.
            Some(former) if former.log_bytes > segment.size() => {
                segment.seal_short(fs, former.log_bytes)
            }
            Some(former) if former.log_bytes == segment.size() && former.end_offset.is_some() => {
                segment.seal(fs, former.end_offset)
            }
            _ => segment.seal(fs, self.end_of_rolled(segment)),
        };
        self.shared.places.forget(segment.id());
        if let Err(error) = sealed {
            // A full disk does not keep readers from what is in memory now; the next start builds them again.
            tracing::warn!(path = %segment.path().display(), %error, "rebuilt indexes could not be written");
            return Ok(());
        }
        // The node's checkpoint may count on what stood in these files before.
        if let Err(error) = segment.sync(fs).and_then(|()| fs.sync_dir(&self.dir)) {
            let path = segment.path();
            self.shared
                .poison(&format!("syncing {} failed: {error}", path.display()));
        }
        Ok(())
    }
}
