//! What is to become of a damaged segment. Pure: facts of the segment in, steps out; `salvage.rs` takes both to the files.
//!
//! The steps follow the offsets. Sound batches are copied as they are. In the place of lost offsets stand empty batches,
//! and the ends of transactions that may have been among them (`endings.rs`).

use std::ops::Range;

use millstream_records::{
    BatchHeader, Marker, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, build_marker, patch,
};

use super::endings::{Ending, OpenTransaction, endings};
use crate::checkpoint::EpochStart;
use crate::index::AbortedEntry;
use crate::producer_state::{BatchFacts, ProducerEntry, ProducerStates, ProducerUpdate};
use crate::segment::Region;

/// Offsets that are lost in one place of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LostPlace {
    pub(super) offsets: Range<i64>,
    pub(super) position: u64,
    pub(super) reason: String,
}

/// Finds what is lost between the sound batches of a segment, which it meets in their order.
#[derive(Debug)]
pub(super) struct Gaps {
    regions: Vec<Region>,
    next: i64,
}

impl Gaps {
    pub(super) fn new(base_offset: i64, mut regions: Vec<Region>) -> Self {
        regions.sort_by_key(|region| region.first_offset);
        Self {
            regions,
            next: base_offset,
        }
    }

    /// What is lost before this batch and behind the one before.
    pub(super) fn before(&mut self, header: &BatchHeader) -> Vec<LostPlace> {
        let lost = self.lost_to(header.base_offset);
        self.next = self.next.max(header.next_offset());
        lost
    }

    /// What is lost behind the last batch. `end` is the offset that follows the segment.
    pub(super) fn at_end(&mut self, end: i64) -> Vec<LostPlace> {
        self.lost_to(end)
    }

    /// The damaged offsets of the gap. Those that no batch has are not all damaged: compaction leaves some out.
    fn lost_to(&mut self, end: i64) -> Vec<LostPlace> {
        let mut found = Vec::new();
        for region in &self.regions {
            let offsets = region.first_offset.max(self.next)..region.next_offset.min(end);
            if offsets.is_empty() {
                continue;
            }
            self.next = offsets.end;
            found.push(LostPlace {
                offsets,
                position: region.position,
                reason: region.reason.clone(),
            });
        }
        found
    }
}

/// Transactions that ended with an abort, by indexes that can be believed.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownAborts {
    /// Their markers are in the damaged segment.
    pub(super) own: Vec<AbortedEntry>,
    /// Their markers are in those behind.
    pub(super) later: Vec<AbortedEntry>,
}

/// What is known of a damaged segment beside its batches.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) base_offset: i64,
    /// The offset that follows it.
    pub(super) end: i64,
    pub(super) damages: Vec<Region>,
    /// As they are where it begins.
    pub(super) producers: ProducerStates,
    /// As they are where the log ends.
    pub(super) producers_at_end: Vec<ProducerEntry>,
    /// None when not all indexes can tell.
    pub(super) aborted: Option<KnownAborts>,
    pub(super) epochs: Vec<EpochStart>,
}

/// What comes next in the new segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Sound batches of the old one, by their bytes in its file.
    Copy(Range<u64>),
    /// A batch that stands for lost offsets.
    Write(Vec<u8>),
}

/// The new segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SegmentPlan {
    pub(super) steps: Vec<Step>,
    /// For its index of aborted transactions.
    pub(super) aborted: Vec<AbortedEntry>,
}

/// Makes a plan of the sound batches that it meets.
#[derive(Debug)]
pub(super) struct Planner {
    facts: Facts,
    gaps: Gaps,
    /// Of all known aborts, in the form that the endings want.
    aborted: Option<Vec<AbortedEntry>>,
    last_timestamp: i64,
    plan: SegmentPlan,
}

impl Planner {
    pub(super) fn new(mut facts: Facts) -> Self {
        let gaps = Gaps::new(facts.base_offset, std::mem::take(&mut facts.damages));
        let known = facts.aborted.take();
        let plan = SegmentPlan {
            steps: Vec::new(),
            aborted: known.as_ref().map_or(Vec::new(), |known| known.own.clone()),
        };
        Self {
            facts,
            gaps,
            aborted: known.map(|known| [known.own, known.later].concat()),
            last_timestamp: -1,
            plan,
        }
    }

    /// The next sound batch. `marker`: what it says as a control batch.
    pub(super) fn meet(
        &mut self,
        position: u64,
        header: &BatchHeader,
        marker: Option<(Marker, i32)>,
    ) {
        for place in self.gaps.before(header) {
            self.fill_in(&place.offsets);
        }
        let end = position + header.size_in_bytes() as u64;
        match self.plan.steps.last_mut() {
            Some(Step::Copy(bytes)) if bytes.end == position => bytes.end = end,
            _ => self.plan.steps.push(Step::Copy(position..end)),
        }
        self.apply(header, marker);
    }

