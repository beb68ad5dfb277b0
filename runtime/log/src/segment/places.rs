//! Where batches belong: Kafka's checksum of a batch leaves out its base offset and its leader epoch, so that a broker
//! can assign both in place. In the offsets that compaction left out a batch could move without anybody noticing.
//!
//! The sidecar of a segment therefore has a checksum of both for every stretch of batches. One flipped bit among them
//! is traced to its batch; whatever else does not add up costs the whole stretch.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, BufMut};
use millstream_records::BatchHeader;
use parking_lot::Mutex;

use super::IndexedBatch;

/// A stretch ends with the batch that brings it to so many bytes: 98 KB of stretches for a segment of 1 GB.
const STRETCH_BYTES: u32 = 128 << 10;
/// Bytes of a batch's place: base offset and leader epoch.
const PLACE_BYTES: usize = 12;
/// Segments whose stretches are kept in memory for readers.
const CACHED_MAX: usize = 16;

/// Batches that follow each other, and the CRC-32C of their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) position: u32,
    pub(crate) bytes: u32,
    pub(crate) crc: u32,
}

impl Stretch {
    /// Encoded.
    pub(super) const BYTES: usize = 12;

    pub(crate) fn begin(&self) -> u64 {
        u64::from(self.position)
    }

    pub(crate) fn end(&self) -> u64 {
        u64::from(self.position) + u64::from(self.bytes)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.position);
        out.put_u32(self.bytes);
        out.put_u32(self.crc);
    }

    /// `bytes` has exactly `BYTES` bytes.
    pub(super) fn decode(mut bytes: &[u8]) -> Self {
        Self {
            position: bytes.get_u32(),
            bytes: bytes.get_u32(),
            crc: bytes.get_u32(),
        }
    }

    /// The checksum with the place of one more batch.
    pub(crate) fn append(crc: u32, header: &BatchHeader) -> u32 {
        crc32c::crc32c_append(crc, &place(header.base_offset, header.leader_epoch))
    }

    /// Compares the stretch with its batches, whose headers `header_at` reads: none where no header stands.
    pub(crate) fn look(
        &self,
        mut header_at: impl FnMut(u64) -> io::Result<Option<BatchHeader>>,
    ) -> io::Result<Look> {
        let mut found = Vec::new();
        let mut crc = 0;
        let mut at = self.begin();
        while at < self.end() {
            let Some(header) = header_at(at)? else {
                return Ok(Look::Unclear);
            };
            let end = at + header.size_in_bytes() as u64;
            crc = Self::append(crc, &header);
            found.push(at..end);
            at = end;
        }
        Ok(if at != self.end() {
            Look::Unclear
        } else if crc == self.crc {
            Look::Sound
        } else {
            let wrong = changed_place(found.len(), crc ^ self.crc);
            Look::Wrong {
                batch: wrong.map(|index| found[index].clone()),
            }
        })
    }
}

/// What a look at a stretch finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// All of its batches belong where they say.
    Sound,
    /// Its headers do not lead from its start to its end: there is damage of another kind.
    Unclear,
    /// Not all of them do: one flipped bit in the place of `batch`, or more than that.
    Wrong { batch: Option<std::ops::Range<u64>> },
}

fn place(base_offset: i64, leader_epoch: i32) -> [u8; PLACE_BYTES] {
    let mut place = [0; PLACE_BYTES];
    place[..8].copy_from_slice(&base_offset.to_be_bytes());
    place[8..].copy_from_slice(&leader_epoch.to_be_bytes());
    place
}

/// Which of `count` places one flipped bit must have changed for the checksum of all to change by `difference`. A
/// CRC is linear: what a bit changes depends on nothing but how far it is from the end.
fn changed_place(count: usize, difference: u32) -> Option<usize> {
    let zeros = [0; PLACE_BYTES];
    let behind = |effect: u32, bytes: usize| {
        crc32c::crc32c_append(effect, &zeros[..bytes]) ^ crc32c::crc32c_append(0, &zeros[..bytes])
    };
    let mut effects: Vec<u32> = (0..PLACE_BYTES)
        .flat_map(|bytes_behind| {
            (0..8).map(move |bit| {
                let effect = crc32c::crc32c(&[1 << bit]) ^ crc32c::crc32c(&[0]);
                behind(effect, bytes_behind)
            })
        })
        .collect();
    for index in (0..count).rev() {
        if effects.contains(&difference) {
            return Some(index);
        }
        for effect in &mut effects {
            *effect = behind(*effect, PLACE_BYTES);
        }
    }
    None
}

