//! The way out: whole batches as they are stored, checked, up to where the reader may see.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use millstream_records::{BatchHeader, BatchView, HEADER_LEN};

use super::{Life, Log, LogOffsets, ReadError};
use crate::index::AbortedTxn;
use crate::segment::{BatchScan, ScanError, Segment};

/// Up to where a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Below the high watermark.
    Uncommitted,
    /// Below the last stable offset, with the aborted transactions to leave out.
    Committed,
    /// As `Committed`, counted to the log end instead of the high watermark. For stage tasks of this node only: their
    /// output stands behind this input in the same journal and cannot outlive it.
    CommittedUnflushed,
    /// Up to the log end; for replication and recovery of this node's own state.
    LogEnd,
}

impl Isolation {
    pub(super) fn bound(self, offsets: &LogOffsets) -> i64 {
        match self {
            Self::Uncommitted => offsets.high_watermark,
            Self::Committed => offsets.last_stable,
            Self::CommittedUnflushed => offsets.appended_last_stable,
            Self::LogEnd => offsets.log_end,
        }
    }

    fn leaves_out_aborted(self) -> bool {
        matches!(self, Self::Committed | Self::CommittedUnflushed)
    }
}

/// What a read found.
#[derive(Debug, Clone)]
pub struct ReadResult {
    /// Whole batches, from the one that holds the asked offset on (it may begin before it); empty at the bound.
    pub bytes: Bytes,
    /// The log's offsets when the read began.
    pub offsets: LogOffsets,
    /// Aborted transactions that touch these batches; only for the isolations that leave them out.
    pub aborted: Vec<AbortedTxn>,
}

/// Batches of one segment.
struct Found {
    bytes: Bytes,
    next_offset: i64,
}

impl Log {
    /// Reads at most `max_bytes` of whole batches from `offset` on; with `min_one` the first batch comes even when it
    /// alone is larger. Every batch's CRC is checked.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        isolation: Isolation,
        min_one: bool,
    ) -> Result<ReadResult, ReadError> {
        let _not_cut = self.cutting.read();
        let offsets = self.offsets();
        if offset < offsets.log_start || offset > offsets.log_end {
            return Err(ReadError::OffsetOutOfRange {
                offset,
                log_start: offsets.log_start,
                log_end: offsets.log_end,
            });
        }
        let bound = isolation.bound(&offsets);
        let mut result = ReadResult {
            bytes: Bytes::new(),
            offsets,
            aborted: Vec::new(),
        };
        if offset >= bound || (max_bytes == 0 && !min_one) {
            return Ok(result);
        }
        let segments = self.segments_from(offset);
        // The first of them may be gone since: what follows it is not what was asked for.
        let log_start = self.offsets().log_start;
        if offset < log_start {
            return Err(ReadError::OffsetOutOfRange {
                offset,
                log_start,
                log_end: offsets.log_end,
            });
        }
        let mut found = None;
        for segment in &segments {
            found = self.read_segment(segment, offset, bound, max_bytes, min_one)?;
            if found.is_some() {
                break;
            }
        }
        let Some(found) = found else {
            let last = segments.last().expect("a log has a segment");
            return Err(missing(last, offset, bound));
        };
        result.bytes = found.bytes;
        if isolation.leaves_out_aborted() && !result.bytes.is_empty() {
            result.aborted = self.aborted(&segments, offset, found.next_offset)?;
        }
        Ok(result)
    }

    /// The aborted transactions that touch `from..to`.
    fn aborted(
        &self,
        segments: &[Arc<Segment>],
        from: i64,
        to: i64,
    ) -> Result<Vec<AbortedTxn>, ReadError> {
        let mut found = Vec::new();
        for segment in segments {
            let is_complete = self
                .check_indexes(segment)
                .and_then(|()| segment.collect_aborted(from, to, &mut found))
                .map_err(|error| self.read_failed(segment, error))?;
            if is_complete {
                break;
            }
        }
        Ok(found)
    }

    /// Reads batches of one segment; none when there is no batch from `offset` on in it.
    fn read_segment(
        &self,
        segment: &Arc<Segment>,
        offset: i64,
        bound: i64,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Option<Found>, ReadError> {
        let Some(position) = self.locate(segment, offset)? else {
            return Ok(None);
        };
        let available = segment.size().saturating_sub(position);
        let available = usize::try_from(available).unwrap_or(usize::MAX);
        if available == 0 {
            return Ok(None);
        }
        let least = if min_one { HEADER_LEN } else { 0 };
        let mut buffer = vec![0; max_bytes.max(least).min(available)];
        self.fill(segment, &mut buffer, position)?;
        if min_one && let Ok(first) = BatchHeader::parse(&buffer) {
            let size = first.size_in_bytes();
            if size > buffer.len() {
                if size > available {
                    let reason = format!("the batch has {size} bytes, only {available} are left");
                    return Err(corrupt(segment, position, reason));
                }
                let read = buffer.len();
                buffer.resize(size, 0);
                self.fill(segment, &mut buffer[read..], position + read as u64)?;
            }
        }
        let (len, next_offset) = check_run(segment, &buffer, position, available, bound)?;
        buffer.truncate(len);
        if buffer.capacity() > 2 * len {
            buffer.shrink_to_fit();
        }
        if len > 0 {
            self.positions
                .note(next_offset, segment.id(), position + len as u64);
        }
        Ok(Some(Found {
            bytes: Bytes::from(buffer),
            next_offset: next_offset.max(offset),
        }))
    }

    /// Where the first batch whose last offset is at least `offset` begins.
    pub(super) fn locate(
        &self,
        segment: &Arc<Segment>,
        offset: i64,
    ) -> Result<Option<u64>, ReadError> {
        if let Some(position) = self.positions.find(offset, segment.id()) {
            return Ok(Some(position));
        }
        if offset <= segment.base_offset() {
            return Ok((segment.size() > 0).then_some(0));
        }
        let start = self
            .check_indexes(segment)
            .and_then(|()| segment.position_before(offset))
            .map_err(|error| self.read_failed(segment, error))?;
        match self.scan_to(segment, start, offset) {
            // The index may lie; the batches do not.
            Err(ReadError::Corrupt { .. }) if start > 0 => self.scan_to(segment, 0, offset),
            found => found,
        }
    }

    fn scan_to(
        &self,
        segment: &Segment,
        start: u64,
        offset: i64,
    ) -> Result<Option<u64>, ReadError> {
        let mut scan = BatchScan::headers(segment, start);
        while let Some(batch) = scan
            .next()
            .map_err(|error| self.scan_failed(segment, error))?
        {
            let is_behind =
                batch.position == start && start > 0 && batch.header.last_offset() > offset;
            if batch.header.base_offset < segment.base_offset() || is_behind {
                let reason = format!(
                    "the batch of offset {} does not belong there",
                    batch.header.base_offset
                );
                return Err(corrupt(segment, batch.position, reason));
            }
            if batch.header.last_offset() >= offset {
                return Ok(Some(batch.position));
            }
        }
        Ok(None)
    }

    fn fill(&self, segment: &Segment, buffer: &mut [u8], position: u64) -> Result<(), ReadError> {
        segment
            .read_at(buffer, position)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    corrupt(segment, position, "the file ends too early".to_owned())
                }
                _ => self.read_failed(segment, error),
            })
    }

    pub(super) fn scan_failed(&self, segment: &Segment, error: ScanError) -> ReadError {
        match error {
            ScanError::Io(error) => self.read_failed(segment, error),
            ScanError::Corrupt { position, reason } => corrupt(segment, position, reason),
        }
    }

    pub(super) fn read_failed(&self, segment: &Segment, source: io::Error) -> ReadError {
        if source.kind() == io::ErrorKind::NotFound && self.appender.lock().life == Life::Deleted {
            return ReadError::Deleted;
        }
        ReadError::Io {
            path: segment.path(),
            source,
        }
    }
}

