//! Where a table's entries lie: cells of some sizes, in pages of one size of cell each.
//!
//! A cell does not move while its entry is there, so whoever walks the pages in order meets every entry that stays.
//! A page that becomes empty is given back.

use super::entry::{self, Entry};

/// Cells begin at multiples of this, and no size is smaller.
const UNIT: usize = 16;
/// A page of small cells begins with so much, and doubles.
const FIRST_PAGE_BYTES: usize = 1 << 10;
/// The most that a page of small cells becomes.
const PAGE_BYTES: usize = 1 << 16;
/// Up to here sizes are the multiples of [`UNIT`]; above, eight to each doubling.
const EXACT_BYTES: usize = 256;
/// An entry that needs more has a page for itself.
const SMALL_BYTES: usize = 8 << 10;

/// The page's number is above these bits of an address.
const UNIT_BITS: u32 = (PAGE_BYTES / UNIT).trailing_zeros();
/// Bits of an address.
pub const ADDRESS_BITS: u32 = 36;

/// No cell: the end of a page's list of free ones.
const NONE: u16 = u16::MAX;

/// The address of a cell: its page, and where it begins there in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell(u64);

impl Cell {
    fn new(page: usize, unit: usize) -> Self {
        let address = ((page as u64) << UNIT_BITS) | unit as u64;
        // 2^24 pages of 64 KiB are a terabyte.
        assert!(address < (1 << ADDRESS_BITS) - 1, "too many pages");
        Self(address)
    }

    fn page(self) -> usize {
        (self.0 >> UNIT_BITS) as usize
    }

    fn begin(self) -> usize {
        (self.0 & ((1 << UNIT_BITS) - 1)) as usize * UNIT
    }

    /// As a number below `1 << ADDRESS_BITS` that is never all ones.
    pub fn address(self) -> u64 {
        self.0
    }

    /// What [`Self::address`] gave.
    pub fn at(address: u64) -> Self {
        Self(address)
    }
}

/// What cells a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// None: the page was given back.
    Vacant,
    /// Cells of one size.
    Small(u8),
    /// One cell, as large as its entry.
    Large,
}

#[derive(Debug)]
struct Page {
    bytes: Vec<u8>,
    kind: Kind,
    /// Cells with an entry.
    live: u16,
    /// Cells that ever had one; behind them the page is untouched.
    used: u16,
    /// The first of the freed cells; each names the next.
    free: u16,
}

#[derive(Debug)]
pub struct Arena {
    pages: Vec<Page>,
    /// Pages that were given back.
    vacant: Vec<u32>,
    /// Per size, pages that may have room. Some entries are out of date.
    open: [Vec<u32>; SIZES],
    bytes: usize,
}

/// How many sizes small cells have.
const SIZES: usize = size_of_len(SMALL_BYTES) + 1;

/// The number of the smallest size that holds so many bytes.
const fn size_of_len(len: usize) -> usize {
    if len <= EXACT_BYTES {
        return len.saturating_sub(1) / UNIT;
    }
    let doubling = (len - 1).ilog2();
    let eighth = (len - 1) >> (doubling - 3);
    EXACT_BYTES / UNIT + (doubling - EXACT_BYTES.ilog2()) as usize * 8 + eighth - 8
}

/// The bytes of a cell of this size.
const fn bytes_of_size(size: usize) -> usize {
    let exact = EXACT_BYTES / UNIT;
    if size < exact {
        return (size + 1) * UNIT;
    }
    let (doubling, eighth) = ((size - exact) / 8, (size - exact) % 8);
    (EXACT_BYTES << doubling) / 8 * (eighth + 9)
}