/// The stretches of a segment that is being written or read through.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// By rising positions; they do not overlap.
    done: Vec<Stretch>,
    open: Option<Stretch>,
}

impl Places {
    /// Those that a sidecar has: they stay as they are.
    pub(crate) fn recalled(stretches: &[Stretch]) -> Self {
        Self {
            done: stretches.to_vec(),
            open: None,
        }
    }

    pub(crate) fn note(&mut self, batch: &IndexedBatch) {
        if self.is_known(batch.position) {
            return self.end_stretch();
        }
        let Ok(position) = u32::try_from(batch.position) else {
            return self.end_stretch();
        };
        if self
            .open
            .is_some_and(|open| open.end() != batch.position || open.bytes >= STRETCH_BYTES)
        {
            self.end_stretch();
        }
        let open = self.open.get_or_insert(Stretch {
            position,
            bytes: 0,
            crc: 0,
        });
        // Both are below 2^31 + 12, and an open stretch is much shorter.
        open.bytes += batch.size;
        let place = place(batch.base_offset, batch.leader_epoch);
        open.crc = crc32c::crc32c_append(open.crc, &place);
    }

    fn is_known(&self, position: u64) -> bool {
        let after = self.done.partition_point(|one| one.begin() <= position);
        after > 0 && position < self.done[after - 1].end()
    }

    fn end_stretch(&mut self) {
        if let Some(open) = self.open.take() {
            let at = self
                .done
                .partition_point(|one| one.position < open.position);
            self.done.insert(at, open);
        }
    }

    /// Forgets what is not wholly before a position.
    pub(super) fn truncate(&mut self, position: u64) {
        self.end_stretch();
        self.done.retain(|one| one.end() <= position);
    }

    pub(crate) fn stretches(&mut self) -> &[Stretch] {
        self.end_stretch();
        &self.done
    }
}

/// A segment's stretches as its sidecar has them, and which of them were looked at since.
#[derive(Debug)]
pub(crate) struct KnownPlaces {
    pub(crate) stretches: Arc<[Stretch]>,
    seen: Box<[AtomicBool]>,
}

impl KnownPlaces {
    pub(crate) fn new(stretches: Vec<Stretch>) -> Self {
        Self {
            seen: stretches.iter().map(|_| AtomicBool::new(false)).collect(),
            stretches: stretches.into(),
        }
    }

    /// Those that touch bytes of `range` and were not looked at yet.
    pub(crate) fn unseen(&self, range: std::ops::Range<u64>) -> impl Iterator<Item = usize> {
        let first = self
            .stretches
            .partition_point(|one| one.end() <= range.start);
        let behind = self
            .stretches
            .partition_point(|one| one.begin() < range.end);
        (first..behind).filter(|index| !self.seen[*index].load(Ordering::Relaxed))
    }

    pub(crate) fn set_seen(&self, index: usize) {
        self.seen[index].store(true, Ordering::Relaxed);
    }
}

/// The stretches of the segments that were read last.
#[derive(Debug, Default)]
pub(crate) struct PlacesCache {
    /// By the segments' ids, the newest last.
    cached: Mutex<VecDeque<(u64, Arc<KnownPlaces>)>>,
}

impl PlacesCache {
    pub(crate) fn get(&self, segment: u64) -> Option<Arc<KnownPlaces>> {
        let cached = self.cached.lock();
        let (_, places) = cached.iter().rev().find(|(id, _)| *id == segment)?;
        Some(Arc::clone(places))
    }

    pub(crate) fn put(&self, segment: u64, places: Arc<KnownPlaces>) {
        let mut cached = self.cached.lock();
        cached.retain(|(id, _)| *id != segment);
        if cached.len() >= CACHED_MAX {
            cached.pop_front();
        }
        cached.push_back((segment, places));
    }