    pub(super) fn finish(mut self) -> SegmentPlan {
        for place in self.gaps.at_end(self.facts.end) {
            self.fill_in(&place.offsets);
        }
        self.plan
    }

    fn fill_in(&mut self, lost: &Range<i64>) {
        let mut next = lost.start;
        for ending in endings(lost, &self.open_transactions(), self.aborted.as_deref()) {
            self.write_empty(next..ending.offset);
            self.write_marker(&ending);
            next = ending.offset + 1;
        }
        self.write_empty(next..lost.end);
    }

    /// Those that are open here and not where the log ends.
    fn open_transactions(&self) -> Vec<OpenTransaction> {
        let is_open_at_end = |producer_id: i64, first_offset: i64| {
            self.facts.producers_at_end.iter().any(|entry| {
                entry.producer_id == producer_id
                    && entry.transaction_first_offset == Some(first_offset)
            })
        };
        let mut found: Vec<_> = self
            .facts
            .producers
            .iter()
            .filter_map(|entry| {
                Some(OpenTransaction {
                    producer_id: entry.producer_id,
                    producer_epoch: entry.epoch,
                    coordinator_epoch: entry.coordinator_epoch,
                    first_offset: entry.transaction_first_offset?,
                })
            })
            .filter(|open| !is_open_at_end(open.producer_id, open.first_offset))
            .collect();
        found.sort_unstable_by_key(|open| (open.first_offset, open.producer_id));
        found
    }

    fn write_empty(&mut self, offsets: Range<i64>) {
        let mut next = offsets.start;
        while next < offsets.end {
            let count = (offsets.end - next).min(i64::from(i32::MAX));
            let header = BatchHeader {
                base_offset: next,
                batch_length: 0,
                leader_epoch: self.leader_epoch_at(next),
                crc: 0,
                attributes: 0,
                last_offset_delta: i32::try_from(count - 1).expect("it is below i32::MAX"),
                base_timestamp: self.last_timestamp,
                max_timestamp: self.last_timestamp,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                base_sequence: NO_SEQUENCE,
                record_count: 0,
            };
            let mut bytes = Vec::new();
            let written = header.write_batch(&[], &mut bytes);
            written.expect("a batch without records is small, and is not compressed");
            self.plan.steps.push(Step::Write(bytes));
            next += count;
        }
    }

    fn write_marker(&mut self, ending: &Ending) {
        let Ending {
            offset,
            transaction,
            marker,
        } = *ending;
        let coordinator_epoch = transaction.coordinator_epoch.max(0);
        let mut bytes = build_marker(
            marker,
            transaction.producer_id,
            transaction.producer_epoch,
            coordinator_epoch,
            self.last_timestamp,
        );
        patch::set_base_offset(&mut bytes, offset);
        patch::set_leader_epoch(&mut bytes, self.leader_epoch_at(offset));
        let header = BatchHeader::parse(&bytes).expect("it was just written");
        self.plan.steps.push(Step::Write(bytes));
        self.apply(&header, Some((marker, coordinator_epoch)));
    }

    /// The leader epoch that wrote an offset, as far as it is known.
    fn leader_epoch_at(&self, offset: i64) -> i32 {
        let epochs = &self.facts.epochs;
        let behind = epochs.partition_point(|entry| entry.start_offset <= offset);
        behind.checked_sub(1).map_or(0, |index| epochs[index].epoch)
    }

    /// What a batch means for the producers, and for the index of aborted transactions where no other tells.
    fn apply(&mut self, header: &BatchHeader, marker: Option<(Marker, i32)>) {
        self.last_timestamp = self.last_timestamp.max(header.max_timestamp);
        if !header.has_producer_id() {
            return;
        }
        let facts = BatchFacts {
            header,
            marker,
            // These states live as long as the plan is made.
            now_ms: 0,
        };
        let producers = &mut self.facts.producers;
        let update = ProducerUpdate::stored(producers, &facts);
        if self.aborted.is_none() {
            let aborted = update.completed.iter().filter(|one| one.aborted);
            self.plan.aborted.extend(aborted.map(|one| AbortedEntry {
                producer_id: one.producer_id,
                first_offset: one.first_offset,
                last_offset: one.marker_offset,
                last_stable: producers.last_stable_after(one.producer_id, one.marker_offset),
            }));
        }
        update.apply(producers);
    }
}

#[cfg(test)]
mod tests {
    use millstream_records::{BatchBuilder, BatchOptions, BatchView, ProducerStamp};

    use super::*;

    fn region(position: u64, offsets: Range<i64>) -> Region {
        Region {
            position,
            end: position + 10,
            first_offset: offsets.start,
            next_offset: offsets.end,
            reason: "damaged".to_owned(),
        }
    }

    fn facts(offsets: Range<i64>, damages: Vec<Region>) -> Facts {
        Facts {
            base_offset: offsets.start,
            end: offsets.end,
            damages,
            producers: ProducerStates::default(),
            producers_at_end: Vec::new(),
            aborted: Some(KnownAborts::default()),
            epochs: vec![
                EpochStart {
                    epoch: 3,
                    start_offset: 0,
                },
                EpochStart {
                    epoch: 5,
                    start_offset: 7,
                },
            ],
        }
    }

