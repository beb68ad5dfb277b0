//! The batches of a segment, read in big blocks one behind the other and checked.

use std::io;

use millstream_records::{BatchHeader, BatchView, HEADER_LEN};

use crate::log::Placing;
use crate::segment::Segment;

/// Why a segment cannot be read to its end.
#[derive(Debug)]
pub(super) enum BlockError {
    Io(io::Error),
    /// No sound batch begins at `position`.
    Damaged {
        position: u64,
        reason: String,
    },
}

/// A buffer that is used for one segment after the other.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
}

/// Walks all batches of a segment that is written no more.
pub(super) struct Blocks<'a> {
    segment: &'a Segment,
    placing: Placing,
    buffer: &'a mut Buffer,
    block_bytes: usize,
    /// Where in the segment the buffer begins, and how much of it is filled.
    buffer_at: u64,
    filled: usize,
    /// The next batch, within the buffer.
    next: usize,
    end: u64,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(
        segment: &'a Segment,
        placing: Placing,
        buffer: &'a mut Buffer,
        block_bytes: usize,
    ) -> Self {
        Self {
            segment,
            placing,
            buffer,
            block_bytes: block_bytes.max(HEADER_LEN),
            buffer_at: 0,
            filled: 0,
            next: 0,
            end: segment.size(),
        }
    }

    /// The next batch and where it begins; none at the end. Its CRC is right, and it belongs there.
    pub(super) fn next(&mut self) -> Result<Option<(u64, BatchView<'_>)>, BlockError> {
        let position = self.buffer_at + self.next as u64;
        let remaining = self.end - position;
        if remaining == 0 {
            return Ok(None);
        }
        let damaged = |reason: String| BlockError::Damaged { position, reason };
        if remaining < HEADER_LEN as u64 {
            return Err(damaged(format!(
                "only {remaining} bytes are left, a header has {HEADER_LEN}"
            )));
        }
        self.need(HEADER_LEN)?;
        let header = BatchHeader::parse(&self.buffer.bytes[self.next..self.filled])
            .map_err(|error| damaged(error.to_string()))?;
        let size = header.size_in_bytes();
        if size as u64 > remaining {
            return Err(damaged(format!(
                "the batch has {size} bytes, only {remaining} are left"
            )));
        }
        self.need(size)?;
        let start = self.next;
        self.next += size;
        let batch = BatchView::parse(&self.buffer.bytes[start..start + size])
            .and_then(|batch| batch.verify_crc().map(|()| batch))
            .map_err(|error| damaged(error.to_string()))?;
        self.placing.check(position, &header).map_err(damaged)?;
        Ok(Some((position, batch)))
    }

    /// Sees to it that so many bytes from the next batch on are in the buffer; they are in the file.
    fn need(&mut self, len: usize) -> Result<(), BlockError> {
        if self.filled - self.next >= len {
            return Ok(());
        }
        let bytes = &mut self.buffer.bytes;
        bytes.copy_within(self.next..self.filled, 0);
        self.buffer_at += self.next as u64;
        self.filled -= self.next;
        self.next = 0;
        let left = usize::try_from(self.end - self.buffer_at).unwrap_or(usize::MAX);
        let wanted = self.block_bytes.max(len).min(left);
        if bytes.len() < wanted {
            bytes.resize(wanted, 0);
        }
        let position = self.buffer_at + self.filled as u64;
        let read = self
            .segment
            .read_at(&mut bytes[self.filled..wanted], position);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BlockError::Damaged {
                position,
                reason: "the file ends too early".to_owned(),
            },
            _ => BlockError::Io(error),
        })?;
        self.filled = wanted;
        Ok(())
    }
}