/// How many bytes of `buffer` are whole, sound batches below `bound`, and the offset after them. Damage behind a
/// sound batch is left to the read that begins there.
fn check_run(
    segment: &Segment,
    buffer: &[u8],
    position: u64,
    available: usize,
    bound: i64,
) -> Result<(usize, i64), ReadError> {
    let mut len = 0;
    let mut next_offset = -1;
    while len < buffer.len() {
        match check_next(&buffer[len..], available - len, bound) {
            Ok(Some(header)) => {
                len += header.size_in_bytes();
                next_offset = header.next_offset();
            }
            Ok(None) => break,
            Err(reason) if len == 0 => return Err(corrupt(segment, position, reason)),
            Err(_) => break,
        }
    }
    Ok((len, next_offset))
}

/// The batch at the start of `bytes`; none when it is cut off by the buffer or lies at the bound.
fn check_next(bytes: &[u8], available: usize, bound: i64) -> Result<Option<BatchHeader>, String> {
    if bytes.len() < HEADER_LEN {
        return if available < HEADER_LEN {
            Err(format!(
                "only {available} bytes are left, a header has {HEADER_LEN}"
            ))
        } else {
            Ok(None)
        };
    }
    let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
    let size = header.size_in_bytes();
    if size > available {
        return Err(format!(
            "the batch has {size} bytes, only {available} are left"
        ));
    }
    if header.base_offset >= bound {
        return Ok(None);
    }
    let Some(bytes) = bytes.get(..size) else {
        return Ok(None);
    };
    BatchView::parse(bytes)
        .and_then(|batch| batch.verify_crc())
        .map_err(|error| error.to_string())?;
    Ok(Some(header))
}

fn corrupt(segment: &Segment, position: u64, reason: String) -> ReadError {
    ReadError::Corrupt {
        path: segment.path(),
        position,
        reason,
    }
}

fn missing(segment: &Segment, from: i64, to: i64) -> ReadError {
    let reason = format!("the batches of offsets {from} to {} are missing", to - 1);
    corrupt(segment, segment.size(), reason)
}
