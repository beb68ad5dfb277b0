//! Indexes that cannot be believed are built anew from the batches.

use std::io;
use std::sync::Arc;

use super::replay::{indexed, marker_of};
use super::{Appender, Log, index_limits};
use crate::segment::{BatchScan, ScanError, Segment};

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
            self.check_or_rebuild(segment)
        }
    }

    /// As `check_indexes`, for who has the append lock: what is not believed must not be sealed.
    pub(super) fn check_active_indexes(&self, appender: &Appender) -> io::Result<()> {
        self.check_or_rebuild(&appender.active)
    }

    fn check_or_rebuild(&self, segment: &Arc<Segment>) -> io::Result<()> {
        if segment.indexes_are_trusted() {
            return Ok(());
        }
        let _one_at_a_time = self.repairing.lock();
        if segment.indexes_are_trusted() {
            return Ok(());
        }
        let is_sound = match segment.sidecar(&*self.shared.fs)? {
            Some(sidecar) => segment.indexes_match(&sidecar)?,
            None => false,
        };
        if segment.size() > 0 && !is_sound {
            tracing::warn!(path = %segment.path().display(), "the indexes do not match their checksums and are built anew");
            self.rebuild_indexes(segment)?;
        }
        segment.trust_indexes();
        Ok(())
    }

    fn rebuild_indexes(&self, segment: &Arc<Segment>) -> io::Result<()> {
        let mut producers = self.replay_producers(segment.base_offset())?;
        let limits = index_limits(&self.config());
        segment.clear_indexes()?;
        let mut scan = BatchScan::headers(segment, 0);
        loop {
            let batch = match scan.next() {
                Ok(Some(batch)) => batch,
                // Readers of what lies behind will be told; what lies before is indexed.
                Ok(None) | Err(ScanError::Corrupt { .. }) => break,
                Err(ScanError::Io(error)) => return Err(error),
            };
            let Ok(marker) = marker_of(&mut scan, &batch) else {
                break;
            };
            self.note_stored(&mut producers, segment, &batch, marker);
            segment.reindex(&indexed(&batch), limits);
        }
        segment.seal(&*self.shared.fs)
    }
}
