//! What a node shows of itself, piece by piece: each right, refused, or wrong.

use std::collections::{BTreeMap, BTreeSet};

use millstream_broker::{LocalPartition, TopicPartition};
use millstream_log::Isolation;
use millstream_records::batches;
use millstream_wire::ErrorCode;

use super::node::GROUP;
use crate::rig::Rig;

/// What a node answers, as text, so that all answers compare alike; or the code with which it refuses.
type Answer = Result<String, ErrorCode>;

/// All answers, by question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    answers: BTreeMap<String, Answer>,
}

/// How a node differs from what it was.
#[derive(Debug, Default)]
pub struct Difference {
    /// Questions that are refused now.
    pub refused: BTreeMap<String, ErrorCode>,
    /// Answers that are other ones now.
    pub wrong: Vec<String>,
}

impl Seen {
    pub async fn of(rig: &Rig, topics: &[&str]) -> Seen {
        let mut seen = Seen::default();
        for topic in topics {
            let info = rig.local.topic(topic);
            seen.add(format!("topic {topic}"), Ok(format!("{info:?}")));
            let partitions = info.map_or(0, |info| info.partitions);
            for index in 0..partitions {
                let name = format!("{topic}-{index}");
                match rig.local.partition(topic, index) {
                    Ok(partition) => seen.look_at(&name, &partition),
                    Err(code) => seen.add(name, Err(code)),
                }
            }
        }
        for index in 0..2 {
            let asked = [TopicPartition::new("plain".to_owned(), index)];
            for requires_stable in [false, true] {
                let offsets = rig
                    .local
                    .fetch_offsets(GROUP, &asked, requires_stable)
                    .await;
                let answer = offsets.map(|offsets| format!("{offsets:?}"));
                seen.add(
                    format!("offset of plain-{index}, stable: {requires_stable}"),
                    answer,
                );
            }
        }
        seen
    }

    fn add(&mut self, question: String, answer: Answer) {
        assert!(self.answers.insert(question, answer).is_none());
    }

    fn look_at(&mut self, name: &str, partition: &LocalPartition) {
        let offsets = partition.offsets();
        self.add(
            format!("{name}: start, last stable and end"),
            Ok(format!(
                "{} {} {}",
                offsets.log_start, offsets.last_stable, offsets.log_end
            )),
        );
        // One by one, so that a damaged one hides no other.
        for offset in offsets.log_start..offsets.log_end {
            self.add(
                format!("{name}: offset {offset}"),
                record(partition, offset),
            );
        }
        self.add(format!("{name}: aborted"), aborted(partition));
        for time in [
            0,
            1_700_000_005_000,
            1_700_000_035_500,
            1_800_000_000_000_i64,
        ] {
            let found = partition.offset_for_timestamp(time, Isolation::Uncommitted);
            self.add(
                format!("{name}: at {time}"),
                found.map(|found| format!("{found:?}")),
            );
        }
    }

    /// Everything was answered.
    pub fn check_is_whole(&self) {
        let stable = "offset of plain-1, stable: true";
        for (question, answer) in &self.answers {
            match answer {
                Err(ErrorCode::UnstableOffsetCommit) if question == stable => {}
                answer => assert!(answer.is_ok(), "{question}: {answer:?}"),
            }
        }
        let open = &self.answers[stable];
        assert!(
            format!("{open:?}").contains("Unstable"),
            "{open:?}: no offset is pending"
        );
    }

    /// Whether the last record of `last` is gone, and nothing else: it is answered as if it had never been.
    pub fn without_last(&self) -> Seen {
        let mut seen = self.clone();
        seen.answers.remove("last-0: offset 1");
        seen.answers.insert(
            "last-0: start, last stable and end".to_owned(),
            Ok("0 1 1".to_owned()),
        );
        seen
    }

    pub fn compare(&self, now: &Seen) -> Difference {
        let mut difference = Difference::default();
        // A partition that is refused as a whole has no answers of its own.
        let refused: BTreeSet<&str> = now
            .answers
            .iter()
            .filter(|(_, answer)| answer.is_err())
            .map(|(question, _)| question.as_str())
            .collect();
        for (question, before) in &self.answers {
            let partition = question.split(':').next().unwrap_or(question);
            match now.answers.get(question) {
                Some(answer) if answer == before => {}
                Some(Err(code)) => {
                    difference.refused.insert(question.clone(), *code);
                }
                None if refused.contains(partition) => {
                    if let Some(Err(code)) = now.answers.get(partition) {
                        difference.refused.insert(partition.to_owned(), *code);
                    }
                }
                answer => {
                    difference
                        .wrong
                        .push(format!("{question} is {answer:?}, was {before:?}"));
                }
            }
        }
        for (question, answer) in &now.answers {
            if !self.answers.contains_key(question) && answer.is_ok() {
                difference
                    .wrong
                    .push(format!("{question} is {answer:?}, was never there"));
            }
        }
        difference
    }
}

/// The record of an offset; compaction may have taken it.
fn record(partition: &LocalPartition, offset: i64) -> Answer {
    let read = partition.read(offset, 1, Isolation::Uncommitted)?;
    for batch in batches(&read.bytes) {
        let batch = batch.map_err(|_| ErrorCode::InvalidRecord)?;
        batch
            .validate(1 << 20)
            .map_err(|_| ErrorCode::InvalidRecord)?;
        let is_control = batch.header().is_control();
        let records = batch
            .records(1 << 20)
            .map_err(|_| ErrorCode::InvalidRecord)?;
        for record in records.iter() {
            let record = record.map_err(|_| ErrorCode::InvalidRecord)?;
            if record.offset == offset {
                let text = |bytes: Option<&[u8]>| {
                    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                };
                let epoch = batch.header().leader_epoch;
                let (key, value) = (text(record.key), text(record.value));
                return Ok(format!(
                    "{key:?} {value:?} at {} in {epoch}, control: {is_control}",
                    record.timestamp
                ));
            }
        }
    }
    Ok("none".to_owned())
}

/// The aborted transactions of the whole partition.
fn aborted(partition: &LocalPartition) -> Answer {
    let offsets = partition.offsets();
    let mut found = BTreeSet::new();
    let mut next = offsets.log_start;
    while next < offsets.last_stable {
        let read = partition.read(next, 1, Isolation::Committed)?;
        found.extend(
            read.aborted
                .iter()
                .map(|one| (one.first_offset, one.producer_id)),
        );
        let Some(end) = batches(&read.bytes)
            .filter_map(Result::ok)
            .map(|batch| batch.header().next_offset())
            .last()
        else {
            break;
        };
        next = end;
    }
    Ok(format!("{found:?}"))
}