    pub(crate) fn forget(&self, segment: u64) {
        self.cached.lock().retain(|(id, _)| *id != segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of 50 KB with gaps between their offsets.
    fn batches(count: u64) -> Vec<IndexedBatch> {
        (0..count)
            .map(|index| IndexedBatch {
                position: index * 50_000,
                size: 50_000,
                base_offset: 10 + 7 * index as i64,
                leader_epoch: (index / 4) as i32,
                last_offset: 12 + 7 * index as i64,
                max_timestamp: 5,
            })
            .collect()
    }

    fn noted(batches: &[IndexedBatch]) -> Vec<Stretch> {
        let mut places = Places::default();
        batches.iter().for_each(|batch| places.note(batch));
        places.stretches().to_vec()
    }

    fn ends(stretches: &[Stretch]) -> Vec<(u64, u64)> {
        stretches
            .iter()
            .map(|one| (one.begin(), one.end()))
            .collect()
    }

    #[test]
    fn stretches_cover_all_batches_and_go_with_a_cut() {
        let all = batches(7);
        let stretches = noted(&all);
        let expected = [(0, 150_000), (150_000, 300_000), (300_000, 350_000)];
        assert_eq!(ends(&stretches), expected);
        let mut places = Places::recalled(&stretches);
        places.truncate(200_000);
        assert_eq!(ends(places.stretches()), expected[..1]);
        // What was cut in its midst is not known any more, what comes behind is.
        all[4..].iter().for_each(|batch| places.note(batch));
        let expected = [(0, 150_000), (200_000, 350_000)];
        assert_eq!(ends(places.stretches()), expected);
        // Read through, the hole is filled, and what was known stays.
        let before = places.stretches().to_vec();
        let mut changed = all.clone();
        changed[0].base_offset += 1;
        changed.iter().for_each(|batch| places.note(batch));
        let filled = places.stretches();
        assert_eq!(
            ends(filled),
            [expected[0], (150_000, 200_000), expected[1]],
            "{filled:?}"
        );
        assert_eq!((filled[0], filled[2]), (before[0], before[1]));
    }

    #[test]
    fn every_flipped_bit_of_a_place_is_traced_to_its_batch_and_two_are_seen() {
        let all = batches(3);
        let stretch = noted(&all)[0];
        let look = |batches: &[IndexedBatch]| {
            let header_at = |at: u64| {
                let batch = batches.iter().find(|batch| batch.position == at);
                Ok(batch.map(|batch| BatchHeader {
                    base_offset: batch.base_offset,
                    leader_epoch: batch.leader_epoch,
                    batch_length: batch.size as i32 - 12,
                    crc: 0,
                    attributes: 0,
                    last_offset_delta: 2,
                    base_timestamp: 0,
                    max_timestamp: 0,
                    producer_id: -1,
                    producer_epoch: -1,
                    base_sequence: -1,
                    record_count: 3,
                }))
            };
            stretch.look(header_at).unwrap()
        };
        assert_eq!(look(&all), Look::Sound);
        for index in 0..all.len() {
            let position = all[index].position;
            let traced = Look::Wrong {
                batch: Some(position..position + 50_000),
            };
            for bit in 0..64 {
                let mut changed = all.clone();
                changed[index].base_offset ^= 1 << bit;
                assert_eq!(look(&changed), traced, "bit {bit} of batch {index}");
                changed[2 - index].leader_epoch ^= 1 << (bit % 32);
                assert_ne!(look(&changed), Look::Sound);
                changed[index].base_offset ^= 1 << bit;
                assert!(matches!(look(&changed), Look::Wrong { batch: Some(_) }));
            }
        }
        let mut shorter = all.clone();
        shorter[1].size -= 1;
        assert_eq!(look(&shorter), Look::Unclear);
    }

    #[test]
    fn only_the_segments_that_were_read_last_are_kept() {
        let cache = PlacesCache::default();
        for id in 0..40 {
            cache.put(id, Arc::new(KnownPlaces::new(noted(&batches(id % 3)))));
        }
        assert!(cache.get(23).is_none());
        assert_eq!(cache.get(24).unwrap().stretches.len(), 0);
        let known = cache.get(38).unwrap();
        assert_eq!(known.unseen(0..1).collect::<Vec<_>>(), [0]);
        known.set_seen(0);
        assert_eq!(cache.get(38).unwrap().unseen(0..1).count(), 0);
        cache.forget(38);
        assert!(cache.get(38).is_none() && cache.get(39).is_some());
    }
}
