//! Walks a segment file over damage: what is sound is handed out, what is not is named with its place.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use millstream_records::{BatchHeader, BatchView, HEADER_LEN, LOG_OVERHEAD};

use super::{ScannedBatch, Stretch};
use crate::checkpoint::EpochStart;
use crate::fs::File;

mod look;

/// Read at once: a walk that ends soon reads little.
const WINDOW_MIN: usize = 16 << 10;
const WINDOW_MAX: usize = 256 << 10;
/// A run of zeros is looked at in steps of this.
const ZEROS_WINDOW: usize = 4 << 10;
/// A search for the next sound batch computes checksums over at most so many times the bytes that it searches. Bytes
/// that look like one batch header after the other would cost the square of their length otherwise.
const SEARCH_FACTOR: u64 = 4;
const SEARCH_BYTES_MIN: u64 = 1 << 20;

/// Bytes of a segment that are not a sound batch of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) position: u64,
    /// Where the next sound batch begins, or the file ends.
    pub(crate) end: u64,
    /// The offsets that were there: from this one …
    pub(crate) first_offset: i64,
    /// … to below this one.
    pub(crate) next_offset: i64,
    pub(crate) reason: String,
}

impl Region {
    pub(crate) fn offsets(&self) -> Range<i64> {
        self.first_offset..self.next_offset
    }

    /// The reason, and what it costs.
    pub(crate) fn complaint(&self) -> String {
        format!(
            "{}; offsets {} to {} cannot be read",
            self.reason,
            self.first_offset,
            self.next_offset - 1
        )
    }
}

/// A place where a batch is known to begin, and the offset that it ends with; from an index that can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) position: u64,
    pub(crate) last_offset: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Batch(ScannedBatch),
    Damage(Region),
}

/// What is known of a run of batches beside its bytes. Neither the base offset nor the leader epoch of a batch is
/// covered by its checksum; they must fit what stands around them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// The least offset that the next batch may have.
    pub(crate) lower: i64,
    /// Offsets that leave others out before them are below this one.
    pub(crate) upper: i64,
    /// Which leader epoch wrote what; nothing is known of offsets before the first.
    pub(crate) epochs: &'a [EpochStart],
}

impl Surroundings<'_> {
    /// Whether a sound batch can stand where it does.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<(), String> {
        let (base, last) = (header.base_offset, header.last_offset());
        if base < self.lower {
            return Err(format!(
                "the batch has base offset {base}, the one before ends at {}",
                self.lower
            ));
        }
        if base > self.lower && last >= self.upper {
            return Err(format!(
                "the batch ends with offset {last}, what follows begins at {}",
                self.upper
            ));
        }
        match self.epoch_at(base) {
            Some(epoch) if epoch != header.leader_epoch => Err(format!(
                "the batch has leader epoch {}, its offsets belong to {epoch}",
                header.leader_epoch
            )),
            _ => Ok(()),
        }
    }

    fn epoch_at(&self, offset: i64) -> Option<i32> {
        let after = self
            .epochs
            .partition_point(|entry| entry.start_offset <= offset);
        Some(self.epochs[after.checked_sub(1)?].epoch)
    }

    /// Which of two neighbours lies, when a batch leaves offsets out before it and the next one begins before its end.
    pub(crate) fn contradiction(
        &self,
        header: &BatchHeader,
        next: &BatchHeader,
        after_next: Option<&BatchHeader>,
    ) -> Option<Contradiction> {
        if header.base_offset == self.lower || next.base_offset >= header.next_offset() {
            return None;
        }
        if next.base_offset < self.lower {
            // The next one lies, and is found out in its turn.
            return None;
        }
        let fits_without = next.base_offset == self.lower + i64::from(header.last_offset_delta) + 1;
        let is_outvoted = after_next.is_some_and(|after| {
            after.base_offset >= next.next_offset() && after.base_offset < header.next_offset()
        });
        Some(if fits_without || is_outvoted {
            Contradiction::ThisOne
        } else {
            Contradiction::Either
        })
    }
}

/// See [`Surroundings::contradiction`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contradiction {
    ThisOne,
    Either,
}

impl Contradiction {
    pub(crate) fn reason(header: &BatchHeader, next: &BatchHeader) -> String {
        format!(
            "the batch has offsets {} to {}, the next one begins at {}",
            header.base_offset,
            header.last_offset(),
            next.base_offset
        )
    }
}

/// Why there is no sound batch at a position.
struct Fault {
    reason: String,
    /// As far as is known, the bad bytes reach at least to here.
    end_min: u64,
}

/// Walks the pieces of a segment file from a position, which must be the start of a batch if nothing is damaged.
/// Every batch that comes out has a right checksum and offsets that rise.
pub(crate) struct Walk<'a> {
    file: Arc<dyn File>,
    position: u64,
    end: u64,
    around: Surroundings<'a>,
    /// By rising positions.
    anchors: &'a [Anchor],
    buffer: Vec<u8>,
    buffer_at: u64,
    window: usize,
    /// See `look.rs`.
    stretches: Arc<[Stretch]>,
    looked_to: u64,
    misplaced: Option<Misplaced>,
}

