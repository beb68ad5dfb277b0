//! One entry as it lies in a cell of the arena.
//!
//! ```text
//! flags      1 byte   0: the cell is free; LIVE, and HAS_EXPIRY when an expiry follows
//! schema     varint
//! key        varint, its length
//! value      varint, its length
//! [expiry]   8 bytes, milliseconds
//! key, value
//! ```

/// The cell holds an entry.
const LIVE: u8 = 1;
/// The entry has an expiry.
const HAS_EXPIRY: u8 = 2;

/// What a store keeps under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'t> {
    pub key: &'t [u8],
    pub value: &'t [u8],
    /// Which schema of the store the value was written with.
    pub schema: u32,
    /// From this stream time on, in milliseconds, the entry reads as absent.
    pub expires: Option<i64>,
}

impl<'t> Entry<'t> {
    /// An entry of schema 1 that does not expire.
    pub fn new(key: &'t [u8], value: &'t [u8]) -> Self {
        Self {
            key,
            value,
            schema: 1,
            expires: None,
        }
    }

    /// Whether the entry reads as absent at this stream time.
    pub fn is_expired(&self, stream_time: i64) -> bool {
        self.expires.is_some_and(|at| stream_time >= at)
    }

    /// Bytes of the cell that holds it.
    pub(super) fn cell_len(&self) -> usize {
        let lengths = varint_len(self.schema as usize)
            + varint_len(self.key.len())
            + varint_len(self.value.len());
        let expiry = if self.expires.is_some() { 8 } else { 0 };
        1 + lengths + expiry + self.key.len() + self.value.len()
    }

    /// Writes it over the beginning of `cell`, which has at least [`Self::cell_len`] bytes.
    pub(super) fn write(&self, cell: &mut [u8]) {
        cell[0] = match self.expires {
            None => LIVE,
            Some(_) => LIVE | HAS_EXPIRY,
        };
        let mut at = 1;
        for number in [self.schema as usize, self.key.len(), self.value.len()] {
            at = write_varint(cell, at, number);
        }
        let expiry = self.expires.map(i64::to_le_bytes);
        let expiry = expiry.as_ref().map_or(&[][..], |bytes| &bytes[..]);
        for part in [expiry, self.key, self.value] {
            cell[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
    }

    /// The entry in `cell`; `None` when the cell is free.
    pub(super) fn read(cell: &'t [u8]) -> Option<Self> {
        let flags = cell[0];
        if flags & LIVE == 0 {
            return None;
        }
        let mut at = 1;
        let mut number = || {
            let (number, next) = read_varint(cell, at);
            at = next;
            number
        };
        let (schema, key_len, value_len) = (number(), number(), number());
        let expires = (flags & HAS_EXPIRY != 0).then(|| {
            let bytes = cell[at..at + 8].try_into().expect("eight bytes");
            at += 8;
            i64::from_le_bytes(bytes)
        });
        let (key, rest) = cell[at..].split_at(key_len);
        Some(Self {
            key,
            value: &rest[..value_len],
            schema: schema as u32,
            expires,
        })
    }
}

/// Frees a cell; the rest of it is the arena's.
pub(super) fn free(cell: &mut [u8]) {
    cell[0] = 0;
}

fn varint_len(number: usize) -> usize {
    let bits = usize::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn write_varint(cell: &mut [u8], mut at: usize, mut number: usize) -> usize {
    while number >= 0x80 {
        cell[at] = number as u8 | 0x80;
        number >>= 7;
        at += 1;
    }
    cell[at] = number as u8;
    at + 1
}

fn read_varint(cell: &[u8], mut at: usize) -> (usize, usize) {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = cell[at];
        at += 1;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (number, at);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_was_written(
            key in proptest::collection::vec(any::<u8>(), 0..300),
            value in proptest::collection::vec(any::<u8>(), 0..20_000),
            schema: u32,
            expires: Option<i64>,
        ) {
            let entry = Entry { key: &key, value: &value, schema, expires };
            let mut cell = vec![0; entry.cell_len()];
            entry.write(&mut cell);
            prop_assert_eq!(Entry::read(&cell), Some(entry));
            free(&mut cell);
            prop_assert_eq!(Entry::read(&cell), None);
        }
    }

    #[test]
    fn an_entry_is_absent_from_its_expiry_on() {
        let entry = Entry {
            expires: Some(10),
            ..Entry::new(b"k", b"v")
        };
        assert!(!entry.is_expired(9) && entry.is_expired(10));
        assert!(!Entry::new(b"k", b"v").is_expired(i64::MAX));
    }
}
