//! The fields that blocks are made of. Reading never believes a length that is longer than what is there.

use thiserror::Error;

/// The bytes end in the middle of a field, or a field has a value that nothing writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a field of it cannot be read")]
pub struct Unreadable;

pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// What is left of a body.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'b>(pub &'b [u8]);

impl<'b> Reader<'b> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn bytes(&mut self, len: usize) -> Result<&'b [u8], Unreadable> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        Ok(self.bytes(N)?.try_into().expect("as many as asked for"))
    }

    pub fn i64(&mut self) -> Result<i64, Unreadable> {
        self.array().map(i64::from_le_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, Unreadable> {
        self.array().map(i32::from_le_bytes)
    }

    pub fn byte(&mut self) -> Result<u8, Unreadable> {
        Ok(self.array::<1>()?[0])
    }

    pub fn varint(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Unreadable)
    }

    /// A length of something that is in the rest.
    pub fn len(&mut self) -> Result<usize, Unreadable> {
        let len = usize::try_from(self.varint()?).map_err(|_| Unreadable)?;
        if len > self.0.len() {
            return Err(Unreadable);
        }
        Ok(len)
    }
}
