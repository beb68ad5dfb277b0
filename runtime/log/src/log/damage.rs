//! Reading around damage: where sound batches begin and end, which offsets cannot be read, and what is known of both.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Log, ReadError};
use crate::checkpoint::EpochStart;
use crate::segment::{Anchor, Piece, Region, ScannedBatch, Segment, Stretch, Surroundings, Walk};

/// Bytes of a segment that cannot be read, and the offsets that were in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRegion {
    pub topic: String,
    pub partition: i32,
    pub path: PathBuf,
    /// The bytes; empty where the file lost its end.
    pub positions: Range<u64>,
    pub offsets: Range<i64>,
    pub reason: String,
}

/// What a walk needs to know of a segment, all of one moment.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) end: u64,
    pub(super) upper: i64,
    pub(super) epochs: Arc<[EpochStart]>,
    /// What the sidecar of a rolled segment says of its batches' places.
    pub(super) places: Arc<[Stretch]>,
}

/// What was found where an offset should be.
pub(super) enum Place {
    /// A sound batch; the least offset that it may have.
    Batch {
        position: u64,
        lower: i64,
        /// What follows begins here, or was not there yet.
        upper: i64,
    },
    Damage(Region),
    /// The segment ends before the offset.
    Behind,
}

/// Why a visit ended early.
pub(super) enum Stopped {
    Damage(Region),
    Io(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Log {
    /// All damage that is known: found at start, by the scrub or by a reader.
    pub fn damages(&self) -> Vec<DamagedRegion> {
        let segments = self.segments.read().clone();
        let mut found = Vec::new();
        for segment in segments {
            found.extend(segment.damages().into_iter().map(|region| DamagedRegion {
                topic: self.id.topic.clone(),
                partition: self.id.partition,
                path: segment.path(),
                positions: region.position..region.end,
                offsets: region.offsets(),
                reason: region.reason,
            }));
        }
        found
    }

    pub(super) fn sight(&self, segment: &Arc<Segment>) -> Sight {
        if let Some(upper) = self.end_of_rolled(segment) {
            return Sight {
                end: segment.size(),
                upper,
                epochs: self.epochs.entries(),
                places: Arc::clone(&self.known_places(segment).stretches),
            };
        }
        // An append publishes bytes, epoch and end one after the other.
        let appender = self.appender.lock();
        Sight {
            end: segment.size(),
            upper: appender.log_end,
            epochs: self.epochs.entries(),
            places: Arc::default(),
        }
    }

    /// As [`Log::sight`], for a segment that cannot grow meanwhile: it is rolled, or the caller has the append lock.
    pub(super) fn sight_at_rest(&self, segment: &Arc<Segment>) -> Sight {
        let end = self.end_of_rolled(segment);
        Sight {
            end: segment.size(),
            upper: end.unwrap_or(i64::MAX),
            epochs: self.epochs.entries(),
            places: match end {
                Some(_) => Arc::clone(&self.known_places(segment).stretches),
                None => Arc::default(),
            },
        }
    }

    /// Where the segment behind this one begins; none for the last.
    pub(crate) fn end_of_rolled(&self, segment: &Arc<Segment>) -> Option<i64> {
        let segments = self.segments.read();
        let after = segments.partition_point(|one| one.base_offset() <= segment.base_offset());
        segments.get(after).map(|next| next.base_offset())
    }

    /// Walks a segment from its start; none when it has no bytes, and perhaps no file.
    pub(super) fn walk<'a>(segment: &Segment, sight: &'a Sight) -> io::Result<Option<Walk<'a>>> {
        Self::walk_from(segment, sight, 0)
    }

