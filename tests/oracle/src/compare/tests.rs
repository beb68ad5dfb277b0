//! The test of the test: any single change to a sound result makes the comparison fail, and says what changed.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn record(key: Option<u8>, partition: i32, number: i64) -> Record {
    Record {
        topic: "t".into(),
        partition,
        key: key.map(|key| vec![b'a' + key]),
        value: Some(number.to_string().into_bytes()),
        headers: vec![(b"h".to_vec(), None)],
        timestamp: number,
    }
}

/// Records of few keys, some equal to others, key and partition fixed to each other as a partitioner does.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (proptest::option::of(0..4_u8), 0..6_i64, 0..2_i32);
    proptest::collection::vec(one, 1..40).prop_map(|drawn| {
        let build = |(key, number, random): (Option<u8>, i64, i32)| {
            let partition = key.map_or(random, |key| i32::from(key % 2));
            record(key, partition, number)
        };
        drawn.into_iter().map(build).collect()
    })
}

/// The same records with partitions interleaved in another way, which no consumer can rely on.
fn by_partition(records: &[Record]) -> Vec<Record> {
    let mut sorted = records.to_vec();
    sorted.sort_by_key(|record| std::cmp::Reverse(record.partition));
    sorted
}

const ORDERS: [Order; 3] = [Order::PerKey, Order::PerPartition, Order::Any];

fn compare(order: Order, expected: &[Record], found: &[Record]) -> Result<(), Box<Difference>> {
    Comparison::new().order(order).compare(expected, found)
}

proptest! {
    #[test]
    fn a_result_equals_itself_however_partitions_are_interleaved(records in records()) {
        for order in ORDERS {
            prop_assert_eq!(compare(order, &records, &records), Ok(()));
            prop_assert_eq!(compare(order, &records, &by_partition(&records)), Ok(()));
        }
    }

    #[test]
    fn a_dropped_record_is_missing(records in records(), at: Index) {
        let mut found = records.clone();
        let dropped = found.remove(at.index(records.len()));
        for order in ORDERS {
            let difference = compare(order, &records, &found).unwrap_err();
            prop_assert_eq!((difference.missing, difference.extra), (1, 0));
            prop_assert_eq!(&difference.missing_samples, std::slice::from_ref(&dropped));
        }
        prop_assert_eq!(compare(Order::Any, &records, &found).unwrap_err().misplaced, 0);
    }

    #[test]
    fn a_record_delivered_twice_is_extra(records in records(), from: Index, to: Index) {
        let copied = records[from.index(records.len())].clone();
        let mut found = records.clone();
        found.insert(to.index(records.len() + 1), copied.clone());
        for order in ORDERS {
            let difference = compare(order, &records, &found).unwrap_err();
            prop_assert_eq!((difference.missing, difference.extra), (0, 1));
            prop_assert_eq!(&difference.extra_samples, std::slice::from_ref(&copied));
        }
    }

    #[test]
    fn a_foreign_record_is_extra(records in records(), at: Index) {
        let foreign = record(None, 0, 99);
        let mut found = records.clone();
        found.insert(at.index(records.len() + 1), foreign.clone());
        for order in ORDERS {
            let difference = compare(order, &records, &found).unwrap_err();
            prop_assert_eq!((difference.missing, difference.extra, difference.misplaced), (0, 1, 0));
            prop_assert_eq!(&difference.extra_samples, std::slice::from_ref(&foreign));
        }
    }

    #[test]
    fn a_changed_field_is_one_missing_and_one_extra(records in records(), at: Index, field in 0..6) {
        let at = at.index(records.len());
        let mut found = records.clone();
        let changed = &mut found[at];
        match field {
            0 => changed.topic.push('x'),
            1 => changed.partition += 2,
            2 => changed.key = Some(b"another".to_vec()),
            3 => changed.value = None,
            4 => changed.headers.push((b"h".to_vec(), None)),
            _ => changed.timestamp += 1_000,
        }
        for order in ORDERS {
            let difference = compare(order, &records, &found).unwrap_err();
            prop_assert_eq!((difference.missing, difference.extra), (1, 1));
        }
    }

    #[test]
    fn two_swapped_records_are_out_of_order(records in records(), left: Index, right: Index) {
        let (left, right) = (left.index(records.len()), right.index(records.len()));
        let mut found = records.clone();
        found.swap(left, right);
        let (a, b) = (&records[left], &records[right]);
        prop_assert_eq!(compare(Order::Any, &records, &found), Ok(()));
        // With the same group and different content, the swap shows by itself.
        let same_key = (a.partition, &a.key) == (b.partition, &b.key);
        for (order, shows) in [(Order::PerKey, same_key), (Order::PerPartition, a.partition == b.partition)] {
            let result = compare(order, &records, &found);
            if shows && a != b {
                let difference = result.unwrap_err();
                prop_assert_eq!((difference.missing, difference.extra), (0, 0));
                prop_assert_eq!((difference.misplaced, difference.misplaced_groups), (2, 1));
            } else if a == b {
                prop_assert_eq!(result, Ok(()));
            }
        }
    }
}