impl Page {
    /// The freed cell that is used next, or one that never was; `None` when the page is full.
    fn take(&mut self, size: usize) -> Option<u16> {
        let len = bytes_of_size(size);
        let cell = match self.free {
            NONE => {
                let end = (usize::from(self.used) + 1) * len;
                if end > PAGE_BYTES {
                    return None;
                }
                if end > self.bytes.len() {
                    let grown = (self.bytes.len() * 2).max(end.next_power_of_two());
                    self.bytes.resize(grown.min(PAGE_BYTES), 0);
                }
                self.used += 1;
                self.used - 1
            }
            cell => {
                let at = usize::from(cell) * len;
                self.free = u16::from_le_bytes([self.bytes[at + 1], self.bytes[at + 2]]);
                cell
            }
        };
        self.live += 1;
        Some(cell)
    }

    /// Gives a cell back.
    fn give(&mut self, size: usize, cell: u16) {
        let at = usize::from(cell) * bytes_of_size(size);
        entry::free(&mut self.bytes[at..]);
        self.bytes[at + 1..at + 3].copy_from_slice(&self.free.to_le_bytes());
        self.free = cell;
        self.live -= 1;
    }

    /// Gives the page back; how many bytes it had.
    fn vacate(&mut self) -> usize {
        self.kind = Kind::Vacant;
        std::mem::take(&mut self.bytes).len()
    }

    fn has_room(&self, size: usize) -> bool {
        self.free != NONE || (usize::from(self.used) + 1) * bytes_of_size(size) <= PAGE_BYTES
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            vacant: Vec::new(),
            open: [const { Vec::new() }; SIZES],
            bytes: 0,
        }
    }
}

impl Arena {
    /// Bytes that the pages take, with what they need to be found.
    pub fn bytes(&self) -> usize {
        self.bytes + self.pages.capacity() * size_of::<Page>()
    }

