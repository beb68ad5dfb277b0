//! From a key's hash to the cell that may hold it.
//!
//! Extendible hashing: the upper 16 bits of a hash choose a segment, the next 12 where in it a search begins. A segment that
//! is full is split in two, so that the index grows by 4,096 slots at a time, never as a whole. A slot keeps these 28 bits
//! beside the address: most searches look at the one entry they want, and a split looks at none.
//!
//! ```text
//! slot   28 bits tag: the 16 uppermost bits of the hash, then 12 for the place in the segment
//!        36 bits address; all ones: the slot is empty
//! ```

use super::arena::{ADDRESS_BITS, Cell};

/// Slots of a segment that is split when it is full.
const SEGMENT_SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 12;
/// The first segment begins with so many.
const FIRST_SLOTS: usize = 16;
/// Bits of the hash that choose a segment, at most: 200 million entries. Beyond, segments grow.
const DEPTH_MAX: u32 = 16;
/// How much deeper than the average a segment may be. Hashes that are more alike than that make segments grow, since the
/// directory doubles with each level.
const DEPTH_AHEAD: u32 = 6;

const EMPTY: u64 = u64::MAX;

/// A slot that holds a cell. Any change of the index makes it void.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    segment: usize,
    slot: usize,
}

#[derive(Debug)]
struct Segment {
    slots: Vec<u64>,
    used: usize,
    /// How many bits of the hash all of its keys have in common.
    depth: u32,
}

#[derive(Debug)]
pub struct Index {
    /// The segment of each value of the `depth` uppermost bits.
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Segment>,
    slots: usize,
}

/// What a slot keeps of a hash.
fn tag_of(hash: u64) -> u64 {
    hash >> ADDRESS_BITS
}

fn cell_of(slot: u64) -> Cell {
    Cell::at(slot & ((1 << ADDRESS_BITS) - 1))
}

