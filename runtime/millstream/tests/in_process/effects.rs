//! What the stage under test does with its input, and the judgement over what readers then see.

use std::collections::BTreeMap;
use std::fmt::Debug;

use millstream_pipeline::task::partitioner::partition_for_key;

/// Partitions of the input, and so of the outputs.
pub const PARTITIONS: i32 = 2;
/// Everything the stage writes.
pub const TOPICS: [&str; 3] = ["left", "right", "dead"];

/// One record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub offset: i64,
    pub timestamp: i64,
    pub key: String,
    pub value: String,
}

/// Something for each record of each topic and partition, in order.
pub type ByPlace<R> = BTreeMap<(String, i32), Vec<R>>;

/// The records as readers see them.
pub type Outputs = ByPlace<Seen>;

/// The input record at an offset: its key, its value and its timestamp (ms) tell where it stands.
pub fn input(partition: i32, offset: i64) -> Seen {
    Seen {
        offset,
        timestamp: 1_700_000_000_000 + offset,
        key: format!("k{}", (offset * 7 + i64::from(partition)) % 11),
        value: format!("{partition}:{offset}"),
    }
}

/// Where a record with this key and value goes: refused, to one of two outputs by the key, or now and then to both.
pub fn route(key: &str, value: &str) -> Vec<&'static str> {
    let (_, number) = origin(value).expect("values are made by `input`");
    if number % 7 == 3 {
        return vec!["dead"];
    }
    if number % 5 == 0 {
        return vec!["left", "right"];
    }
    match key.bytes().next_back().is_some_and(|last| last % 2 == 0) {
        true => vec!["left"],
        false => vec!["right"],
    }
}

/// The output partition: as Kafka's default partitioner for outputs, the input's own for dead letters.
fn place(topic: &str, partition: i32, key: &str) -> i32 {
    match topic {
        "dead" => partition,
        _ => partition_for_key(key.as_bytes(), PARTITIONS),
    }
}

/// Input partition and offset that a value names.
fn origin(value: &str) -> Option<(i32, i64)> {
    let (partition, offset) = value.split_once(':')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

/// Are the outputs the effects of the inputs before these positions, each once, and no others? Records of one input
/// partition must stand in order wherever they share an output partition.
pub fn check_effects(outputs: &Outputs, positions: &[i64]) -> Result<(), String> {
    let mut balance: BTreeMap<(String, i32, String, String, i64), i64> = BTreeMap::new();
    for (partition, position) in (0..).zip(positions) {
        for offset in 0..*position {
            let Seen {
                key,
                value,
                timestamp,
                ..
            } = input(partition, offset);
            for topic in route(&key, &value) {
                let place = place(topic, partition, &key);
                let record = (
                    topic.to_owned(),
                    place,
                    key.clone(),
                    value.clone(),
                    timestamp,
                );
                *balance.entry(record).or_default() -= 1;
            }
        }
    }
    for ((topic, partition), records) in outputs {
        for record in records {
            let Seen {
                key,
                value,
                timestamp,
                ..
            } = record.clone();
            *balance
                .entry((topic.clone(), *partition, key, value, timestamp))
                .or_default() += 1;
        }
    }
    for (record, surplus) in balance {
        match surplus {
            0 => {}
            ..0 => return Err(format!("lost at positions {positions:?}: {record:?}")),
            1.. => {
                return Err(format!(
                    "{surplus} too many at positions {positions:?}: {record:?}"
                ));
            }
        }
    }
    check_order(outputs)
}

fn check_order(outputs: &Outputs) -> Result<(), String> {
    for (place, records) in outputs {
        let mut newest: BTreeMap<i32, i64> = BTreeMap::new();
        for record in records {
            let (partition, offset) =
                origin(&record.value).ok_or(format!("{place:?}: {record:?}"))?;
            if newest
                .insert(partition, offset)
                .is_some_and(|before| before >= offset)
            {
                return Err(format!("{place:?}: out of order: {record:?}"));
            }
        }
    }
    Ok(())
}

/// Is everything that readers saw still there, at the same offsets, with nothing in between?
pub fn check_kept<R: PartialEq + Debug>(
    before: &ByPlace<R>,
    after: &ByPlace<R>,
) -> Result<(), String> {
    for (place, records) in before {
        let now = after.get(place).map_or(&[][..], Vec::as_slice);
        if let Some(lost) =
            (0..records.len()).find(|&index| now.get(index) != Some(&records[index]))
        {
            return Err(format!(
                "{place:?}: readers saw {:?}, and now {:?}",
                records[lost],
                now.get(lost)
            ));
        }
    }
    Ok(())
}

/// The outputs of an undisturbed run up to these positions.
fn undisturbed(positions: &[i64]) -> Outputs {
    let mut outputs = Outputs::new();
    for (partition, position) in (0..).zip(positions) {
        for offset in 0..*position {
            let record = input(partition, offset);
            for topic in route(&record.key, &record.value) {
                let place = place(topic, partition, &record.key);
                let records = outputs.entry((topic.to_owned(), place)).or_default();
                let offset = records.len() as i64;
                records.push(Seen {
                    offset,
                    ..record.clone()
                });
            }
        }
    }
    outputs
}

#[test]
fn the_judgement_finds_what_is_lost_doubled_torn_or_out_of_order() {
    let positions = [40, 33];
    let sound = undisturbed(&positions);
    assert_eq!(check_effects(&sound, &positions), Ok(()));
    assert_eq!(sound.len(), TOPICS.len() * PARTITIONS as usize);
    // The offset does not agree with the outputs, either way.
    for wrong in [[41, 33], [39, 33], [40, 32], [40, 34]] {
        assert!(check_effects(&sound, &wrong).is_err(), "{wrong:?}");
    }
    for (place, records) in &sound {
        for (index, record) in records.iter().enumerate() {
            let mut lost = sound.clone();
            lost.get_mut(place).unwrap().remove(index);
            let complaint = check_effects(&lost, &positions).unwrap_err();
            assert!(complaint.starts_with("lost"), "{complaint}");

            let mut doubled = sound.clone();
            doubled.get_mut(place).unwrap().push(record.clone());
            let complaint = check_effects(&doubled, &positions).unwrap_err();
            assert!(complaint.starts_with("1 too many"), "{complaint}");

            let mut changed = sound.clone();
            changed.get_mut(place).unwrap()[index].timestamp += 1;
            assert!(check_effects(&changed, &positions).is_err());
        }
    }
    let mut swapped = sound.clone();
    let records = swapped.get_mut(&("left".to_owned(), 0)).unwrap();
    let first = records[0].value.split(':').next().unwrap().to_owned();
    let other = (1..records.len())
        .find(|&index| records[index].value.starts_with(&format!("{first}:")))
        .unwrap();
    records.swap(0, other);
    assert!(
        check_effects(&swapped, &positions)
            .unwrap_err()
            .contains("out of order")
    );
}

#[test]
fn the_judgement_finds_what_readers_saw_and_see_no_more() {
    let before = undisturbed(&[20, 20]);
    let mut after = before.clone();
    let place = ("right".to_owned(), 1);
    after.get_mut(&place).unwrap().push(input(0, 1_000));
    assert_eq!(check_kept(&before, &after), Ok(()));
    assert!(check_kept(&after, &before).is_err());
    after.get_mut(&place).unwrap().remove(0);
    assert!(check_kept(&before, &after).is_err());
    after.remove(&place);
    assert!(check_kept(&before, &after).is_err());
}
