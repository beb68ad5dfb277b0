//! Checked reads off the front of a frame. Nothing here allocates.

use bytes::{Buf, Bytes};

use super::DecodeError;

/// Takes `length` bytes, as a slice of the frame.
pub(crate) fn take(
    input: &mut Bytes,
    length: usize,
    field: &'static str,
) -> Result<Bytes, DecodeError> {
    need(input, length, field)?;
    Ok(input.split_to(length))
}

/// Checks that `needed` bytes are there.
#[inline]
pub(crate) fn need(input: &Bytes, needed: usize, field: &'static str) -> Result<(), DecodeError> {
    match input.len() >= needed {
        true => Ok(()),
        false => Err(DecodeError::Truncated {
            field,
            needed,
            remaining: input.len(),
        }),
    }
}

pub(crate) fn read_i16(input: &mut Bytes, field: &'static str) -> Result<i16, DecodeError> {
    need(input, 2, field)?;
    Ok(input.get_i16())
}

pub(crate) fn read_i32(input: &mut Bytes, field: &'static str) -> Result<i32, DecodeError> {
    need(input, 4, field)?;
    Ok(input.get_i32())
}

/// Reads 7-bit groups, lowest first; at most five, and no more than 32 bits.
#[inline]
pub(crate) fn read_unsigned_varint(
    input: &mut Bytes,
    field: &'static str,
) -> Result<u32, DecodeError> {
    let mut value = 0u32;
    for shift in [0, 7, 14, 21, 28] {
        need(input, 1, field)?;
        let byte = input.get_u8();
        if shift == 28 && byte > 0x0f {
            break;
        }
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError::InvalidVarint { field })
}
