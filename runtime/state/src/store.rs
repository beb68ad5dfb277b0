//! A store as its task sees it: the table, and before it the open transaction's changes.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::Bound;

use crate::overlay::{Change, Overlay};
use crate::table::{Cursor, Entry, Table};

#[derive(Debug)]
pub struct Store {
    table: Table,
    overlay: Overlay,
    /// How far the search for expired entries has come.
    sweep: Cursor,
}

impl Store {
    /// Over a table that is empty or was restored.
    pub fn new(table: Table) -> Self {
        Self {
            overlay: Overlay::new(table.is_ordered()),
            table,
            sweep: Cursor::default(),
        }
    }

    /// As of the last commit.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What the open transaction changed.
    pub fn changes(&self) -> &Overlay {
        &self.overlay
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.overlay.bytes()
    }

    /// What is kept under a key at this stream time, with the open transaction's changes.
    pub fn get(&self, key: &[u8], stream_time: i64) -> Option<Entry<'_>> {
        let entry = match self.overlay.get(key) {
            Some(Change::Put(entry)) => Some(entry),
            Some(Change::Remove(_)) => None,
            None => self.table.get(key),
        };
        entry.filter(|entry| !entry.is_expired(stream_time))
    }

    pub fn put(&mut self, entry: &Entry<'_>) {
        self.overlay.put(entry);
    }

    pub fn remove(&mut self, key: &[u8]) {
        self.overlay.remove(key);
    }

    /// The entries of an ordered store between two keys at this stream time, with the open transaction's changes.
    ///
    /// # Panics
    ///
    /// When the store is not ordered.
    pub fn range<'s>(
        &'s self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        stream_time: i64,
    ) -> impl Iterator<Item = Entry<'s>> {
        let table = self.table.range(from, to).map(Change::Put).peekable();
        let changes = self.overlay.range(from, to).peekable();
        let order = |one: &[u8], other: &[u8]| one.cmp(other);
        Merged {
            table,
            changes,
            order,
        }
        .filter(move |entry| !entry.is_expired(stream_time))
    }

    /// The same from the end.
    ///
    /// # Panics
    ///
    /// When the store is not ordered.
    pub fn range_from_end<'s>(
        &'s self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        stream_time: i64,
    ) -> impl Iterator<Item = Entry<'s>> {
        let table = self.table.range(from, to).rev().map(Change::Put).peekable();
        let changes = self.overlay.range(from, to).rev().peekable();
        let order = |one: &[u8], other: &[u8]| other.cmp(one);
        Merged {
            table,
            changes,
            order,
        }
        .filter(move |entry| !entry.is_expired(stream_time))
    }

    /// Removes, in the open transaction, expired ones among the next few thousand entries.
    pub fn sweep(&mut self, stream_time: i64) {
        let (overlay, mut expired) = (&self.overlay, Vec::new());
        let more = self.table.walk(&mut self.sweep, |entry| {
            // A key that the transaction changed has what it needs.
            if entry.is_expired(stream_time) && overlay.get(entry.key).is_none() {
                expired.push(entry.key.to_vec());
            }
        });
        if !more {
            self.sweep = Cursor::default();
        }
        for key in expired {
            self.overlay.remove(&key);
        }
    }

    /// The transaction was aborted.
    pub fn abort(&mut self) {
        self.overlay.clear();
    }

    /// The transaction was committed: brings some thousands of its changes into the table, from the cursor on, which begins
    /// at its default. False when that was all; then the changes are forgotten.
    ///
    /// In between the table is neither as before nor as after. Whoever breaks off throws the store away.
    pub fn merge(&mut self, cursor: &mut Cursor) -> bool {
        let table = &mut self.table;
        let more = self.overlay.walk(cursor, |change| change.apply(table));
        if !more {
            self.overlay.clear();
        }
        more
    }
}

/// Entries of the table and changes before them, both in one order of keys.
struct Merged<T: Iterator, C: Iterator, O> {
    table: Peekable<T>,
    changes: Peekable<C>,
    order: O,
}