impl Segment {
    fn new(slots: usize, depth: u32) -> Self {
        Self {
            slots: vec![EMPTY; slots],
            used: 0,
            depth,
        }
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// Where the search for a tag begins.
    fn home(&self, tag: u64) -> usize {
        let begin = tag as usize & (SEGMENT_SLOTS - 1);
        begin * self.slots.len() / SEGMENT_SLOTS
    }

    fn is_full(&self) -> bool {
        (self.used + 1) * 8 > self.slots.len() * 7
    }

    fn add(&mut self, slot: u64) {
        let mut at = self.home(tag_of(slot));
        while self.slots[at] != EMPTY {
            at = (at + 1) & self.mask();
        }
        self.slots[at] = slot;
        self.used += 1;
    }

    fn find(&self, tag: u64, mut is_wanted: impl FnMut(Cell) -> bool) -> Option<usize> {
        let mut at = self.home(tag);
        loop {
            let slot = self.slots[at];
            if slot == EMPTY {
                return None;
            }
            if tag_of(slot) == tag && is_wanted(cell_of(slot)) {
                return Some(at);
            }
            at = (at + 1) & self.mask();
        }
    }

    /// Empties a slot, and moves those up that were pushed behind it.
    fn remove(&mut self, mut hole: usize) {
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask();
            let slot = self.slots[at];
            if slot == EMPTY {
                break;
            }
            let pushed = at.wrapping_sub(self.home(tag_of(slot))) & self.mask();
            let distance = at.wrapping_sub(hole) & self.mask();
            if pushed >= distance {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = EMPTY;
        self.used -= 1;
    }
}

impl Default for Index {
    fn default() -> Self {
        Self {
            directory: vec![0],
            depth: 0,
            segments: vec![Segment::new(FIRST_SLOTS, 0)],
            slots: FIRST_SLOTS,
        }
    }
}

impl Index {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.slots * size_of::<u64>()
            + self.directory.capacity() * size_of::<u32>()
            + self.segments.capacity() * size_of::<Segment>()
    }

    /// The place of the cell that `is_wanted`, among those whose keys have this hash.
    pub fn find(&self, hash: u64, is_wanted: impl FnMut(Cell) -> bool) -> Option<Place> {
        let segment = self.segment_of(hash);
        let slot = self.segments[segment].find(tag_of(hash), is_wanted)?;
        Some(Place { segment, slot })
    }

    pub fn cell(&self, place: Place) -> Cell {
        cell_of(self.segments[place.segment].slots[place.slot])
    }

    /// The entry of a place has moved.
    pub fn set(&mut self, place: Place, cell: Cell) {
        let slot = &mut self.segments[place.segment].slots[place.slot];
        *slot = tag_of(*slot) << ADDRESS_BITS | cell.address();
    }

    pub fn remove(&mut self, place: Place) {
        self.segments[place.segment].remove(place.slot);
    }

    /// Adds a cell whose key is not there.
    pub fn insert(&mut self, hash: u64, cell: Cell) {
        let deepest = DEPTH_MAX.min(self.segments.len().ilog2() + DEPTH_AHEAD);
        let number = loop {
            let number = self.segment_of(hash);
            let segment = &self.segments[number];
            if !segment.is_full() {
                break number;
            }
            if segment.slots.len() < SEGMENT_SLOTS || segment.depth >= deepest {
                self.grow(number);
            } else {
                self.split(hash);
            }
        };
        self.segments[number].add(tag_of(hash) << ADDRESS_BITS | cell.address());
    }

    /// Removes all cells; the slots stay.
    pub fn clear(&mut self) {
        for segment in self.segments.iter_mut().filter(|segment| segment.used > 0) {
            segment.slots.fill(EMPTY);
            segment.used = 0;
        }
    }

    fn segment_of(&self, hash: u64) -> usize {
        self.directory[self.in_directory(hash)] as usize
    }

    fn in_directory(&self, hash: u64) -> usize {
        let upper = hash.checked_shr(u64::BITS - self.depth);
        upper.unwrap_or(0) as usize
    }

    /// Twice the slots for one segment.
    fn grow(&mut self, number: usize) {
        let segment = &mut self.segments[number];
        let mut grown = Segment::new(segment.slots.len() * 2, segment.depth);
        self.slots += segment.slots.len();
        for slot in &segment.slots {
            if *slot != EMPTY {
                grown.add(*slot);
            }
        }
        *segment = grown;
    }

    /// Two segments in the place of the one of this hash, by the next bit.
    fn split(&mut self, hash: u64) {
        let number = self.segment_of(hash);
        let old = &self.segments[number];
        let depth = old.depth;
        let halves = [0, 1].map(|_| Segment::new(old.slots.len(), depth + 1));
        let [mut lower, mut upper] = halves;
        for slot in old.slots.iter().filter(|slot| **slot != EMPTY) {
            match slot >> (u64::BITS - 1 - depth) & 1 {
                0 => lower.add(*slot),
                _ => upper.add(*slot),
            }
        }
        self.slots += old.slots.len();
        self.segments[number] = lower;
        self.segments.push(upper);
        if depth == self.depth {
            let doubled = self.directory.iter().flat_map(|segment| [*segment; 2]);
            self.directory = doubled.collect();
            self.depth += 1;
        }
        // The segment's places in the directory are side by side; the new one gets the upper half of them.
        let half = 1 << (self.depth - depth - 1);
        let first = self.in_directory(hash) & !(2 * half - 1);
        let new = self.segments.len() as u32 - 1;
        self.directory[first + half..first + 2 * half].fill(new);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A hash that spreads, of a number that stands for a cell.
    fn mixed(number: u64) -> u64 {
        let mut hash = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^ hash >> 32
    }

    fn check(hash_of: fn(u64) -> u64, numbers: u64) {
        let mut index = Index::default();
        let mut there = BTreeMap::new();
        let find = |index: &Index, n: u64| {
            let place = index.find(hash_of(n), |cell| cell.address() == n);
            place.map(|place| index.cell(place).address())
        };
        for n in 0..numbers {
            index.insert(hash_of(n), Cell::at(n));
            there.insert(n, ());
            if n % 3 == 0 {
                let gone = mixed(n) % (n + 1);
                if there.remove(&gone).is_some() {
                    let place = index.find(hash_of(gone), |cell| cell.address() == gone);
                    index.remove(place.unwrap());
                }
            }
        }
        for n in 0..numbers {
            assert_eq!(find(&index, n), there.contains_key(&n).then_some(n), "{n}");
        }
        let used: usize = index.segments.iter().map(|segment| segment.used).sum();
        assert_eq!(used, there.len());
        let slots: usize = index
            .segments
            .iter()
            .map(|segment| segment.slots.len())
            .sum();
        assert_eq!(slots, index.slots);
    }

    #[test]
    fn what_was_inserted_is_found_until_it_is_removed() {
        check(mixed, 200_000);
    }

    #[test]
    fn hashes_that_are_much_alike_are_told_apart() {
        check(|_| 7, 2_000);
        // One place to begin in each segment.
        check(|n| mixed(n) & !(0xfff << ADDRESS_BITS), 20_000);
        // One segment for all.
        check(|n| mixed(n) >> 16, 50_000);
        let alike = |n| mixed(n) >> 16;
        let mut index = Index::default();
        for n in 0..50_000 {
            index.insert(alike(n), Cell::at(n));
        }
        assert!(index.bytes() < 50_000 * 20, "{} bytes", index.bytes());
    }

    #[test]
    fn the_index_has_at_most_twenty_bytes_an_entry() {
        let mut index = Index::default();
        for n in 0..1_000_000 {
            index.insert(mixed(n), Cell::at(n));
            if n > 10_000 {
                assert!(
                    index.bytes() as u64 <= n * 20,
                    "{} bytes, {n}",
                    index.bytes()
                );
            }
        }
    }
}
