//! The cells of an ordered store, by key: a B-tree of two levels.
//!
//! A block has up to 256 cells; the blocks stand in a list. Keys are looked at where they lie, in the arena.

use std::cmp::Ordering;
use std::ops::Bound;

use super::arena::{Arena, Cell};
use super::entry::Entry;

/// Cells of a block; a full one is halved.
const BLOCK_CELLS: usize = 256;
/// Two neighbours that have fewer together become one.
const MERGE_CELLS: usize = BLOCK_CELLS / 2;

#[derive(Debug, Default)]
pub struct Order {
    /// No block is empty.
    blocks: Vec<Vec<Cell>>,
}

/// The block, and where in it. Any change of the order makes it void.
pub type Spot = (usize, usize);

impl Order {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Vec<Cell>>()
            + self.blocks.len() * (BLOCK_CELLS + 1) * size_of::<Cell>()
    }

    /// Adds a cell whose key is not there.
    pub fn insert(&mut self, arena: &Arena, cell: Cell) {
        if self.blocks.is_empty() {
            self.blocks.push(new_block(&[cell]));
            return;
        }
        let (mut block, mut at) = self
            .find(arena, arena.get(cell).key)
            .expect_err("the key is not there");
        if self.blocks[block].len() == BLOCK_CELLS {
            // Keys that come in order leave full blocks behind.
            let appended = block + 1 == self.blocks.len() && at == BLOCK_CELLS;
            let kept = if appended {
                BLOCK_CELLS
            } else {
                BLOCK_CELLS / 2
            };
            let upper = new_block(&self.blocks[block][kept..]);
            self.blocks[block].truncate(kept);
            self.blocks.insert(block + 1, upper);
            if at > kept || appended {
                (block, at) = (block + 1, at - kept);
            }
        }
        self.blocks[block].insert(at, cell);
    }

    /// Where a key is that is there.
    pub fn spot(&self, arena: &Arena, key: &[u8]) -> Spot {
        self.find(arena, key).expect("the key is there")
    }

    /// The entry at a spot has moved to another cell.
    pub fn set(&mut self, (block, at): Spot, cell: Cell) {
        self.blocks[block][at] = cell;
    }

    /// Removes a key that is there; the arena still has it.
    pub fn remove(&mut self, arena: &Arena, key: &[u8]) {
        let (block, at) = self.spot(arena, key);
        self.blocks[block].remove(at);
        if self.blocks[block].is_empty() {
            self.blocks.remove(block);
            return;
        }
        let lower = block.saturating_sub(1);
        if let [left, right, ..] = &self.blocks[lower..]
            && left.len() + right.len() <= MERGE_CELLS
        {
            let right = self.blocks.remove(lower + 1);
            self.blocks[lower].extend(right);
        }
    }

    /// The entries between two keys, in order; from both ends.
    pub fn range<'t>(
        &'t self,
        arena: &'t Arena,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Entry<'t>> {
        let begin = match from {
            Bound::Unbounded => (0, 0),
            Bound::Included(key) => self.find(arena, key).unwrap_or_else(|spot| spot),
            Bound::Excluded(key) => match self.find(arena, key) {
                Ok((block, at)) => (block, at + 1),
                Err(spot) => spot,
            },
        };
        let end = match to {
            Bound::Unbounded => (self.blocks.len(), 0),
            Bound::Excluded(key) => self.find(arena, key).unwrap_or_else(|spot| spot),
            Bound::Included(key) => match self.find(arena, key) {
                Ok((block, at)) => (block, at + 1),
                Err(spot) => spot,
            },
        };
        let end = end.max(begin);
        let blocks = begin.0..(end.0 + 1).min(self.blocks.len());
        blocks.flat_map(move |number| {
            let block = &self.blocks[number];
            let first = if number == begin.0 { begin.1 } else { 0 };
            let last = if number == end.0 { end.1 } else { block.len() };
            block[first..last].iter().map(|cell| arena.get(*cell))
        })
    }

    /// Where the key is, or where it would be.
    fn find(&self, arena: &Arena, key: &[u8]) -> Result<Spot, Spot> {
        let compare = |cell: &Cell| arena.get(*cell).key.cmp(key);
        let behind = self
            .blocks
            .partition_point(|block| compare(&block[0]) != Ordering::Greater);
        let block = behind.saturating_sub(1);
        let Some(cells) = self.blocks.get(block) else {
            return Err((0, 0));
        };
        match cells.binary_search_by(compare) {
            Ok(at) => Ok((block, at)),
            Err(at) => Err((block, at)),
        }
    }
}

fn new_block(cells: &[Cell]) -> Vec<Cell> {
    let mut block = Vec::with_capacity(BLOCK_CELLS);
    block.extend_from_slice(cells);
    block
}
