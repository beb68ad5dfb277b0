//! A store's committed entries, in memory.

mod arena;
mod entry;
mod index;
mod order;

use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;

use arena::{Arena, Cell};
use index::{Index, Place};
use order::Order;

pub use entry::Entry;

/// A hash index into an arena. No step takes longer than a part of it is large: it grows in pieces.
///
/// Beside key and value an entry has at most 48 bytes: 9 to 18 in the index, 4 to 12 in its cell, 1/16 of the cell's size
/// that it does not fill, and in an ordered store 8 to 16 in the order.
#[derive(Debug)]
pub struct Table {
    /// Seeded, so that nobody can choose keys that collide.
    hasher: RandomState,
    index: Index,
    arena: Arena,
    order: Option<Order>,
    len: usize,
}

/// A table that is cleared and has more memory than this for each of its entries, and for some more, gives it back.
const SPARSE_BYTES: usize = 1 << 10;
const SPARSE_ENTRIES: usize = 64;

/// Where a walk over the entries stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    page: usize,
}

impl Table {
    /// A store whose entries are found by key alone.
    pub fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            index: Index::default(),
            arena: Arena::default(),
            order: None,
            len: 0,
        }
    }

    /// A store whose entries can be read in the order of their keys too.
    pub fn ordered() -> Self {
        Self {
            order: Some(Order::default()),
            ..Self::new()
        }
    }

    /// Entries; those that have expired and were not removed yet count.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that it takes, all in all.
    pub fn bytes(&self) -> usize {
        let order = self.order.as_ref().map_or(0, Order::bytes);
        self.arena.bytes() + self.index.bytes() + order
    }

    pub fn get(&self, key: &[u8]) -> Option<Entry<'_>> {
        let place = self.find(self.hash(key), key)?;
        Some(self.arena.get(self.index.cell(place)))
    }

    /// Sets what is kept under the entry's key.
    pub fn put(&mut self, entry: &Entry<'_>) {
        let hash = self.hash(entry.key);
        match self.find(hash, entry.key) {
            Some(place) => self.replace(place, entry),
            None => {
                let cell = self.arena.insert(entry);
                self.index.insert(hash, cell);
                if let Some(order) = &mut self.order {
                    order.insert(&self.arena, cell);
                }
                self.len += 1;
            }
        }
    }

    /// Removes what is kept under a key; whether there was anything.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let Some(place) = self.find(self.hash(key), key) else {
            return false;
        };
        if let Some(order) = &mut self.order {
            order.remove(&self.arena, key);
        }
        self.arena.remove(self.index.cell(place));
        self.index.remove(place);
        self.len -= 1;
        true
    }

    /// Removes all entries. Memory is kept for about as many.
    pub fn clear(&mut self) {
        if self.bytes() > SPARSE_BYTES * (self.len + SPARSE_ENTRIES) {
            *self = match self.order {
                None => Self::new(),
                Some(_) => Self::ordered(),
            };
            return;
        }
        self.index.clear();
        self.arena.clear();
        self.order = self.order.as_ref().map(|_| Order::default());
        self.len = 0;
    }

    /// Shows `each` the entries at the cursor, some thousands at most, and moves it behind them. False at the end.
    ///
    /// The table may change between two calls. A walk meets each entry that was not touched since it began; of the others it
    /// meets some, some twice.
    pub fn walk(&self, cursor: &mut Cursor, each: impl FnMut(Entry<'_>)) -> bool {
        let page = cursor.page;
        if page >= self.arena.pages() {
            return false;
        }
        cursor.page += 1;
        self.arena.entries_of(page).for_each(each);
        true
    }

    /// The entries of an ordered store between two keys, in order; from both ends.
    ///
    /// # Panics
    ///
    /// When the store is not ordered.
    pub fn range<'t>(
        &'t self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Entry<'t>> {
        let order = self.order.as_ref().expect("the store is ordered");
        order.range(&self.arena, from, to)
    }

    pub fn is_ordered(&self) -> bool {
        self.order.is_some()
    }

    fn replace(&mut self, place: Place, entry: &Entry<'_>) {
        let cell = self.index.cell(place);
        if self.arena.overwrite(cell, entry) {
            return;
        }
        let order = self.order.as_mut();
        let spot = order.map(|order| (order.spot(&self.arena, entry.key), order));
        self.arena.remove(cell);
        let cell = self.arena.insert(entry);
        self.index.set(place, cell);
        if let Some((spot, order)) = spot {
            order.set(spot, cell);
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let is_wanted = |cell: Cell| self.arena.get(cell).key == key;
        self.index.find(hash, is_wanted)
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
