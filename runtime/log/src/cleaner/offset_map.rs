//! The newest offset of each key: 24 bytes an entry, whatever the keys' lengths.

use super::key_hash::{KeyHash, KeyHasher};

/// There is no room for another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MapFull;

/// 16 bytes of the key's hash, then the offset plus one; all zero when it is free.
type Slot = [u64; 3];

/// A table of fixed size with open addressing. Entries stand in the order of how far they are from home (robin hood),
/// so a key that is not there is known to be missing early, also in a table that is full.
#[derive(Debug)]
pub(super) struct OffsetMap {
    hasher: KeyHasher,
    slots: Vec<Slot>,
    len: usize,
    len_max: usize,
}

impl OffsetMap {
    /// Bytes of one entry.
    pub(super) const ENTRY_BYTES: u64 = size_of::<Slot>() as u64;

    /// A map of at most `budget_bytes` that takes keys until `load_factor` of it is in use; no larger than `keys_max`
    /// keys need.
    pub(super) fn new(budget_bytes: u64, load_factor: f64, keys_max: u64) -> Self {
        let load_factor = load_factor.clamp(0.01, 1.0);
        let needed = (keys_max as f64 / load_factor).ceil() as u64;
        let slots = (budget_bytes / Self::ENTRY_BYTES).min(needed.max(1));
        let slots = usize::try_from(slots).unwrap_or(usize::MAX);
        let len_max = (slots as f64 * load_factor) as usize;
        Self {
            hasher: KeyHasher::random(),
            // The system gives zeroed memory page by page as it is used.
            slots: vec![[0; 3]; slots],
            len: 0,
            len_max: len_max.min(slots),
        }
    }

    /// Keys that it can take at all.
    pub(super) fn capacity(&self) -> u64 {
        self.len_max as u64
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        self.hasher.hash(key)
    }

    /// Brings the slots of these hashes near. They are spread over far more memory than a cache holds: asked for
    /// together they arrive together, while a search would wait for one after the other.
    #[inline]
    pub(super) fn touch<'k>(&self, hashes: impl IntoIterator<Item = &'k KeyHash>) {
        if self.slots.is_empty() {
            return;
        }
        let mut seen = 0;
        for hash in hashes {
            seen |= self.slots[self.home(hash.0[0])][2];
        }
        std::hint::black_box(seen);
    }

    /// Notes that the key has a record at `offset`; of several the greatest counts.
    pub(super) fn put(&mut self, hash: KeyHash, offset: i64) -> Result<(), MapFull> {
        if self.slots.is_empty() {
            return Err(MapFull);
        }
        let stored = offset.cast_unsigned() + 1;
        let mut at = self.home(hash.0[0]);
        for distance in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            if slot[2] == 0 {
                break;
            }
            if slot[..2] == hash.0 {
                slot[2] = slot[2].max(stored);
                return Ok(());
            }
            let found = slot[0];
            if distance > 0 && self.distance(found, at) < distance {
                // The key would stand here, before the one that is nearer to its home.
                break;
            }
            at = self.after(at);
        }
        if self.len >= self.len_max {
            return Err(MapFull);
        }
        self.make_room(at);
        self.slots[at] = [hash.0[0], hash.0[1], stored];
        self.len += 1;
        Ok(())
    }

    /// Moves all entries from `at` to the next free slot by one. There is a free one.
    fn make_room(&mut self, at: usize) {
        let is_free = |slot: &Slot| slot[2] == 0;
        if let Some(free) = self.slots[at..].iter().position(is_free) {
            self.slots.copy_within(at..at + free, at + 1);
            return;
        }
        let free = self.slots.iter().position(is_free).unwrap_or(at);
        let last = self.slots.len() - 1;
        self.slots.copy_within(..free, 1);
        self.slots[0] = self.slots[last];
        self.slots.copy_within(at..last, at + 1);
    }

    /// The newest offset of the key.
    #[inline]
    pub(super) fn get(&self, hash: KeyHash) -> Option<i64> {
        if self.len == 0 {
            return None;
        }
        let mut at = self.home(hash.0[0]);
        for distance in 0..self.slots.len() {
            let slot = self.slots[at];
            if slot[2] == 0 {
                return None;
            }
            if slot[..2] == hash.0 {
                return Some((slot[2] - 1).cast_signed());
            }
            if distance > 0 && self.distance(slot[0], at) < distance {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// Where the search for a hash begins.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        match at + 1 == self.slots.len() {
            true => 0,
            false => at + 1,
        }
    }

    /// How far from home the entry of this hash is at `at`.
    #[inline]
    fn distance(&self, hash: u64, at: usize) -> usize {
        let home = self.home(hash);
        match at >= home {
            true => at - home,
            false => at + self.slots.len() - home,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing::Random;

    fn key(number: u64) -> [u8; 8] {
        number.to_be_bytes()
    }

    #[test]
    fn a_million_unique_keys_take_24_mb() {
        let mut map = OffsetMap::new(24_000_000, 1.0, u64::MAX);
        assert_eq!(size_of_val(map.slots.as_slice()), 24_000_000);
        for number in 0..1_000_000 {
            let hash = map.hash(&key(number));
            map.put(hash, number.cast_signed()).unwrap();
        }
        assert_eq!(map.len(), 1_000_000);
        let one_more = map.hash(&key(1_000_000));
        assert_eq!(map.put(one_more, 7), Err(MapFull));
        assert_eq!(map.get(one_more), None);
        for number in (0..1_000_000).step_by(997) {
            let hash = map.hash(&key(number));
            assert_eq!(map.get(hash), Some(number.cast_signed()));
            map.put(hash, 2_000_000).unwrap();
            assert_eq!(map.get(hash), Some(2_000_000), "a known key needs no room");
        }
    }

    #[test]
    fn it_agrees_with_a_map_of_whole_keys() {
        let mut random = Random::new(11);
        for (slots, load_factor, keys) in
            [(1, 1.0, 3), (7, 1.0, 20), (64, 0.9, 80), (500, 0.5, 400)]
        {
            let mut map = OffsetMap::new(slots * 24, load_factor, u64::MAX);
            let mut expected: HashMap<u64, i64> = HashMap::new();
            for offset in 0..2000 {
                let number = random.below(keys);
                let hash = map.hash(&key(number));
                match map.put(hash, offset) {
                    Ok(()) => {
                        expected.insert(number, offset);
                    }
                    Err(MapFull) => {
                        assert!(!expected.contains_key(&number));
                        assert_eq!(expected.len() as u64, map.capacity());
                    }
                }
                let number = random.below(keys);
                let found = map.get(map.hash(&key(number)));
                assert_eq!(found, expected.get(&number).copied());
            }
            assert_eq!(map.len(), expected.len());
        }
    }

    #[test]
    fn an_older_offset_does_not_replace_a_newer_one() {
        let mut map = OffsetMap::new(240, 1.0, u64::MAX);
        let hash = map.hash(b"key");
        map.put(hash, 9).unwrap();
        map.put(hash, 3).unwrap();
        assert_eq!(map.get(hash), Some(9));
    }

    #[test]
    fn few_keys_take_little_memory() {
        let map = OffsetMap::new(128 << 20, 0.9, 9);
        assert_eq!(map.slots.len(), 10);
        assert_eq!(map.capacity(), 9);
        let mut none = OffsetMap::new(23, 0.9, 9);
        assert_eq!(none.put(none.hash(b"key"), 1), Err(MapFull));
        assert_eq!(none.get(none.hash(b"key")), None);
        none.touch([&none.hash(b"key")]);
    }
}
