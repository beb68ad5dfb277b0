//! lz4 frames. We write what Kafka's Java client writes (independent blocks of 64 KiB, no checksums) and read what any
//! client may: linked blocks, larger blocks, checksums, several frames in a row.
//!
//! ```text
//! 04 22 4d 18 | flags | block size id | [content size u64] | header checksum
//! per block: u32 length, top bit = stored | data | [block checksum u32] ... 00000000 | [content checksum u32]
//! ```
//! (all little-endian; `lz4_Frame_format.md`). The frame is walked here and only blocks are left to the library, because
//! a frame decoder allocates what the header declares before it has seen a block.

use std::io::{self, Write};

use lz4_flex::block::decompress_into_with_dict;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::Compression;
use crate::DecompressError;

const MAGIC: u32 = 0x184d_2204;
/// Frames that decoders skip have magics 0x184d2a50 to 0x184d2a5f.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
const STORED_BIT: u32 = 0x8000_0000;
/// How far back a linked block may refer.
const WINDOW_LEN: usize = 64 * 1024;
/// The most that a compressed byte can yield: a length byte of 255.
const EXPANSION_MAX: usize = 255;
/// What a sequence's token adds to that.
const EXPANSION_BASE: usize = 32;

pub(super) fn compress(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(bytes)?;
    encoder.finish()?;
    Ok(())
}

pub(super) fn decompress(bytes: &[u8], max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut input = Input { rest: bytes };
    let mut out = Vec::new();
    // An empty input is not a frame.
    loop {
        let magic = input.u32()?;
        if magic & !0xf == SKIPPABLE_MAGIC {
            let len = input.u32()? as usize;
            input.take(len)?;
        } else if magic == MAGIC {
            let frame = Frame::parse(&mut input)?;
            frame.blocks(&mut input, &mut out, max)?;
        } else {
            return Err(corrupt(format_args!("frame magic {magic:#010x}")));
        }
        if input.rest.is_empty() {
            return Ok(out);
        }
    }
}

struct Frame {
    linked: bool,
    block_checksums: bool,
    content_size: Option<u64>,
    content_checksum: bool,
    block_len_max: usize,
}

impl Frame {
    fn parse(input: &mut Input<'_>) -> Result<Self, DecompressError> {
        let start = input.rest;
        let flags = input.u8()?;
        let descriptor = input.u8()?;
        if flags >> 6 != 1 {
            return Err(corrupt(format_args!("frame version {}", flags >> 6)));
        }
        if flags & 0x02 != 0 || descriptor & 0x8f != 0 {
            return Err(corrupt("reserved bits of the frame header are set"));
        }
        if flags & 0x01 != 0 {
            return Err(corrupt("the frame needs a dictionary"));
        }
        let block_len_max = match descriptor >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            other => return Err(corrupt(format_args!("block size id {other}"))),
        };
        let content_size = match flags & 0x08 != 0 {
            true => Some(input.u64()?),
            false => None,
        };
        let header = &start[..start.len() - input.rest.len()];
        let checksum = (XxHash32::oneshot(0, header) >> 8) as u8;
        if input.u8()? != checksum {
            return Err(corrupt("the frame header's checksum does not match"));
        }
        Ok(Self {
            linked: flags & 0x20 == 0,
            block_checksums: flags & 0x10 != 0,
            content_size,
            content_checksum: flags & 0x04 != 0,
            block_len_max,
        })
    }

    fn blocks(
        &self,
        input: &mut Input<'_>,
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), DecompressError> {
        let frame_start = out.len();
        loop {
            let field = input.u32()?;
            if field == 0 {
                break;
            }
            let len = (field & !STORED_BIT) as usize;
            if len > self.block_len_max {
                return Err(corrupt("a block is larger than its frame allows"));
            }
            let block = input.take(len)?;
            if self.block_checksums && input.u32()? != XxHash32::oneshot(0, block) {
                return Err(corrupt("a block's checksum does not match"));
            }
            let room = max - out.len();
            if field & STORED_BIT != 0 {
                if len > room {
                    return Err(too_large(max));
                }
                out.extend_from_slice(block);
            } else {
                self.decompress_block(block, out, frame_start, max)?;
            }
        }
        let content = &out[frame_start..];
        if self
            .content_size
            .is_some_and(|size| size != content.len() as u64)
        {
            return Err(corrupt("the content is not as long as the frame says"));
        }
        if self.content_checksum && input.u32()? != XxHash32::oneshot(0, content) {
            return Err(corrupt("the content's checksum does not match"));
        }
        Ok(())
    }

    fn decompress_block(
        &self,
        block: &[u8],
        out: &mut Vec<u8>,
        frame_start: usize,
        max: usize,
    ) -> Result<(), DecompressError> {
        let start = out.len();
        let room = max - start;
        let yield_max = block.len() * EXPANSION_MAX + EXPANSION_BASE;
        let allowed = self.block_len_max.min(yield_max);
        out.resize(start + allowed.min(room), 0);
        let (before, target) = out.split_at_mut(start);
        let window_start = match self.linked {
            true => frame_start.max(start.saturating_sub(WINDOW_LEN)),
            false => start,
        };
        let window = &before[window_start..];
        let len = decompress_into_with_dict(block, target, window).map_err(|error| {
            use lz4_flex::block::DecompressError::OutputTooSmall;
            match error {
                OutputTooSmall { .. } if room < allowed => too_large(max),
                other => corrupt(other),
            }
        })?;
        out.truncate(start + len);
        Ok(())
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecompressError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| corrupt("the frame is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecompressError> {
        let taken = self.take(N)?;
        Ok(std::array::from_fn(|index| taken[index]))
    }

    fn u8(&mut self) -> Result<u8, DecompressError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecompressError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecompressError> {
        self.array().map(u64::from_le_bytes)
    }
}

fn too_large(limit: usize) -> DecompressError {
    DecompressError::TooLarge {
        codec: Compression::Lz4,
        limit,
    }
}

fn corrupt(reason: impl ToString) -> DecompressError {
    DecompressError::corrupt(Compression::Lz4, reason)
}
