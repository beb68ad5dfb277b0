//! Reads of rolled segments, and passes of the cleaner, against what the sidecars say of the batches' places.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use millstream_records::{BatchHeader, HEADER_LEN};

use super::Log;
use super::damage::Sight;
use crate::segment::{KnownPlaces, Look, Piece, Segment, Stretch, Surroundings, Walk};

/// Read at once where a header lies outside of what a reader has.
const WINDOW_BYTES: usize = 8 << 10;

impl Log {
    /// What the sidecar of a rolled segment says of its batches; nothing when it says nothing, or is not sound.
    pub(super) fn known_places(&self, segment: &Segment) -> Arc<KnownPlaces> {
        if let Some(known) = self.shared.places.get(segment.id()) {
            return known;
        }
        let sidecar = segment.sidecar(&*self.shared.fs).unwrap_or_else(|error| {
            tracing::warn!(path = %segment.path().display(), %error, "the checksums cannot be read");
            None
        });
        let stretches = sidecar.map_or(Vec::new(), |sidecar| sidecar.stretches);
        let known = Arc::new(KnownPlaces::new(stretches));
        self.shared.places.put(segment.id(), Arc::clone(&known));
        known
    }

    /// Notes which of the batches at these positions of a rolled segment do not belong where they say, as far as its
    /// sidecar tells; true when any damage was found that was not known. `read` is what was read at `read_at`: headers in
    /// it are not read again. Every stretch is looked at once.
    pub(super) fn note_misplaced(
        &self,
        segment: &Arc<Segment>,
        range: Range<u64>,
        read_at: u64,
        read: &[u8],
    ) -> io::Result<bool> {
        let known = self.known_places(segment);
        let mut headers = Headers {
            segment,
            read,
            read_at,
            window: Vec::new(),
            window_at: 0,
        };
        let mut is_new = false;
        for index in known.unseen(range) {
            match known.stretches[index].look(|at| headers.at(at))? {
                Look::Sound => known.set_seen(index),
                // Damage of another kind is found by whoever reads those very batches.
                Look::Unclear => {}
                Look::Wrong { .. } => {
                    self.note_in_stretch(segment, &known, index)?;
                    known.set_seen(index);
                    is_new = true;
                }
            }
        }
        Ok(is_new)
    }

    /// The same for the batch at a position of any segment and the one behind it.
    pub(super) fn note_misplaced_behind(
        &self,
        segment: &Arc<Segment>,
        position: u64,
    ) -> io::Result<()> {
        if self.end_of_rolled(segment).is_none() {
            return Ok(());
        }
        let mut bytes = [0; HEADER_LEN];
        segment.read_at(&mut bytes, position)?;
        if let Ok(header) = BatchHeader::parse(&bytes) {
            let behind = position + header.size_in_bytes() as u64;
            self.note_misplaced(segment, position..behind + 1, 0, &[])?;
        }
        Ok(())
    }

    /// Notes the damage in a stretch that does not add up.
    fn note_in_stretch(
        &self,
        segment: &Arc<Segment>,
        known: &KnownPlaces,
        index: usize,
    ) -> io::Result<()> {
        let stretch = known.stretches[index];
        // One earlier, so that it is known where the offsets of the first batch begin.
        let before = index
            .checked_sub(1)
            .map(|before| known.stretches[before])
            .filter(|before| before.end() == stretch.begin());
        let start = before.map_or(0, |before| before.begin());
        let sight = self.sight_at_rest(segment);
        let around = Surroundings {
            lower: segment.base_offset(),
            upper: sight.upper,
            epochs: &sight.epochs,
        };
        let mut walk =
            Walk::new(segment.file()?, start, sight.end, around, &[]).with_places(&known.stretches);
        while let Some(piece) = walk.next()? {
            let position = match &piece {
                Piece::Batch(batch) => batch.position,
                Piece::Damage(region) => region.position,
            };
            if position >= stretch.end() {
                break;
            }
            if let Piece::Damage(region) = piece {
                self.note(segment, &region);
            }
        }
        Ok(())
    }

    /// What a pass over all batches of a rolled segment compares them with.
    pub(crate) fn placing(&self, segment: &Arc<Segment>) -> Placing {
        Placing {
            lower: segment.base_offset(),
            sight: self.sight_at_rest(segment),
            next: 0,
            crc: 0,
        }
    }
}

/// Headers of batches, of what was read already or of the file.
struct Headers<'a> {
    segment: &'a Segment,
    read: &'a [u8],
    read_at: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Headers<'_> {
    fn at(&mut self, position: u64) -> io::Result<Option<BatchHeader>> {
        if let Some(header) = header_in(self.read, self.read_at, position) {
            return Ok(BatchHeader::parse(header).ok());
        }
        if header_in(&self.window, self.window_at, position).is_none() {
            let left = self.segment.size().saturating_sub(position);
            let len = WINDOW_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
            if len < HEADER_LEN {
                return Ok(None);
            }
            self.window.resize(len, 0);
            self.window_at = position;
            self.segment.read_at(&mut self.window, position)?;
        }
        let header = header_in(&self.window, self.window_at, position);
        Ok(header.and_then(|header| BatchHeader::parse(header).ok()))
    }
}

fn header_in(bytes: &[u8], bytes_at: u64, position: u64) -> Option<&[u8]> {
    let start = usize::try_from(position.checked_sub(bytes_at)?).ok()?;
    bytes.get(start..start.checked_add(HEADER_LEN)?)
}

/// Follows the batches of a rolled segment in their order, each of which has a right checksum.
#[derive(Debug)]
pub(crate) struct Placing {
    sight: Sight,
    lower: i64,
    /// The stretch that is being met or comes next.
    next: usize,
    /// Of the places of that stretch so far.
    crc: u32,
}

impl Placing {
    /// Says what is wrong when the next batch cannot be where it is. Where only the sidecar can tell, that is said
    /// with the last batch of a stretch.
    pub(crate) fn check(&mut self, position: u64, header: &BatchHeader) -> Result<(), String> {
        let around = Surroundings {
            lower: self.lower,
            upper: self.sight.upper,
            epochs: &self.sight.epochs,
        };
        around.check(header)?;
        self.lower = header.next_offset();
        let stretches = self.sight.places.get(self.next..).unwrap_or(&[]);
        let Some(stretch) = stretches
            .first()
            .filter(|stretch| stretch.begin() <= position)
        else {
            return Ok(());
        };
        self.crc = Stretch::append(self.crc, header);
        if position + header.size_in_bytes() as u64 >= stretch.end() {
            self.next += 1;
            let found = std::mem::take(&mut self.crc);
            if found != stretch.crc {
                return Err(format!(
                    "the places of the batches from position {} on have CRC-32C {found:#010x}, the segment's checksums say {:#010x}",
                    stretch.begin(),
                    stretch.crc
                ));
            }
        }
        Ok(())
    }
}
