//! What the sidecar says of the batches' places, beside what the batches say themselves.

use std::io;

use super::{Misplaced, Walk};
use crate::segment::{Look, Stretch};

impl Walk<'_> {
    /// Compares the stretch at the walk's position with its checksum, when the walk comes into it.
    pub(super) fn look_over(&mut self) -> io::Result<()> {
        if self.position < self.looked_to {
            return Ok(());
        }
        let at = self
            .stretches
            .partition_point(|one| one.end() <= self.position);
        let Some(stretch) = self.stretches.get(at).copied() else {
            self.looked_to = self.end;
            return Ok(());
        };
        if stretch.begin() > self.position {
            self.looked_to = stretch.begin();
            return Ok(());
        }
        self.looked_to = stretch.end();
        self.misplaced = None;
        let Look::Wrong { batch } = stretch.look(|at| self.peek(at))? else {
            return Ok(());
        };
        match batch {
            Some(bytes) => {
                let reason = "the batch's base offset or leader epoch is not the one that the segment's checksums were made of";
                self.misplaced = Some(Misplaced {
                    bytes,
                    reason: reason.to_owned(),
                });
            }
            // Another damage within the stretch explains it, and is found in its turn.
            None if !self.is_sound_throughout(&stretch)? => {}
            None => {
                let reason = "base offsets or leader epochs of these batches are not those that the segment's checksums were made of";
                self.misplaced = Some(Misplaced {
                    bytes: stretch.begin()..stretch.end(),
                    reason: reason.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Whether every batch of the stretch is sound, but for what its sum tells.
    fn is_sound_throughout(&mut self, stretch: &Stretch) -> io::Result<bool> {
        let around = self.around;
        // What lies before the stretch is not known when the walk begins within it.
        self.around.lower = i64::MIN;
        let mut at = stretch.begin();
        let is_sound = loop {
            if at >= stretch.end() {
                break true;
            }
            match self.judge(at)? {
                Ok(header) => {
                    at += header.size_in_bytes() as u64;
                    self.around.lower = header.next_offset();
                }
                Err(_) => break false,
            }
        };
        self.around = around;
        Ok(is_sound)
    }
}