impl<'s, T, C, O> Iterator for Merged<T, C, O>
where
    T: Iterator<Item = Change<'s>>,
    C: Iterator<Item = Change<'s>>,
    O: Fn(&[u8], &[u8]) -> Ordering,
{
    type Item = Entry<'s>;

    fn next(&mut self) -> Option<Entry<'s>> {
        loop {
            let first = match (self.table.peek(), self.changes.peek()) {
                (Some(entry), Some(change)) => (self.order)(entry.key(), change.key()),
                (None, _) => Ordering::Greater,
                (_, None) => Ordering::Less,
            };
            let change = match first {
                Ordering::Less => self.table.next(),
                Ordering::Greater => self.changes.next(),
                Ordering::Equal => {
                    self.table.next();
                    self.changes.next()
                }
            };
            match change? {
                Change::Put(entry) => return Some(entry),
                Change::Remove(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const ALL: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);

    fn commit(store: &mut Store) {
        let mut cursor = Cursor::default();
        while store.merge(&mut cursor) {}
    }

    fn keys<'s>(entries: impl Iterator<Item = Entry<'s>>) -> Vec<Vec<u8>> {
        entries.map(|entry| entry.key.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn a_range_is_what_a_reader_of_each_key_sees(
            committed in proptest::collection::btree_map(0..200u8, proptest::option::of(0..10i64), 0..100),
            changed in proptest::collection::btree_map(0..200u8, proptest::option::of(proptest::option::of(0..10i64)), 0..60),
            bounds in (0..200u8, 0..200u8),
            stream_time in 0..12i64,
        ) {
            let mut store = Store::new(Table::ordered());
            let mut model = BTreeMap::new();
            let mut put = |store: &mut Store, key: u8, expires: Option<i64>| {
                store.put(&Entry { expires, ..Entry::new(&[key], b"value") });
                model.insert(key, expires);
            };
            for (key, expires) in &committed {
                put(&mut store, *key, *expires);
            }
            commit(&mut store);
            let mut gone = Vec::new();
            for (key, change) in &changed {
                match change {
                    Some(expires) => put(&mut store, *key, *expires),
                    None => {
                        store.remove(&[*key]);
                        gone.push(*key);
                    }
                }
            }
            model.retain(|key, expires| !gone.contains(key) && expires.is_none_or(|at| stream_time < at));
            let (from, to) = ([bounds.0], [bounds.1]);
            let range = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
            let mut expected: Vec<Vec<u8>> = model
                .keys()
                .filter(|key| bounds.0 <= **key && **key < bounds.1)
                .map(|key| vec![*key])
                .collect();
            prop_assert_eq!(keys(store.range(range.0, range.1, stream_time)), &expected[..]);
            expected.reverse();
            prop_assert_eq!(keys(store.range_from_end(range.0, range.1, stream_time)), expected);
            for key in 0..200u8 {
                prop_assert_eq!(store.get(&[key], stream_time).is_some(), model.contains_key(&key));
            }
        }
    }

    #[test]
    fn a_sweep_removes_what_has_expired_and_nothing_that_was_put_since() {
        let mut store = Store::new(Table::ordered());
        for key in 0..100u8 {
            store.put(&Entry {
                expires: Some(i64::from(key)),
                ..Entry::new(&[key], b"old")
            });
        }
        commit(&mut store);
        store.put(&Entry {
            expires: Some(90),
            ..Entry::new(&[3], b"new")
        });
        store.sweep(50);
        // It comes again.
        store.sweep(50);
        store.sweep(50);
        let left: Vec<_> = [3]
            .into_iter()
            .chain(51..100u8)
            .map(|key| vec![key])
            .collect();
        assert_eq!(keys(store.range(ALL.0, ALL.1, 50)), left);
        assert_eq!(store.changes().len(), 51, "50 are removed, one was put");
        commit(&mut store);
        assert_eq!(store.table().len(), 50);
    }

    #[test]
    fn an_abort_leaves_what_was_committed() {
        let mut store = Store::new(Table::new());
        store.put(&Entry::new(b"key", b"committed"));
        commit(&mut store);
        store.put(&Entry::new(b"key", b"open"));
        store.remove(b"key");
        assert_eq!(store.get(b"key", 0), None);
        store.abort();
        assert_eq!(store.get(b"key", 0).unwrap().value, b"committed");
    }
}
