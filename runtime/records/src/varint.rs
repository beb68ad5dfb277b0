//! Kafka's variable-length numbers: zigzag, then 7 bits a byte, least first, high bit = more follow.
//!
//! An i32 takes 1 to 5 bytes and an i64 1 to 10; a longer or overflowing one is an error.

/// Why a number cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    #[error("the bytes end inside a variable-length number")]
    Truncated,
    #[error("a variable-length number has too many bits")]
    Overflow,
}

#[inline]
fn zigzag_i32(value: i32) -> u32 {
    (value.cast_unsigned() << 1) ^ (value >> 31).cast_unsigned()
}

#[inline]
fn zigzag_i64(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

/// Bytes that `write_i32` takes for `value`.
#[inline]
pub fn size_i32(value: i32) -> usize {
    let bits = 32 - (zigzag_i32(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Bytes that `write_i64` takes for `value`.
#[inline]
pub fn size_i64(value: i64) -> usize {
    let bits = 64 - (zigzag_i64(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Writes `value` at `at` and returns the position behind it. `out` must have room for 5 bytes.
#[inline]
pub fn put_i32(out: &mut [u8], at: usize, value: i32) -> usize {
    put_u64(out, at, u64::from(zigzag_i32(value)))
}

/// Writes `value` at `at` and returns the position behind it. `out` must have room for 10 bytes.
#[inline]
pub fn put_i64(out: &mut [u8], at: usize, value: i64) -> usize {
    put_u64(out, at, zigzag_i64(value))
}

#[inline]
fn put_u64(out: &mut [u8], mut at: usize, mut rest: u64) -> usize {
    while rest >= 0x80 {
        out[at] = (rest as u8) | 0x80;
        rest >>= 7;
        at += 1;
    }
    out[at] = rest as u8;
    at + 1
}

/// Appends `value` to `out`.
#[inline]
pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    let mut bytes = [0; 5];
    let len = put_i32(&mut bytes, 0, value);
    out.extend_from_slice(&bytes[..len]);
}

/// Appends `value` to `out`.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    let mut bytes = [0; 10];
    let len = put_i64(&mut bytes, 0, value);
    out.extend_from_slice(&bytes[..len]);
}

/// Reads an i32 from the front of `bytes`; returns it and the bytes it took.
#[inline]
pub fn read_i32(bytes: &[u8]) -> Result<(i32, usize), VarintError> {
    let (raw, len) = read_short(bytes).map_or_else(|| read_u64(bytes, 5), Ok)?;
    let raw = u32::try_from(raw).map_err(|_| VarintError::Overflow)?;
    Ok(((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed(), len))
}

/// Reads an i64 from the front of `bytes`; returns it and the bytes it took.
#[inline]
pub fn read_i64(bytes: &[u8]) -> Result<(i64, usize), VarintError> {
    let (raw, len) = read_short(bytes).map_or_else(|| read_u64(bytes, 10), Ok)?;
    Ok(((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed(), len))
}

/// Nearly all numbers in real records take one or two bytes, so these are read without a loop.
#[inline]
fn read_short(bytes: &[u8]) -> Option<(u64, usize)> {
    match *bytes {
        [first, ..] if first < 0x80 => Some((u64::from(first), 1)),
        [first, second, ..] if second < 0x80 => {
            Some((u64::from(first & 0x7f) | u64::from(second) << 7, 2))
        }
        _ => None,
    }
}

#[cold]
#[inline(never)]
fn read_u64(bytes: &[u8], len_max: usize) -> Result<(u64, usize), VarintError> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(len_max).enumerate() {
        // The tenth byte has room for one bit only.
        if index == 9 && byte > 1 {
            return Err(VarintError::Overflow);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok((value, index + 1));
        }
    }
    if bytes.len() < len_max {
        Err(VarintError::Truncated)
    } else {
        Err(VarintError::Overflow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values_have_kafkas_bytes() {
        let cases: [(i64, &[u8]); 8] = [
            (0, &[0x00]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ];
        for (value, bytes) in cases {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            let mut out = Vec::new();
            write_i32(&mut out, i32::try_from(value).unwrap());
            assert_eq!(out, bytes, "{value}");
        }
    }

    #[test]
    fn too_long_and_overflowing_numbers_are_errors() {
        assert_eq!(read_i32(&[]), Err(VarintError::Truncated));
        assert_eq!(read_i32(&[0x80; 4]), Err(VarintError::Truncated));
        assert_eq!(read_i32(&[0x80; 5]), Err(VarintError::Overflow));
        assert_eq!(
            read_i32(&[0xff, 0xff, 0xff, 0xff, 0x1f]),
            Err(VarintError::Overflow)
        );
        assert_eq!(read_i64(&[0x80; 9]), Err(VarintError::Truncated));
        assert_eq!(read_i64(&[0x80; 10]), Err(VarintError::Overflow));
        let mut eleven_bits = [0xff; 10];
        eleven_bits[9] = 0x02;
        assert_eq!(read_i64(&eleven_bits), Err(VarintError::Overflow));
    }

    proptest! {
        #[test]
        fn i32_round_trips(value: i32) {
            let mut out = Vec::new();
            write_i32(&mut out, value);
            prop_assert_eq!(out.len(), size_i32(value));
            prop_assert_eq!(read_i32(&out), Ok((value, out.len())));
            for len in 0..out.len() {
                prop_assert_eq!(read_i32(&out[..len]), Err(VarintError::Truncated));
            }
        }

        #[test]
        fn i64_round_trips(value: i64) {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            prop_assert_eq!(out.len(), size_i64(value));
            prop_assert_eq!(read_i64(&out), Ok((value, out.len())));
        }
    }
}
