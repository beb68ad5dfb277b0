//! The way out: whole batches as they are stored, checked, up to where the reader may see.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use millstream_records::{BatchHeader, BatchView, HEADER_LEN};

use super::damage::{Place, refused};
use super::{Life, Log, LogOffsets, ReadError};
use crate::index::AbortedTxn;
use crate::segment::{Anchor, BatchScan, Contradiction, ScanError, Segment, Surroundings};

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

/// What a read asks of a segment.
struct Wanted {
    offset: i64,
    bound: i64,
    log_end: i64,
    max_bytes: usize,
    min_one: bool,
}

/// Batches of one segment.
struct Found {
    bytes: Bytes,
    next_offset: i64,
}

impl Log {
    /// Reads at most `max_bytes` of whole batches from `offset` on; with `min_one` the first batch comes even when it
    /// alone is larger. Every batch's CRC is checked, unless the scrub has done so.
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
        let wanted = Wanted {
            offset,
            bound,
            log_end: offsets.log_end,
            max_bytes,
            min_one,
        };
        let mut found = None;
        for (index, segment) in segments.iter().enumerate() {
            let next_base = segments.get(index + 1).map(|next| next.base_offset());
            found = self.read_segment(segment, &wanted, next_base)?;
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
            if segment.is_undecided(&(from..to)) {
                let reason = "the end of a transaction is lost in damaged bytes, and so is the index that told it";
                return Err(corrupt(segment, 0, reason.to_owned()));
            }
            if is_complete {
                break;
            }
        }
        Ok(found)
    }

    /// Reads batches of one segment; none when there is no batch from `offset` on in it. `next_base` is where the
    /// next segment begins.
    fn read_segment(
        &self,
        segment: &Arc<Segment>,
        wanted: &Wanted,
        next_base: Option<i64>,
    ) -> Result<Option<Found>, ReadError> {
        let offset = wanted.offset;
        let upper = next_base.unwrap_or(wanted.log_end);
        if let Some(region) = segment.damage_at(offset) {
            return Err(refused(segment, &region));
        }
        let found = self.locate(segment, offset).and_then(|place| match place {
            Some((position, lower)) => self.read_at(segment, wanted, position, lower, upper),
            None => Ok(None),
        });
        match found {
            // Whatever led there may lie, or what stands there: the batches themselves tell.
            Err(ReadError::Corrupt { .. }) => match self.find(segment, offset)? {
                Place::Batch {
                    position,
                    lower,
                    upper,
                } => {
                    // It may be the batch behind it that lies.
                    self.note_misplaced_behind(segment, position)
                        .map_err(|error| self.read_failed(segment, error))?;
                    self.read_at(segment, wanted, position, lower, upper)
                }
                Place::Damage(region) => Err(refused(segment, &region)),
                Place::Behind => Ok(None),
            },
            // Offsets are left out up to the next segment, or the file lost its end.
            Ok(None) if next_base.is_some_and(|next| offset < next) => {
                self.check_indexes(segment)
                    .map_err(|error| self.read_failed(segment, error))?;
                match segment.damage_at(offset) {
                    Some(region) => Err(refused(segment, &region)),
                    None => Ok(None),
                }
            }
            found => found,
        }
    }

    /// Reads batches from a position, where one stands that has `lower` as its least offset.
    fn read_at(
        &self,
        segment: &Arc<Segment>,
        wanted: &Wanted,
        position: u64,
        lower: i64,
        upper: i64,
    ) -> Result<Option<Found>, ReadError> {
        let available = segment.size().saturating_sub(position);
        let available = usize::try_from(available).unwrap_or(usize::MAX);
        if available == 0 {
            return Ok(None);
        }
        let least = if wanted.min_one { HEADER_LEN } else { 0 };
        // What is known to be damaged may look sound.
        let sound_bytes = match segment.damage_behind(position) {
            Some(damaged) if damaged == position => {
                return Err(corrupt(
                    segment,
                    position,
                    "the batch is damaged".to_owned(),
                ));
            }
            Some(damaged) => usize::try_from(damaged - position).unwrap_or(usize::MAX),
            None => usize::MAX,
        };
        let wanted_bytes = wanted.max_bytes.max(least).min(available).min(sound_bytes);
        let mut buffer = vec![0; wanted_bytes];
        self.fill(segment, &mut buffer, position)?;
        if wanted.min_one
            && let Ok(first) = BatchHeader::parse(&buffer)
        {
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
        let epochs = self.epochs.entries();
        let around = Surroundings {
            lower,
            upper,
            epochs: &epochs,
        };
        let run = Run {
            buffer: &buffer,
            available,
            sound_bytes,
            bound: wanted.bound,
            checks_crc: !segment.is_scrubbed(),
        };
        let (len, next_offset) = run
            .check(around, |at, header| {
                self.fill(segment, header, position + at as u64).is_ok()
            })
            .map_err(|reason| corrupt(segment, position, reason))?;
        if len > 0 && !segment.is_scrubbed() && self.end_of_rolled(segment).is_some() {
            // With the batch before: it may be the one that was asked for.
            let range = position.saturating_sub(1)..position + len as u64;
            let is_new = self
                .note_misplaced(segment, range, position, &buffer[..len])
                .map_err(|error| self.read_failed(segment, error))?;
            if is_new {
                // The same once more, around the damage that is known now.
                return match segment.damage_at(wanted.offset) {
                    Some(region) => Err(refused(segment, &region)),
                    None => self.read_at(segment, wanted, position, lower, upper),
                };
            }
        }
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
            next_offset: next_offset.max(wanted.offset),
        }))
    }

    /// Where the first batch whose last offset is at least `offset` begins, and the least offset that it may have.
    pub(super) fn locate(
        &self,
        segment: &Arc<Segment>,
        offset: i64,
    ) -> Result<Option<(u64, i64)>, ReadError> {
        if let Some(position) = self.positions.find(offset, segment.id()) {
            return Ok(Some((position, offset)));
        }
        let base_offset = segment.base_offset();
        if offset <= base_offset {
            return Ok((segment.size() > 0).then_some((0, base_offset)));
        }
        let anchor = self
            .check_indexes(segment)
            .and_then(|()| segment.anchor_before(offset))
            .map_err(|error| self.read_failed(segment, error))?;
        self.scan_to(segment, anchor, offset)
    }

    fn scan_to(
        &self,
        segment: &Segment,
        anchor: Option<Anchor>,
        offset: i64,
    ) -> Result<Option<(u64, i64)>, ReadError> {
        let mut scan = BatchScan::headers(segment, anchor.map_or(0, |anchor| anchor.position));
        let mut lower = segment.base_offset();
        let mut anchor = anchor;
        while let Some(batch) = scan
            .next()
            .map_err(|error| self.scan_failed(segment, error))?
        {
            let header = batch.header;
            let fits = match anchor.take() {
                Some(anchor) => {
                    lower = header.base_offset;
                    anchor.last_offset == header.last_offset()
                }
                None => header.base_offset >= lower,
            };
            if !fits {
                let reason = format!(
                    "the batch of offset {} does not belong there",
                    header.base_offset
                );
                return Err(corrupt(segment, batch.position, reason));
            }
            if header.last_offset() >= offset {
                return Ok(Some((batch.position, lower)));
            }
            lower = header.next_offset();
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

/// What was read, to be checked before it is served.
struct Run<'a> {
    buffer: &'a [u8],
    /// Bytes from the buffer's start to the segment's end.
    available: usize,
    /// The same to the next damage that is known.
    sound_bytes: usize,
    bound: i64,
    checks_crc: bool,
}

impl Run<'_> {
    /// How many bytes are whole, sound batches below the bound that fit where they are, and the offset after them.
    /// Damage behind a sound batch is left to the read that begins there. `read` reads behind the buffer.
    fn check(
        &self,
        mut around: Surroundings<'_>,
        read: impl Fn(usize, &mut [u8]) -> bool,
    ) -> Result<(usize, i64), String> {
        let mut len = 0;
        let mut next_offset = -1;
        while len < self.buffer.len() {
            match self.check_next(len, &around, &read) {
                Ok(Some(header)) => {
                    len += header.size_in_bytes();
                    next_offset = header.next_offset();
                    around.lower = next_offset;
                }
                Ok(None) => break,
                Err(reason) if len == 0 => return Err(reason),
                Err(_) => break,
            }
        }
        Ok((len, next_offset))
    }

    /// The batch at a place of the buffer; none when it is cut off by the buffer or lies at the bound.
    fn check_next(
        &self,
        at: usize,
        around: &Surroundings<'_>,
        read: impl Fn(usize, &mut [u8]) -> bool,
    ) -> Result<Option<BatchHeader>, String> {
        let bytes = &self.buffer[at..];
        let available = self.available - at;
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
        // What an append is just adding lies there too, before all is known of it.
        if at > 0 && header.base_offset >= self.bound {
            return Ok(None);
        }
        around.check(&header)?;
        if header.base_offset > around.lower {
            self.check_gap(at + size, &header, around, read)?;
        }
        if header.base_offset >= self.bound {
            return Ok(None);
        }
        let Some(bytes) = bytes.get(..size) else {
            return Ok(None);
        };
        if self.checks_crc {
            BatchView::parse(bytes)
                .and_then(|batch| batch.verify_crc())
                .map_err(|error| error.to_string())?;
        }
        Ok(Some(header))
    }

    /// Offsets may be left out before a batch by a compaction, or its base offset lies; the next batch tells.
    fn check_gap(
        &self,
        next_at: usize,
        header: &BatchHeader,
        around: &Surroundings<'_>,
        read: impl Fn(usize, &mut [u8]) -> bool,
    ) -> Result<(), String> {
        // What is known to lie is no witness.
        if next_at >= self.sound_bytes || self.available - next_at < HEADER_LEN {
            return Ok(());
        }
        let mut bytes = [0; HEADER_LEN];
        match self.buffer.get(next_at..next_at + HEADER_LEN) {
            Some(found) => bytes.copy_from_slice(found),
            None if read(next_at, &mut bytes) => {}
            None => return Ok(()),
        }
        let Ok(next) = BatchHeader::parse(&bytes) else {
            return Ok(());
        };
        match around.contradiction(header, &next, None) {
            Some(_) => Err(Contradiction::reason(header, &next)),
            None => Ok(()),
        }
    }
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