/// Batches that do not belong where they say.
struct Misplaced {
    bytes: Range<u64>,
    reason: String,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        file: Arc<dyn File>,
        position: u64,
        end: u64,
        around: Surroundings<'a>,
        anchors: &'a [Anchor],
    ) -> Self {
        Self {
            file,
            position,
            end,
            around,
            anchors,
            buffer: Vec::new(),
            buffer_at: position,
            window: WINDOW_MIN,
            stretches: Arc::default(),
            looked_to: position,
            misplaced: None,
        }
    }

    /// Compares batches with what the segment's sidecar says of their places.
    #[must_use]
    pub(crate) fn with_places(mut self, stretches: &Arc<[Stretch]>) -> Self {
        self.stretches = Arc::clone(stretches);
        self
    }

    /// The next piece, or none at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        self.look_over()?;
        let fault = match self.judge(position)? {
            Ok(header) => {
                self.position += header.size_in_bytes() as u64;
                self.around.lower = header.next_offset();
                return Ok(Some(Piece::Batch(ScannedBatch { position, header })));
            }
            Err(fault) => fault,
        };
        let end = self.next_sound(position, fault.end_min)?;
        let next_offset = match self.peek(end)? {
            Some(header) => header.base_offset,
            None => self.around.upper,
        };
        let first_offset = self.around.lower;
        self.position = end;
        self.around.lower = next_offset.max(first_offset);
        Ok(Some(Piece::Damage(Region {
            position,
            end,
            first_offset,
            next_offset,
            reason: fault.reason,
        })))
    }

    /// The header behind the piece that was handed out last, if one of the right form is there.
    pub(crate) fn next_header(&mut self) -> io::Result<Option<BatchHeader>> {
        self.peek(self.position)
    }

    /// The bytes of a piece that was just handed out, or of a part of it.
    pub(crate) fn bytes(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let start = position
            .checked_sub(self.buffer_at)
            .and_then(|start| usize::try_from(start).ok())
            .filter(|start| {
                start
                    .checked_add(len)
                    .is_some_and(|end| end <= self.buffer.len())
            });
        let start = match start {
            Some(start) => start,
            None => {
                let available = self.end.saturating_sub(position);
                let wanted = self
                    .window
                    .max(len)
                    .min(usize::try_from(available).unwrap_or(usize::MAX));
                if wanted < len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.window = WINDOW_MAX.min(2 * self.window);
                self.buffer.clear();
                self.buffer.resize(wanted, 0);
                self.file.read_exact_at(&mut self.buffer, position)?;
                self.buffer_at = position;
                0
            }
        };
        Ok(&self.buffer[start..start + len])
    }

    /// Whether a sound batch that fits stands at a position.
    fn judge(&mut self, position: u64) -> io::Result<Result<BatchHeader, Fault>> {
        let fault = |reason, end_min| Ok(Err(Fault { reason, end_min }));
        if let Some(misplaced) = &self.misplaced
            && misplaced.bytes.contains(&position)
        {
            return fault(misplaced.reason.clone(), misplaced.bytes.end);
        }
        let remaining = self.end - position;
        if remaining < HEADER_LEN as u64 {
            let reason = format!("only {remaining} bytes are left, a header has {HEADER_LEN}");
            return fault(reason, self.end);
        }
        let header = match BatchHeader::parse(self.bytes(position, HEADER_LEN)?) {
            Ok(header) => header,
            Err(error) => return fault(error.to_string(), position + 1),
        };
        let size = header.size_in_bytes();
        if size as u64 > remaining {
            let reason = format!("the batch has {size} bytes, only {remaining} are left");
            return fault(reason, position + 1);
        }
        let checked = BatchView::parse(self.bytes(position, size)?)
            .and_then(|batch| batch.verify_crc())
            .map_err(|error| error.to_string());
        if let Err(reason) = checked {
            return fault(reason, position + 1);
        }
        let next = position + size as u64;
        if let Err(reason) = self.around.check(&header) {
            return fault(reason, next);
        }
        if let Some(anchor) = self.anchor_at(position) {
            if anchor.last_offset == header.last_offset() {
                return Ok(Ok(header));
            }
            let reason = format!(
                "the batch ends with offset {}, the index says {}",
                header.last_offset(),
                anchor.last_offset
            );
            return fault(reason, next);
        }
        if header.base_offset == self.around.lower {
            return Ok(Ok(header));
        }
        // What is known to lie is no witness.
        if self.is_misplaced(next) {
            return Ok(Ok(header));
        }
        let Some(follower) = self.peek(next)? else {
            return Ok(Ok(header));
        };
        let behind = next + follower.size_in_bytes() as u64;
        let after = match self.is_misplaced(behind) {
            true => None,
            false => self.peek(behind)?,
        };
        match self
            .around
            .contradiction(&header, &follower, after.as_ref())
        {
            None => Ok(Ok(header)),
            Some(which) => {
                let end_min = match which {
                    Contradiction::ThisOne => next,
                    Contradiction::Either => behind.min(self.end),
                };
                fault(Contradiction::reason(&header, &follower), end_min)
            }
        }
    }

    fn is_misplaced(&self, position: u64) -> bool {
        self.misplaced
            .as_ref()
            .is_some_and(|misplaced| misplaced.bytes.contains(&position))
    }

    /// The header at a position, if its form is right; its checksum is not looked at.
    fn peek(&mut self, position: u64) -> io::Result<Option<BatchHeader>> {
        if self.end.saturating_sub(position) < HEADER_LEN as u64 {
            return Ok(None);
        }
        Ok(BatchHeader::parse(self.bytes(position, HEADER_LEN)?).ok())
    }

    /// Where the walk goes on behind damage: at the first sound batch from which sound batches lead to the end or to a
    /// place where a batch is known to begin. A batch that lies within a record's value leads to neither.
    fn next_sound(&mut self, damaged: u64, end_min: u64) -> io::Result<u64> {
        let mut budget = (self.end - damaged)
            .saturating_mul(SEARCH_FACTOR)
            .max(SEARCH_BYTES_MIN);
        // Mostly the damage is within the batch, and its length is right.
        if let Some(header) = self.peek(damaged)? {
            let next = damaged.saturating_add(header.size_in_bytes() as u64);
            let follows = next >= end_min
                && (next == self.end || (next < self.end && self.judge(next)?.is_ok()));
            if follows {
                return Ok(next);
            }
        }
        let mut at = end_min;
        while at < self.end {
            let anchor = self.anchor_from(at);
            if anchor.is_some_and(|anchor| anchor.position == at) && self.judge(at)?.is_ok() {
                return Ok(at);
            }
            match self.looks_like_a_batch(at)? {
                true if budget > 0 => match self.leads_somewhere(at, &mut budget)? {
                    Ok(()) => return Ok(at),
                    Err(went_to) => at = went_to.max(at + 1),
                },
                true => {
                    at = self
                        .anchor_from(at + 1)
                        .map_or(self.end, |anchor| anchor.position)
                }
                false => at = self.skip_zeros(at)?,
            }
        }
        Ok(self.end)
    }

    /// The next place behind `at` that may be the start of a batch: the length in a header is never 0, so within a run
    /// of zeros there is none but at its end.
    fn skip_zeros(&mut self, at: u64) -> io::Result<u64> {
        let mut zeros_to = at;
        while zeros_to < self.end {
            let len = usize::try_from(self.end - zeros_to).unwrap_or(usize::MAX);
            let bytes = self.bytes(zeros_to, len.min(ZEROS_WINDOW))?;
            match bytes.iter().position(|byte| *byte != 0) {
                Some(run) => {
                    zeros_to += run as u64;
                    break;
                }
                None => zeros_to += bytes.len() as u64,
            }
        }
        if zeros_to == self.end {
            return Ok(self.end);
        }
        Ok(zeros_to.saturating_sub(LOG_OVERHEAD as u64).max(at + 1))
    }

    fn anchor_from(&self, at: u64) -> Option<Anchor> {
        let after = self.anchors.partition_point(|anchor| anchor.position < at);
        self.anchors.get(after).copied()
    }

    fn anchor_at(&self, at: u64) -> Option<Anchor> {
        self.anchor_from(at).filter(|anchor| anchor.position == at)
    }

    fn looks_like_a_batch(&mut self, at: u64) -> io::Result<bool> {
        let Some(header) = self.peek(at)? else {
            return Ok(false);
        };
        let fits = header.size_in_bytes() as u64 <= self.end - at;
        Ok(fits && self.around.check(&header).is_ok())
    }

    /// Follows sound batches from `at`; where they end, if that is nowhere.
    fn leads_somewhere(&mut self, at: u64, budget: &mut u64) -> io::Result<Result<(), u64>> {
        let around = self.around;
        let mut next = at;
        let found = loop {
            if next == self.end || (next > at && self.anchor_at(next).is_some()) {
                break Ok(());
            }
            // A batch that does not fit is refused before its bytes are looked at.
            let cost = self
                .peek(next)?
                .map(|header| header.size_in_bytes() as u64)
                .filter(|size| *size <= self.end - next)
                .unwrap_or(HEADER_LEN as u64);
            *budget = budget.saturating_sub(cost);
            match self.judge(next)? {
                Ok(header) if *budget > 0 => {
                    next += header.size_in_bytes() as u64;
                    self.around.lower = header.next_offset();
                }
                _ => break Err(next),
            }
        };
        self.around = around;
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
