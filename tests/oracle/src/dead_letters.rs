//! Dead letters: what their headers say must lead back to the record that was refused.

use std::collections::HashMap;

use anyhow::{Result, bail};

use crate::Record;

/// Headers of a dead letter that name where the refused record stands.
const TOPIC: &str = "millstream.dead.topic";
const PARTITION: &str = "millstream.dead.partition";
/// The one whose value cannot be foretold: offsets depend on where transactions ended.
pub const OFFSET: &str = "millstream.dead.offset";

/// How many wrong dead letters a message shows.
const SHOWN_MAX: usize = 10;

/// Checks that each dead letter names a record of `inputs` (with their offsets) that has its key, value and timestamp,
/// and that no two name the same one.
pub fn check_origins(dead_letters: &[Record], inputs: &[(i64, Record)]) -> Result<()> {
    let mut unclaimed: HashMap<_, _> = inputs
        .iter()
        .map(|(offset, record)| ((record.topic.as_str(), record.partition, *offset), record))
        .collect();
    let mut wrong = Vec::new();
    for letter in dead_letters {
        let origin = origin_of(letter).and_then(|place| unclaimed.remove(&place));
        let is_same = origin.is_some_and(|origin| {
            (&origin.key, &origin.value, origin.timestamp)
                == (&letter.key, &letter.value, letter.timestamp)
        });
        if !is_same {
            wrong.push(letter.to_string());
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let count = wrong.len();
    wrong.truncate(SHOWN_MAX);
    bail!(
        "{count} of {} dead letters do not lead to the record that was refused:\n  {}",
        dead_letters.len(),
        wrong.join("\n  ")
    )
}

/// Topic, partition and offset as the headers give them.
fn origin_of(letter: &Record) -> Option<(&str, i32, i64)> {
    let text = |name| std::str::from_utf8(letter.header(name)?).ok();
    Some((
        text(TOPIC)?,
        text(PARTITION)?.parse().ok()?,
        text(OFFSET)?.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(partition: i32, value: &str) -> Record {
        Record {
            topic: "in".to_owned(),
            partition,
            key: Some(b"k".to_vec()),
            value: Some(value.as_bytes().to_vec()),
            ..Record::default()
        }
    }

    fn letter(of: &Record, offset: i64) -> Record {
        let header = |name: &str, value: String| (name.as_bytes().to_vec(), Some(value.into()));
        Record {
            topic: "dead".to_owned(),
            headers: vec![
                header(TOPIC, of.topic.clone()),
                header(PARTITION, of.partition.to_string()),
                header(OFFSET, offset.to_string()),
            ],
            ..of.clone()
        }
    }

    #[test]
    fn a_dead_letter_must_lead_to_its_own_record() {
        let inputs = [(3, input(0, "a")), (3, input(1, "b")), (5, input(1, "b"))];
        let good = [letter(&inputs[0].1, 3), letter(&inputs[2].1, 5)];
        check_origins(&good, &inputs).unwrap();
        let wrong_offset = [letter(&inputs[0].1, 5)];
        let wrong_partition = [letter(&inputs[1].1, 3), letter(&input(0, "b"), 3)];
        let same_twice = [letter(&inputs[1].1, 3), letter(&inputs[1].1, 3)];
        let without_headers = [input(0, "a")];
        for letters in [
            &wrong_offset[..],
            &wrong_partition,
            &same_twice,
            &without_headers,
        ] {
            assert!(check_origins(letters, &inputs).is_err(), "{letters:?}");
        }
    }
}
