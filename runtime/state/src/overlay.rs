//! What the open transaction changed in a store, not yet committed.

use std::ops::Bound;

use crate::table::{Cursor, Entry, Table};

/// The last write of each key. It is read before the table; an abort clears it, a commit merges it.
#[derive(Debug)]
pub struct Overlay {
    /// Entries as they were put; a removal is an entry of schema [`REMOVED`].
    changes: Table,
    /// Keys and values, all in all, the overwritten ones too.
    written: usize,
}

/// No store has this schema: theirs begin at 1.
const REMOVED: u32 = 0;

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'o> {
    Put(Entry<'o>),
    Remove(&'o [u8]),
}

impl<'o> Change<'o> {
    pub fn key(&self) -> &'o [u8] {
        match self {
            Change::Put(entry) => entry.key,
            Change::Remove(key) => key,
        }
    }

    /// Does to the table what happened.
    pub fn apply(&self, table: &mut Table) {
        match self {
            Change::Put(entry) => table.put(entry),
            Change::Remove(key) => {
                table.remove(key);
            }
        }
    }

    fn of(entry: Entry<'o>) -> Self {
        match entry.schema {
            REMOVED => Change::Remove(entry.key),
            _ => Change::Put(entry),
        }
    }
}

impl Overlay {
    /// Of a store that is `ordered` or not.
    pub fn new(ordered: bool) -> Self {
        let changes = if ordered {
            Table::ordered()
        } else {
            Table::new()
        };
        Self {
            changes,
            written: 0,
        }
    }

    /// Keys that changed.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of keys and values that were written, the overwritten ones too.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.changes.bytes()
    }

    /// What the transaction did to a key, if anything.
    pub fn get(&self, key: &[u8]) -> Option<Change<'_>> {
        self.changes.get(key).map(Change::of)
    }

    /// # Panics
    ///
    /// When the entry has schema 0.
    pub fn put(&mut self, entry: &Entry<'_>) {
        assert_ne!(entry.schema, REMOVED, "schemas begin at 1");
        self.written += entry.key.len() + entry.value.len();
        self.changes.put(entry);
    }

    pub fn remove(&mut self, key: &[u8]) {
        self.written += key.len();
        self.changes.put(&Entry {
            schema: REMOVED,
            ..Entry::new(key, &[])
        });
    }

    /// The changes of an ordered store between two keys, in order; from both ends.
    ///
    /// # Panics
    ///
    /// When the store is not ordered.
    pub fn range<'o>(
        &'o self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Change<'o>> {
        self.changes.range(from, to).map(Change::of)
    }

    /// Shows `each` some of the changes, and moves the cursor behind them. False at the end.
    pub fn walk(&self, cursor: &mut Cursor, mut each: impl FnMut(Change<'_>)) -> bool {
        self.changes.walk(cursor, |entry| each(Change::of(entry)))
    }

    /// Forgets all changes: the transaction was aborted, or its changes are merged.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.written = 0;
    }
}
