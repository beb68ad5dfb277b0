//! Where readers of the tail stand: offsets whose file position is known without an index.

use parking_lot::Mutex;

const SLOTS: usize = 64;

/// A small direct-mapped cache from a batch's base offset to its place. Every append adds the batch that it stored,
/// every read the batch that comes after it, so whoever reads on where it stopped needs neither index nor scan.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    /// Empty until the first use, so that an idle log costs nothing.
    slots: Mutex<Vec<Place>>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    offset: i64,
    segment_id: u64,
    position: u64,
}

const EMPTY: Place = Place {
    offset: -1,
    segment_id: u64::MAX,
    position: 0,
};

impl Positions {
    pub(crate) fn note(&self, offset: i64, segment_id: u64, position: u64) {
        let mut slots = self.slots.lock();
        if slots.is_empty() {
            slots.resize(SLOTS, EMPTY);
        }
        slots[slot_of(offset)] = Place {
            offset,
            segment_id,
            position,
        };
    }

    pub(crate) fn find(&self, offset: i64, segment_id: u64) -> Option<u64> {
        let slots = self.slots.lock();
        let place = slots.get(slot_of(offset))?;
        (place.offset == offset && place.segment_id == segment_id).then_some(place.position)
    }

    /// Forgets all; after a truncation.
    pub(crate) fn clear(&self) {
        self.slots.lock().clear();
    }
}

fn slot_of(offset: i64) -> usize {
    // Fibonacci hashing: offsets of batches of equal size would share few slots otherwise.
    (offset.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - SLOTS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noted_place_is_found_for_its_segment_only() {
        let positions = Positions::default();
        assert_eq!(positions.find(7, 0), None);
        positions.note(7, 0, 700);
        assert_eq!(positions.find(7, 0), Some(700));
        assert_eq!(positions.find(7, 5), None);
        assert_eq!(positions.find(8, 0), None);
        positions.clear();
        assert_eq!(positions.find(7, 0), None);
    }
}
