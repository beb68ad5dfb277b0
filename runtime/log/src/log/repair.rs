//! What a repair sees of a log and does to it, and the losses that were accepted in it.

use std::io;
use std::sync::Arc;

use millstream_records::BatchView;

use super::Log;
use crate::checkpoint::{CheckpointError, EpochStart};
use crate::producer_state::ProducerStates;
use crate::repair::{AcceptedLoss, AcceptedLosses, repair_advice};
use crate::segment::{Piece, Segment};

impl Log {
    /// Losses of damaged records that somebody has accepted, of offsets that the log still has. Empty batches stand in
    /// their place, so a reader does not meet them: who rebuilds a state of all records of the log must ask here.
    pub fn accepted_losses(&self) -> Vec<AcceptedLoss> {
        let offsets = self.offsets();
        let losses = self.accepted.lock();
        losses
            .iter()
            .filter(|loss| loss.offsets.end > offsets.log_start)
            .cloned()
            .collect()
    }

    /// What a user can do about damage in this log when no copy can be put back: the end of a sentence.
    pub fn repair_advice(&self) -> String {
        repair_advice(&self.dir)
    }

    /// Notes losses durably, before they are made. Returns what was noted before.
    pub(crate) fn accept_losses(
        &self,
        more: &[AcceptedLoss],
    ) -> Result<AcceptedLosses, CheckpointError> {
        let mut losses = self.accepted.lock();
        let next = losses.with(more);
        next.write(&*self.shared.fs, &self.dir)?;
        Ok(std::mem::replace(&mut *losses, next))
    }

    /// Takes back what [`Log::accept_losses`] has noted.
    pub(crate) fn restore_losses(&self, former: AcceptedLosses) -> Result<(), CheckpointError> {
        let mut losses = self.accepted.lock();
        former.write(&*self.shared.fs, &self.dir)?;
        *losses = former;
        Ok(())
    }

    /// The log was cut there: other records get the offsets.
    pub(super) fn forget_losses_from(&self, end: i64) {
        let mut losses = self.accepted.lock();
        let next = losses.below(end);
        if next == *losses {
            return;
        }
        // A note too many makes somebody ask; one too few would be a silent loss.
        match next.write(&*self.shared.fs, &self.dir) {
            Ok(()) => *losses = next,
            Err(error) => {
                tracing::warn!(log = %self.id, %error, "losses of offsets that were cut off stay noted");
            }
        }
    }

    /// Reads all of the log, its active segment too, and notes what is damaged. Returns the segments that are.
    pub(crate) fn look_for_damage(&self) -> io::Result<Vec<Arc<Segment>>> {
        for segment in self.rolled_segments() {
            self.scrub(&segment, |_| true)?;
        }
        let segments = self.segments.read().clone();
        let active = segments.last().expect("a log has a segment");
        self.check_indexes(active)?;
        self.visit_sound(active, |_, _| Ok(()))?;
        let is_damaged = |segment: &&Arc<Segment>| !segment.damages().is_empty();
        Ok(segments.iter().filter(is_damaged).cloned().collect())
    }

    /// Shows the batches that lie in none of the damage that is known of a segment, and where; what the walk meets is noted
    /// too.
    pub(crate) fn visit_sound(
        &self,
        segment: &Arc<Segment>,
        mut visit: impl FnMut(u64, &BatchView<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let damages = segment.damages();
        let sight = self.sight(segment);
        let Some(mut walk) = Self::walk(segment, &sight)? else {
            return Ok(());
        };
        while let Some(piece) = walk.next()? {
            match piece {
                Piece::Damage(region) => self.note(segment, &region),
                Piece::Batch(batch) => {
                    let is_damaged = damages
                        .iter()
                        .any(|region| (region.position..region.end).contains(&batch.position));
                    if is_damaged {
                        continue;
                    }
                    let size = batch.header.size_in_bytes();
                    let bytes = walk.bytes(batch.position, size)?;
                    let view = BatchView::parse(bytes).map_err(io::Error::other)?;
                    visit(batch.position, &view)?;
                }
            }
        }
        Ok(())
    }

    /// The producers' states where a segment begins.
    pub(crate) fn producers_before(&self, segment: &Segment) -> io::Result<ProducerStates> {
        self.replay_producers(segment.base_offset())
    }

    /// The start offset of each leader epoch.
    pub(crate) fn leader_epochs(&self) -> Vec<EpochStart> {
        self.epochs.entries().to_vec()
    }

    pub(crate) fn all_segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().clone()
    }
}
