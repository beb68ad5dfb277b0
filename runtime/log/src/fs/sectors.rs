//! Bytes that can be read and written past the page cache.

/// The unit that a disk writes whole or not at all, and of which every read and write with [`OpenMode::Direct`] is a multiple.
///
/// [`OpenMode::Direct`]: super::OpenMode::Direct
pub const SECTOR: usize = 512;

/// Where the first byte stands in memory. A sector would do for most disks; a page does for all.
const ALIGNMENT: usize = 4096;

/// A growing buffer whose first byte is aligned in memory, so that [`whole_sectors`](Self::whole_sectors)
/// can go to a file that is open with [`OpenMode::Direct`](super::OpenMode::Direct).
#[derive(Debug, Default)]
pub struct SectorBuffer {
    /// Bytes before `start` only shift the rest into place; those behind `len` are left over from padding.
    room: Vec<u8>,
    start: usize,
    len: usize,
}

impl SectorBuffer {
    /// Holds a copy of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut buffer = Self::default();
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// Bytes, without padding.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let end = self.start + self.len;
        &mut self.room[self.start..end]
    }

    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.room.truncate(self.start + self.len);
        self.room.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The bytes, and zeros up to the end of the last sector.
    pub fn whole_sectors(&mut self) -> &[u8] {
        let padded = self.len.next_multiple_of(SECTOR);
        self.make_room(padded - self.len);
        let end = self.start + self.len;
        self.room.truncate(end);
        self.room.resize(self.start + padded, 0);
        &self.room[self.start..]
    }

    /// Makes it `len` bytes long, whatever they are, and gives them with the rest of the last sector, to
    /// be read into.
    pub fn sectors_to_fill(&mut self, len: usize) -> &mut [u8] {
        self.len = 0;
        let padded = len.next_multiple_of(SECTOR);
        self.make_room(padded);
        self.len = len;
        let end = self.start + padded;
        if self.room.len() < end {
            self.room.resize(end, 0);
        }
        &mut self.room[self.start..end]
    }

    /// Bytes that there is memory for.
    pub fn capacity(&self) -> usize {
        self.room.capacity() - self.start
    }

    /// Forgets the bytes and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Gives back what memory there is beyond `capacity` bytes, or beyond what it holds.
    pub fn shrink_to(&mut self, capacity: usize) {
        self.room.truncate(self.start + self.len);
        self.room.shrink_to(capacity.saturating_add(ALIGNMENT));
        self.align();
    }

    /// Room for that many more bytes, with the first one aligned.
    fn make_room(&mut self, more: usize) {
        let end = self.start + self.len;
        if self.room.capacity() - end >= more {
            return;
        }
        self.room.truncate(end);
        self.room.reserve(more + ALIGNMENT);
        self.align();
    }

    /// Moves the bytes to where the first one is aligned, after the memory has moved.
    fn align(&mut self) {
        let old = self.start..self.start + self.len;
        self.start = match self.room.capacity() {
            // Without memory there is nothing to align.
            0 => 0,
            _ => self.room.as_ptr().align_offset(ALIGNMENT),
        };
        let end = self.start + self.len;
        self.room.resize(end.max(old.end), 0);
        self.room.copy_within(old, self.start);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_aligned(buffer: &mut SectorBuffer) -> bool {
        buffer.whole_sectors().as_ptr().align_offset(ALIGNMENT) == 0
    }

    proptest! {
        #[test]
        fn holds_what_was_put_in_at_a_boundary(
            steps in prop::collection::vec((0..8_u8, 0..20_000_usize), 1..40),
        ) {
            let mut buffer = SectorBuffer::default();
            let mut expected: Vec<u8> = Vec::new();
            for (number, (kind, bytes)) in steps.into_iter().enumerate() {
                match kind {
                    0 => {
                        buffer.clear();
                        expected.clear();
                    }
                    1 => buffer.shrink_to(bytes),
                    2 => {
                        let sectors = buffer.sectors_to_fill(bytes);
                        prop_assert_eq!(sectors.len(), bytes.next_multiple_of(SECTOR));
                        sectors.fill(number as u8);
                        expected = vec![number as u8; bytes];
                    }
                    3 => {
                        let padded = buffer.whole_sectors();
                        prop_assert_eq!(padded.len(), expected.len().next_multiple_of(SECTOR));
                        prop_assert!(padded[expected.len()..].iter().all(|byte| *byte == 0));
                    }
                    _ => {
                        let piece = vec![number as u8 + 1; bytes];
                        buffer.extend_from_slice(&piece);
                        expected.extend_from_slice(&piece);
                    }
                }
                prop_assert_eq!(buffer.len(), expected.len());
                prop_assert_eq!(&*buffer.as_mut_slice(), &expected[..]);
                prop_assert!(buffer.is_empty() || is_aligned(&mut buffer));
            }
        }
    }

    #[test]
    fn memory_is_given_back() {
        let mut buffer = SectorBuffer::of(&vec![1; 1 << 20]);
        buffer.clear();
        assert!(buffer.capacity() >= 1 << 20);
        buffer.extend_from_slice(&[2; 100]);
        buffer.shrink_to(0);
        assert!(buffer.capacity() < 10_000);
        assert_eq!(buffer.as_mut_slice(), [2; 100]);
    }
}
