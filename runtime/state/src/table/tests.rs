use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || (0..400u32).prop_map(|n| format!("{}", n * n).into_bytes());
    let length = prop_oneof![8 => 0..40usize, 2 => 0..3_000usize, 1 => 7_000..20_000usize];
    let value = (any::<u8>(), length).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        600 => (key(), value).prop_map(|(key, value)| Step::Put(key, value)),
        400 => key().prop_map(Step::Remove),
        1 => Just(Step::Clear),
    ]
}

fn check(table: &Table, model: &Model) {
    assert_eq!(table.len(), model.len());
    let mut walked = Model::new();
    let mut cursor = Cursor::default();
    let mut walk = |entry: Entry<'_>| {
        let before = walked.insert(entry.key.to_vec(), entry.value.to_vec());
        assert_eq!(before, None, "an entry is met once");
    };
    while table.walk(&mut cursor, &mut walk) {}
    assert_eq!(&walked, model);
    for (key, value) in model {
        assert_eq!(table.get(key).unwrap().value, value);
    }
}

fn pairs<'t>(entries: impl Iterator<Item = Entry<'t>>) -> Vec<(Vec<u8>, Vec<u8>)> {
    entries
        .map(|entry| (entry.key.to_vec(), entry.value.to_vec()))
        .collect()
}

proptest! {
    #[test]
    fn a_table_holds_what_a_map_holds(
        steps in proptest::collection::vec(step(), 0..1_500),
        bounds in proptest::collection::vec((0..400u32, 0..400u32, 0..3u8, 0..3u8), 8),
    ) {
        let mut model = Model::new();
        let mut tables = [Table::new(), Table::ordered()];
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    for table in &mut tables {
                        table.put(&Entry::new(&key, &value));
                    }
                    model.insert(key, value);
                }
                Step::Clear => {
                    tables.iter_mut().for_each(Table::clear);
                    model.clear();
                }
                Step::Remove(key) => {
                    let was_there = model.remove(&key).is_some();
                    for table in &mut tables {
                        prop_assert_eq!(table.remove(&key), was_there);
                        prop_assert_eq!(table.get(&key), None);
                    }
                }
            }
        }
        for table in &tables {
            check(table, &model);
        }
        let ordered = &tables[1];
        for (from, to, kind_from, kind_to) in bounds {
            let [from, to] = [from, to].map(|n| format!("{}", n * n).into_bytes());
            let bound = |kind, key| match kind {
                0 => Bound::Unbounded,
                1 => Bound::Included(key),
                _ => Bound::Excluded(key),
            };
            let (low, high) = (bound(kind_from, &from[..]), bound(kind_to, &to[..]));
            let wanted: Vec<_> = model
                .iter()
                .filter(|(key, _)| std::ops::RangeBounds::contains(&(low, high), &key[..]))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            prop_assert_eq!(pairs(ordered.range(low, high)), &wanted[..]);
            let mut backwards = pairs(ordered.range(low, high).rev());
            backwards.reverse();
            prop_assert_eq!(backwards, wanted);
        }
    }

    #[test]
    fn a_walk_meets_every_entry_that_was_not_touched(
        touched in proptest::collection::vec((0..2_000u32, 0..300usize), 1..3_000),
        between in 1..200usize,
    ) {
        let mut table = Table::new();
        for n in 0..2_000u32 {
            table.put(&Entry::new(&n.to_be_bytes(), &vec![1; n as usize % 100]));
        }
        let mut met = std::collections::BTreeSet::new();
        let mut cursor = Cursor::default();
        let mut changes = touched.iter();
        while table.walk(&mut cursor, |entry| { met.insert(entry.key.to_vec()); }) {
            for (n, len) in changes.by_ref().take(between) {
                match len % 3 {
                    0 => { table.remove(&n.to_be_bytes()); }
                    _ => table.put(&Entry::new(&n.to_be_bytes(), &vec![2; *len])),
                }
            }
        }
        let touched: std::collections::BTreeSet<_> = touched.iter().map(|(n, _)| *n).collect();
        for n in (0..2_000u32).filter(|n| !touched.contains(n)) {
            prop_assert!(met.contains(&n.to_be_bytes()[..]), "{} was not met", n);
        }
    }
}

#[test]
fn a_million_small_entries_fit_in_80_megabytes() {
    for (mut table, most) in [(Table::new(), 80_000_000), (Table::ordered(), 72_000_000)] {
        for n in 0..1_000_000u64 {
            let key = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            table.put(&Entry::new(&key.to_be_bytes(), &n.to_be_bytes()));
            if n > 10_000 {
                // 24 bytes of key and value, and 48.
                assert!(
                    table.bytes() as u64 <= n * 72,
                    "{} bytes of {n}",
                    table.bytes()
                );
            }
        }
        assert!(table.bytes() < most, "{} bytes", table.bytes());
    }
}
