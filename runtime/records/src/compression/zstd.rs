//! zstd frames (RFC 8878).
//!
//! A streaming decoder allocates the window that a frame declares (up to 128 MiB for a few bytes). So the blocks' headers
//! are walked first: they bound what the frames can yield, and one pass then decompresses into a buffer of that size,
//! which needs no window beside it.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

use super::Compression;
use crate::DecompressError;

const MAGIC: u32 = 0xfd2f_b528;
/// Frames that decoders skip have magics 0x184d2a50 to 0x184d2a5f.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
/// No block yields more.
const BLOCK_LEN_MAX: usize = 128 * 1024;

/// How much more than the compressed bytes is tried first; text and JSON yield less.
const USUAL_EXPANSION: usize = 32;
/// The library's name for an output buffer that does not suffice.
const TOO_SMALL: &str = "Destination buffer is too small";

thread_local! {
    // A context is some hundred KiB and costs more to set up than a small batch to code, so each thread keeps one.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

pub(super) fn compress(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL)?),
        };
        out.extend_from_slice(&compressor.compress(bytes)?);
        Ok(())
    })
}

pub(super) fn decompress(bytes: &[u8], max: usize) -> Result<Vec<u8>, DecompressError> {
    let bound =
        content_bound(bytes).ok_or_else(|| corrupt("the frame is cut off or not a frame"))?;
    let allowed = bound.min(max);
    let mut capacity = allowed.min(bytes.len() * USUAL_EXPANSION + BLOCK_LEN_MAX);
    loop {
        let mut out = Vec::with_capacity(capacity);
        let Err(error) = decompress_to(bytes, &mut out) else {
            // A vector may have more room than was asked for.
            return if out.len() <= max {
                Ok(out)
            } else {
                Err(too_large(max))
            };
        };
        if error.to_string() != TOO_SMALL {
            return Err(corrupt(error));
        }
        if capacity == allowed {
            return Err(if bound > max {
                too_large(max)
            } else {
                corrupt(error)
            });
        }
        // What did not fit was there: the next size is a small multiple of what the bytes have already yielded.
        capacity = allowed.min(capacity.saturating_mul(8));
    }
}

fn decompress_to(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(bytes, out)
    })
}

/// What these frames can yield at the most; none when their structure is broken.
fn content_bound(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let mut bound = 0_usize;
    // An empty input is not a frame.
    loop {
        let magic = little_endian(take(&mut rest, 4)?);
        if magic & !0xf == u64::from(SKIPPABLE_MAGIC) {
            let len = little_endian(take(&mut rest, 4)?);
            take(&mut rest, usize::try_from(len).ok()?)?;
        } else if magic == u64::from(MAGIC) {
            bound = bound.checked_add(frame_bound(&mut rest)?)?;
        } else {
            return None;
        }
        if rest.is_empty() {
            return Some(bound);
        }
    }
}

fn frame_bound(rest: &mut &[u8]) -> Option<usize> {
    let descriptor = *take(rest, 1)?.first()?;
    let single_segment = descriptor & 0x20 != 0;
    let window_len = usize::from(!single_segment);
    let dictionary_len = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size_len = match descriptor >> 6 {
        0 => usize::from(single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    take(rest, window_len + dictionary_len)?;
    let declared = little_endian(take(rest, content_size_len)?);
    let declared = match content_size_len {
        0 => u64::MAX,
        2 => declared + 256,
        _ => declared,
    };
    let mut blocks_bound = 0_usize;
    loop {
        let header = little_endian(take(rest, 3)?);
        let size = usize::try_from(header >> 3).ok()?;
        let (stored, yields) = match (header >> 1) & 3 {
            0 => (size, size),
            1 => (1, size),
            2 => (size, BLOCK_LEN_MAX),
            _ => return None,
        };
        if size > BLOCK_LEN_MAX {
            return None;
        }
        take(rest, stored)?;
        blocks_bound = blocks_bound.checked_add(yields)?;
        if header & 1 == 1 {
            break;
        }
    }
    if descriptor & 0x04 != 0 {
        take(rest, 4)?;
    }
    Some(usize::try_from(declared).map_or(blocks_bound, |declared| declared.min(blocks_bound)))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(taken)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

fn too_large(limit: usize) -> DecompressError {
    DecompressError::TooLarge {
        codec: Compression::Zstd,
        limit,
    }
}

fn corrupt(reason: impl ToString) -> DecompressError {
    DecompressError::corrupt(Compression::Zstd, reason)
}