#[test]
fn keys_of_one_partition_may_overtake_each_other_but_not_themselves() {
    let expected = [
        record(Some(0), 0, 1),
        record(Some(2), 0, 2),
        record(Some(0), 0, 3),
    ];
    let overtaken = [
        expected[1].clone(),
        expected[0].clone(),
        expected[2].clone(),
    ];
    assert_eq!(compare(Order::PerKey, &expected, &overtaken), Ok(()));
    assert_eq!(
        compare(Order::PerPartition, &expected, &overtaken)
            .unwrap_err()
            .misplaced,
        2
    );
    let reversed = [
        expected[2].clone(),
        expected[1].clone(),
        expected[0].clone(),
    ];
    assert_eq!(
        compare(Order::PerKey, &expected, &reversed)
            .unwrap_err()
            .misplaced,
        2
    );
}

#[test]
fn a_lost_record_does_not_make_those_behind_it_misplaced() {
    let expected: Vec<_> = (0..100).map(|number| record(Some(0), 0, number)).collect();
    let difference = compare(Order::PerPartition, &expected, &expected[1..]).unwrap_err();
    assert_eq!((difference.missing, difference.misplaced), (1, 0));
}

#[test]
fn headers_are_compared_but_for_values_that_are_free() {
    let expected = [record(Some(0), 0, 1)];
    let mut found = expected.clone();
    found[0].headers[0].1 = Some(b"another".to_vec());
    assert!(compare(Order::PerKey, &expected, &found).is_err());
    let tolerant = |topic, header, found: &[Record]| {
        Comparison::new()
            .any_value_of(topic, header)
            .compare(&expected, found)
    };
    assert_eq!(tolerant("t", "h", &found), Ok(()));
    assert!(tolerant("other", "h", &found).is_err());
    assert!(tolerant("t", "other", &found).is_err());
    found[0].headers.clear();
    assert!(
        tolerant("t", "h", &found).is_err(),
        "the header itself must be there"
    );
}

#[test]
fn the_report_shows_the_first_differences_and_counts_the_rest() {
    let expected: Vec<_> = (0..30).map(|number| record(Some(0), 0, number)).collect();
    let mut found = expected[5..].to_vec();
    found.swap(0, 24);
    found.push(record(None, 1, 77));
    let difference = Comparison::new()
        .samples(2)
        .compare(&expected, &found)
        .unwrap_err();
    let report = difference.to_string();
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(
        lines,
        [
            "30 records expected, 26 found: 5 missing, 1 extra, 2 out of order in 1 keys or partitions",
            r#"  missing: t-0 @0 key="a" value="0" h=null"#,
            r#"  missing: t-0 @1 key="a" value="1" h=null"#,
            "  … and 3 more missing",
            r#"  extra: t-1 @77 key=null value="77" h=null"#,
            r#"  out of order: t-0, key "a", from record 0 on"#,
            r#"    expected: t-0 @5 key="a" value="5" h=null"#,
            r#"    found:    t-0 @29 key="a" value="29" h=null"#,
        ]
    );
}
