//! Walks the headers of a segment's batches, jumping over what lies between.

use std::io;

use millstream_records::{BatchHeader, HEADER_LEN};

use super::Segment;

/// Read at once: small batches come several in one read, large ones are jumped over.
const WINDOW: usize = 8 << 10;

/// A batch where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScannedBatch {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

/// Why a scan stopped before the segment's end.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    /// No sound batch begins at `position`.
    Corrupt {
        position: u64,
        reason: String,
    },
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Walks the batches from a position, which must be the start of one, to the segment's end.
pub(crate) struct BatchScan<'a> {
    segment: &'a Segment,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> BatchScan<'a> {
    pub(crate) fn headers(segment: &'a Segment, position: u64) -> Self {
        Self {
            segment,
            position,
            end: segment.size(),
            buffer: Vec::new(),
            buffer_at: position,
        }
    }

    /// The next batch, or none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<ScannedBatch>, ScanError> {
        let position = self.position;
        let remaining = self.end.saturating_sub(position);
        if remaining == 0 {
            return Ok(None);
        }
        let corrupt = |reason: String| ScanError::Corrupt { position, reason };
        if remaining < HEADER_LEN as u64 {
            return Err(corrupt(format!(
                "only {remaining} bytes are left, a header has {HEADER_LEN}"
            )));
        }
        let header = BatchHeader::parse(self.bytes(position, HEADER_LEN)?)
            .map_err(|error| corrupt(error.to_string()))?;
        let size = header.size_in_bytes();
        if size as u64 > remaining {
            return Err(corrupt(format!(
                "the batch has {size} bytes, only {remaining} are left"
            )));
        }
        self.position += size as u64;
        Ok(Some(ScannedBatch { position, header }))
    }

    /// `len` bytes at `position`, all below the end.
    fn bytes(&mut self, position: u64, len: usize) -> Result<&[u8], ScanError> {
        let start = position
            .checked_sub(self.buffer_at)
            .and_then(|start| usize::try_from(start).ok())
            .filter(|start| start + len <= self.buffer.len());
        let start = match start {
            Some(start) => start,
            None => {
                let available = usize::try_from(self.end - position).unwrap_or(usize::MAX);
                let wanted = WINDOW.max(len).min(available);
                self.buffer.clear();
                self.buffer.resize(wanted, 0);
                self.segment.read_at(&mut self.buffer, position)?;
                self.buffer_at = position;
                0
            }
        };
        Ok(&self.buffer[start..start + len])
    }
}
