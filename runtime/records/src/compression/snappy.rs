//! Snappy in the two framings that Kafka's clients write: xerial (Java, and ours) and one raw block (librdkafka).
//!
//! ```text
//! xerial: 82 "SNAPPY" 00 | i32 version 1 | i32 compatible 1 | per block: i32 length, raw snappy block
//! ```
//! A stream may be several such streams in a row (Java appends so).

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::Compression;
use crate::DecompressError;

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_LEN: usize = 16;
/// Uncompressed bytes a block, as Java's snappy writes them.
const XERIAL_BLOCK_LEN: usize = 32 * 1024;
/// No snappy element yields more than 64 bytes, and the densest such element takes 3.
const EXPANSION_MAX: usize = 22;

pub(super) fn compress(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), snap::Error> {
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    let mut encoder = Encoder::new();
    let mut block = vec![0; max_compress_len(bytes.len().min(XERIAL_BLOCK_LEN))];
    for chunk in bytes.chunks(XERIAL_BLOCK_LEN) {
        let len = encoder.compress(chunk, &mut block)?;
        // A block is at most 38 KiB.
        out.extend_from_slice(&(len as i32).to_be_bytes());
        out.extend_from_slice(&block[..len]);
    }
    Ok(())
}

pub(super) fn decompress(bytes: &[u8], max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    if !bytes.starts_with(&XERIAL_MAGIC) {
        decompress_block(bytes, &mut out, max)?;
        return Ok(out);
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest
                .get(XERIAL_HEADER_LEN..)
                .ok_or_else(|| corrupt("the xerial header is cut off"))?;
            continue;
        }
        let (length, behind) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| corrupt("a xerial block length is cut off"))?;
        let block = usize::try_from(i32::from_be_bytes(*length))
            .ok()
            .and_then(|len| behind.get(..len))
            .ok_or_else(|| corrupt("a xerial block is longer than what is there"))?;
        decompress_block(block, &mut out, max)?;
        rest = &behind[block.len()..];
    }
    Ok(out)
}

fn decompress_block(block: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), DecompressError> {
    let declared = decompress_len(block).map_err(corrupt)?;
    if declared > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(corrupt(
            "the declared size is more than the block can yield",
        ));
    }
    let start = out.len();
    if declared > max - start {
        return Err(DecompressError::TooLarge {
            codec: Compression::Snappy,
            limit: max,
        });
    }
    out.resize(start + declared, 0);
    Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(corrupt)?;
    Ok(())
}

fn corrupt(reason: impl ToString) -> DecompressError {
    DecompressError::corrupt(Compression::Snappy, reason)
}
