//! What is known to be damaged in a segment: found by a read, at start or by the scrub, and kept while it is open.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::{Anchor, Region, Segment};
use crate::fs::File;

/// Anchors that a walk is given at once; behind them it finds its way without.
const ANCHORS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct DamageList {
    any: AtomicBool,
    /// Every batch had a right checksum and fitted in when the scrub read the segment last.
    is_scrubbed: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By rising positions.
    regions: Vec<Region>,
    /// Offsets of transactions whose end may lie in damaged bytes, while no index says how they ended.
    undecided: Vec<Range<i64>>,
}

impl Segment {
    /// Notes damage; false when it was known.
    pub(crate) fn note_damage(&self, region: &Region) -> bool {
        let mut known = self.damage.known.lock();
        if let Some(one) = known
            .regions
            .iter_mut()
            .find(|one| one.position == region.position)
        {
            one.first_offset = one.first_offset.min(region.first_offset);
            one.next_offset = one.next_offset.max(region.next_offset);
            return false;
        }
        let at = known
            .regions
            .partition_point(|one| one.position < region.position);
        known.regions.insert(at, region.clone());
        self.damage.any.store(true, Ordering::Release);
        self.damage.is_scrubbed.store(false, Ordering::Release);
        true
    }

    /// The damage that holds `offset`.
    pub(crate) fn damage_at(&self, offset: i64) -> Option<Region> {
        if !self.damage.any.load(Ordering::Acquire) {
            return None;
        }
        let known = self.damage.known.lock();
        let holds = |region: &&Region| region.offsets().contains(&offset);
        known.regions.iter().find(holds).cloned()
    }

    /// The first damage that holds `offset` or a later one.
    pub(crate) fn damage_from(&self, offset: i64) -> Option<Region> {
        self.damages()
            .into_iter()
            .find(|region| region.next_offset > offset)
    }

    /// Where the first known damage lies in the bytes from `position` on.
    pub(crate) fn damage_behind(&self, position: u64) -> Option<u64> {
        if !self.damage.any.load(Ordering::Acquire) {
            return None;
        }
        let known = self.damage.known.lock();
        let region = known.regions.iter().find(|one| one.end > position)?;
        Some(region.position.max(position))
    }

    pub(crate) fn damages(&self) -> Vec<Region> {
        if !self.damage.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.damage.known.lock().regions.clone()
    }

    /// Lets a reader of committed records be refused below the end of the `lost` offsets: from their start on, or from
    /// that of the first transaction that was open before them, since it cannot be known how it ended.
    pub(crate) fn note_undecided(&self, first_open: Option<i64>, lost: Range<i64>) {
        let undecided = first_open.unwrap_or(lost.start)..lost.end;
        self.damage.known.lock().undecided.push(undecided);
        self.damage.any.store(true, Ordering::Release);
    }

    /// Whether it is not known how a transaction ended that touches `offsets`.
    pub(crate) fn is_undecided(&self, offsets: &Range<i64>) -> bool {
        self.damage.any.load(Ordering::Acquire)
            && self
                .damage
                .known
                .lock()
                .undecided
                .iter()
                .any(|one| one.start < offsets.end && offsets.start < one.end)
    }

    /// Forgets damage behind the segment's end.
    pub(super) fn forget_damage_from(&self, position: u64) {
        let mut known = self.damage.known.lock();
        known.regions.retain(|region| region.position < position);
    }

    /// Forgets what is not known of offsets that are cut off; others get them.
    pub(super) fn forget_undecided_from(&self, offset: i64) {
        let mut known = self.damage.known.lock();
        known.undecided.retain(|one| one.start < offset);
        for one in &mut known.undecided {
            one.end = one.end.min(offset);
        }
        self.damage.is_scrubbed.store(false, Ordering::Release);
    }

    pub(crate) fn set_scrubbed(&self) {
        self.damage.is_scrubbed.store(true, Ordering::Release);
    }

    /// Whether the scrub has found all of it sound, so that a read need not compute checksums again.
    pub(crate) fn is_scrubbed(&self) -> bool {
        self.damage.is_scrubbed.load(Ordering::Acquire)
    }

    pub(crate) fn file(&self) -> std::io::Result<Arc<dyn File>> {
        self.log.get()
    }

    /// The same; none when nothing was ever written: it gets its file with its first batch.
    pub(crate) fn file_if_any(&self) -> std::io::Result<Option<Arc<dyn File>>> {
        match self.log.get() {
            Ok(file) => Ok(Some(file)),
            Err(error) if self.size() == 0 && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A place not behind the batch that holds `offset`, if one is indexed. The indexes must be trusted.
    pub(crate) fn anchor_before(&self, offset: i64) -> std::io::Result<Option<Anchor>> {
        let relative = offset.saturating_sub(self.base_offset);
        let entry = self.indexes.read().offset.entry_before(relative)?;
        Ok(entry.and_then(|entry| self.anchor(entry)))
    }

    /// That place and those that follow. The indexes must be trusted.
    pub(crate) fn anchors_around(&self, offset: i64) -> std::io::Result<Vec<Anchor>> {
        let relative = offset.saturating_sub(self.base_offset);
        let entries = self
            .indexes
            .read()
            .offset
            .entries_around(relative, ANCHORS_MAX)?;
        Ok(entries
            .into_iter()
            .filter_map(|entry| self.anchor(entry))
            .collect())
    }

    fn anchor(&self, entry: crate::index::OffsetEntry) -> Option<Anchor> {
        let position = u64::try_from(entry.position).ok()?;
        (position < self.size()).then(|| Anchor {
            position,
            last_offset: self
                .base_offset
                .saturating_add(i64::from(entry.relative_offset)),
        })
    }
}