    /// The same from a position on, where a batch begins.
    pub(super) fn walk_from<'a>(
        segment: &Segment,
        sight: &'a Sight,
        from: u64,
    ) -> io::Result<Option<Walk<'a>>> {
        if sight.end == 0 {
            return Ok(None);
        }
        let around = Surroundings {
            lower: segment.base_offset(),
            upper: sight.upper,
            epochs: &sight.epochs,
        };
        let file = segment.file()?;
        let walk = Walk::new(file, from, sight.end, around, &[]);
        Ok(Some(walk.with_places(&sight.places)))
    }

    /// Looks for the batch that holds `offset`, or the first one behind it, by what the batches themselves say.
    pub(super) fn find(&self, segment: &Arc<Segment>, offset: i64) -> Result<Place, ReadError> {
        let upper = self.sight(segment).upper;
        let found = self.visit_from(segment, offset, |_, batch, lower| {
            Ok(Some(Place::Batch {
                position: batch.position,
                lower,
                upper,
            }))
        });
        match found {
            Ok(Some(place)) => Ok(place),
            Ok(None) => Ok(match segment.damage_at(offset) {
                Some(region) => Place::Damage(region),
                None => Place::Behind,
            }),
            Err(Stopped::Damage(region)) => Ok(Place::Damage(region)),
            Err(Stopped::Io(error)) => Err(self.read_failed(segment, error)),
        }
    }

    /// Shows the sound batches from the one that holds `offset` on, each with the least offset that it may have, until
    /// one gives a result; none at the segment's end. Damage that holds `offset` or lies behind it ends the walk.
    pub(super) fn visit_from<T>(
        &self,
        segment: &Arc<Segment>,
        offset: i64,
        mut visit: impl FnMut(&mut Walk<'_>, &ScannedBatch, i64) -> io::Result<Option<T>>,
    ) -> Result<Option<T>, Stopped> {
        self.check_indexes(segment)?;
        let sight = self.sight(segment);
        if sight.end == 0 {
            return Ok(None);
        }
        let anchors = segment.anchors_around(offset)?;
        let start = anchors
            .first()
            .filter(|anchor| anchor.last_offset <= offset)
            .map_or(0, |anchor| anchor.position);
        let around = Surroundings {
            lower: segment.base_offset(),
            upper: sight.upper,
            epochs: &sight.epochs,
        };
        let mut walk = Walk::new(segment.file()?, start, sight.end, around, &anchors)
            .with_places(&sight.places);
        let mut lower = segment.base_offset();
        while let Some(piece) = walk.next()? {
            match piece {
                Piece::Batch(batch) => {
                    if batch.header.last_offset() >= offset {
                        // What lies before the first batch is not known; the index knows its end.
                        let is_anchor = batch.position == start && start > 0;
                        let least = if is_anchor {
                            batch.header.base_offset
                        } else {
                            lower
                        };
                        if let Some(found) = visit(&mut walk, &batch, least)? {
                            return Ok(Some(found));
                        }
                    }
                    lower = batch.header.next_offset();
                }
                Piece::Damage(region) => {
                    lower = region.next_offset;
                    let region = Self::widened(region, start, &sight, &anchors);
                    self.note(segment, &region);
                    if region.next_offset > offset {
                        return Err(Stopped::Damage(region));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Damage at the very place where a walk began: what lies before it is not known to the walk, but the last offset
    /// there is.
    pub(super) fn widened(
        mut region: Region,
        start: u64,
        sight: &Sight,
        anchors: &[Anchor],
    ) -> Region {
        if region.position == start
            && start > 0
            && let Some(anchor) = anchors.first()
        {
            region.first_offset = anchor.last_offset.min(sight.upper);
        }
        region
    }

    /// Keeps damage in mind, and tells the log of the node once.
    pub(super) fn note(&self, segment: &Segment, region: &Region) {
        if segment.note_damage(region) {
            tracing::error!(
                path = %segment.path().display(),
                position = region.position,
                end = region.end,
                first_offset = region.first_offset,
                next_offset = region.next_offset,
                reason = region.reason,
                "damage was found; these offsets cannot be read, what lies around them can"
            );
        }
    }

    /// Bytes that a rolled segment had when it was sealed and has no more.
    pub(super) fn note_lost_end(&self, segment: &Arc<Segment>, expected: u64) -> io::Result<()> {
        let sight = self.sight_at_rest(segment);
        let mut end = segment.base_offset();
        if let Some(mut walk) = Self::walk(segment, &sight)? {
            while let Some(piece) = walk.next()? {
                match piece {
                    Piece::Batch(batch) => end = batch.header.next_offset(),
                    Piece::Damage(region) => {
                        end = region.next_offset;
                        self.note(segment, &region);
                    }
                }
            }
        }
        if end < sight.upper {
            let region = Region {
                position: sight.end,
                end: sight.end,
                first_offset: end,
                next_offset: sight.upper,
                reason: format!("the file has {} bytes, it had {expected}", sight.end),
            };
            self.note(segment, &region);
        }
        Ok(())
    }
}

/// What a reader of damaged offsets is told.
pub(super) fn refused(segment: &Segment, region: &Region) -> ReadError {
    ReadError::Corrupt {
        path: segment.path(),
        position: region.position,
        reason: region.complaint(),
    }
}