    pub fn get(&self, cell: Cell) -> Entry<'_> {
        let bytes = &self.pages[cell.page()].bytes[cell.begin()..];
        Entry::read(bytes).expect("a cell that is named holds an entry")
    }

    pub fn insert(&mut self, entry: &Entry<'_>) -> Cell {
        let len = entry.cell_len();
        if len > SMALL_BYTES {
            return self.insert_large(entry, len);
        }
        let size = size_of_len(len);
        let (page, cell) = self.take(size);
        let begin = usize::from(cell) * bytes_of_size(size);
        entry.write(&mut self.pages[page].bytes[begin..]);
        Cell::new(page, begin / UNIT)
    }

    /// Writes the entry over the one in `cell`, if the cell has its size.
    pub fn overwrite(&mut self, cell: Cell, entry: &Entry<'_>) -> bool {
        let len = entry.cell_len();
        let page = &mut self.pages[cell.page()];
        let fits = match page.kind {
            Kind::Small(size) => len <= SMALL_BYTES && size_of_len(len) == usize::from(size),
            Kind::Large => len == page.bytes.len(),
            Kind::Vacant => false,
        };
        if fits {
            entry.write(&mut page.bytes[cell.begin()..]);
        }
        fits
    }

    pub fn remove(&mut self, cell: Cell) {
        let number = cell.page();
        let page = &mut self.pages[number];
        if let Kind::Small(size) = page.kind {
            let size = usize::from(size);
            let was_full = !page.has_room(size);
            page.give(size, (cell.begin() / bytes_of_size(size)) as u16);
            if page.live > 0 {
                if was_full {
                    self.open[size].push(number as u32);
                }
                return;
            }
        }
        self.bytes -= page.vacate();
        self.vacant.push(number as u32);
    }

    /// Removes all entries; pages of small cells stay.
    pub fn clear(&mut self) {
        self.open.iter_mut().for_each(Vec::clear);
        for (number, page) in self.pages.iter_mut().enumerate() {
            (page.live, page.used, page.free) = (0, 0, NONE);
            match page.kind {
                Kind::Small(size) => self.open[usize::from(size)].push(number as u32),
                Kind::Large => {
                    self.bytes -= page.vacate();
                    self.vacant.push(number as u32);
                }
                Kind::Vacant => {}
            }
        }
    }

    /// Pages there are, the vacant ones too.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// The entries of a page.
    pub fn entries_of(&self, page: usize) -> impl Iterator<Item = Entry<'_>> {
        let page = &self.pages[page];
        let (len, used) = match page.kind {
            Kind::Vacant => (1, 0),
            Kind::Large => (page.bytes.len(), 1),
            Kind::Small(size) => (bytes_of_size(usize::from(size)), usize::from(page.used)),
        };
        let cells = page.bytes.chunks(len).take(used);
        cells.filter_map(Entry::read)
    }

    /// A page with room for this size, and the cell in it.
    fn take(&mut self, size: usize) -> (usize, u16) {
        while let Some(&number) = self.open[size].last() {
            let page = &mut self.pages[number as usize];
            if page.kind == Kind::Small(size as u8) {
                let before = page.bytes.len();
                if let Some(cell) = page.take(size) {
                    self.bytes += page.bytes.len() - before;
                    return (number as usize, cell);
                }
            }
            self.open[size].pop();
        }
        // Small stores have small pages.
        let share = (self.bytes / 8).next_power_of_two();
        let first = share.clamp(FIRST_PAGE_BYTES, PAGE_BYTES);
        let number = self.new_page(Kind::Small(size as u8), vec![0; first]);
        self.open[size].push(number as u32);
        self.take(size)
    }

    fn insert_large(&mut self, entry: &Entry<'_>, len: usize) -> Cell {
        let mut bytes = vec![0; len];
        entry.write(&mut bytes);
        let number = self.new_page(Kind::Large, bytes);
        self.pages[number].live = 1;
        Cell::new(number, 0)
    }

    fn new_page(&mut self, kind: Kind, bytes: Vec<u8>) -> usize {
        self.bytes += bytes.len();
        let page = Page {
            bytes,
            kind,
            live: 0,
            used: 0,
            free: NONE,
        };
        match self.vacant.pop() {
            Some(number) => {
                self.pages[number as usize] = page;
                number as usize
            }
            None => {
                self.pages.push(page);
                self.pages.len() - 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_has_the_smallest_size_that_holds_it() {
        for len in 1..=SMALL_BYTES {
            let size = size_of_len(len);
            assert!(bytes_of_size(size) >= len, "{len}");
            assert_eq!(bytes_of_size(size) % UNIT, 0, "{len}");
            assert!(size == 0 || bytes_of_size(size - 1) < len, "{len}");
        }
        assert_eq!(bytes_of_size(SIZES - 1), SMALL_BYTES);
    }

    #[test]
    fn pages_that_become_empty_are_given_back() {
        let mut arena = Arena::default();
        let value = vec![7; 100];
        for round in 0..3 {
            let mut cells = Vec::new();
            for n in 0..10_000u32 {
                cells.push(arena.insert(&Entry::new(&n.to_be_bytes(), &value)));
            }
            cells.push(arena.insert(&Entry::new(b"large", &vec![1; 1 << 20])));
            let full = arena.bytes();
            assert!(full > 2 << 20, "{round}");
            let listed: usize = (0..arena.pages())
                .map(|page| arena.entries_of(page).count())
                .sum();
            assert_eq!(listed, 10_001, "{round}");
            for (n, cell) in cells.iter().enumerate().take(10_000) {
                assert_eq!(arena.get(*cell).key, (n as u32).to_be_bytes());
            }
            for cell in cells {
                arena.remove(cell);
            }
            let pages = arena.pages.capacity() * size_of::<Page>();
            assert_eq!(arena.bytes(), pages, "{round}");
        }
        assert!(arena.pages() < 40, "{} pages", arena.pages());
    }

    #[test]
    fn an_entry_is_overwritten_where_it_fits() {
        let mut arena = Arena::default();
        for (before, fits, not) in [(5, 6, 500), (10_000, 10_000, 10_001)] {
            let cell = arena.insert(&Entry::new(b"key", &vec![0; before]));
            assert!(arena.overwrite(cell, &Entry::new(b"key", &vec![1; fits])));
            assert!(!arena.overwrite(cell, &Entry::new(b"key", &vec![2; not])));
            assert_eq!(arena.get(cell).value, vec![1; fits]);
        }
    }
}