    /// The header of a batch with one record for each offset, of a transaction if a producer is given.
    fn batch(offsets: Range<i64>, producer_id: Option<i64>) -> BatchHeader {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: offsets.start,
            producer: producer_id.map(|id| ProducerStamp {
                id,
                epoch: 0,
                base_sequence: 0,
            }),
            transactional: producer_id.is_some(),
            ..BatchOptions::default()
        });
        for _ in offsets {
            builder.append(7, None, Some(b"value"), []).unwrap();
        }
        BatchHeader::parse(&builder.build().unwrap()).unwrap()
    }

    /// Each step: what is copied, or which offsets are written, by which leader, and whether as a marker.
    fn described(plan: &SegmentPlan) -> Vec<String> {
        let describe = |step: &Step| match step {
            Step::Copy(bytes) => format!("copy {bytes:?}"),
            Step::Write(bytes) => {
                let batch = BatchView::parse(bytes).unwrap();
                batch.verify_crc().unwrap();
                let header = batch.header();
                let kind = match header.is_control() {
                    true => "marker",
                    false => "empty",
                };
                let offsets = header.base_offset..header.next_offset();
                format!("{kind} {offsets:?} of leader {}", header.leader_epoch)
            }
        };
        plan.steps.iter().map(describe).collect()
    }

    #[test]
    fn only_damaged_offsets_between_sound_batches_are_lost_and_each_once() {
        let regions = [region(90, 40..41), region(0, 3..8), region(50, 6..12)];
        let lost = |gap: Range<i64>| -> Vec<_> {
            let found = Gaps::new(gap.start, regions.to_vec()).at_end(gap.end);
            let ends = |place: LostPlace| (place.offsets.start, place.offsets.end);
            found.into_iter().map(ends).collect()
        };
        assert_eq!(lost(0..20), [(3, 8), (8, 12)]);
        assert_eq!(lost(5..7), [(5, 7)]);
        assert_eq!(lost(8..9), [(8, 9)]);
        assert_eq!(lost(12..40), []);
        assert_eq!(lost(12..i64::MAX), [(40, 41)]);
    }

    #[test]
    fn sound_batches_are_copied_together_and_lost_offsets_stay_empty() {
        let damages = vec![region(200, 4..8), region(500, 11..12)];
        let mut planner = Planner::new(facts(0..12, damages));
        let (one, other, last) = (batch(0..2, None), batch(2..4, None), batch(8..11, None));
        let size = one.size_in_bytes() as u64;
        planner.meet(0, &one, None);
        planner.meet(size, &other, None);
        planner.meet(300, &last, None);
        let behind = 300 + last.size_in_bytes() as u64;
        assert_eq!(
            described(&planner.finish()),
            [
                format!("copy 0..{}", size + other.size_in_bytes() as u64),
                "empty 4..8 of leader 3".to_owned(),
                format!("copy 300..{behind}"),
                "empty 11..12 of leader 5".to_owned(),
            ]
        );
    }

    #[test]
    fn a_segment_of_which_nothing_is_left_is_empty_batches() {
        let end = 5 + 2 * i64::from(i32::MAX);
        let plan = Planner::new(facts(5..end, vec![region(0, 5..i64::MAX)])).finish();
        let first = i64::from(i32::MAX) + 5;
        assert_eq!(
            described(&plan),
            [
                format!("empty 5..{first} of leader 3"),
                format!("empty {first}..{end} of leader 5"),
            ]
        );
    }

    #[test]
    fn the_end_of_a_transaction_is_written_unless_it_is_open_at_the_logs_end() {
        let mut open_one = ProducerStates::default();
        let data = batch(0..1, Some(9));
        let update = ProducerUpdate::stored(
            &open_one,
            &BatchFacts {
                header: &data,
                marker: None,
                now_ms: 0,
            },
        );
        update.apply(&mut open_one);
        for is_open_at_end in [false, true] {
            let mut facts = facts(1..4, vec![region(0, 1..4)]);
            facts.producers = open_one.clone();
            facts.aborted = None;
            if is_open_at_end {
                facts.producers_at_end = open_one.iter().copied().collect();
            }
            let plan = Planner::new(facts).finish();
            match is_open_at_end {
                true => {
                    assert_eq!(described(&plan), ["empty 1..4 of leader 3"]);
                    assert_eq!(plan.aborted, []);
                }
                false => {
                    let expected = ["empty 1..3 of leader 3", "marker 3..4 of leader 3"];
                    assert_eq!(described(&plan), expected);
                    // No index tells how it ended, so the new one does.
                    let [aborted] = plan.aborted[..] else {
                        panic!("{plan:?}");
                    };
                    assert_eq!((aborted.producer_id, aborted.last_offset), (9, 3));
                }
            }
        }
    }
}
