//! A snapshot while it is taken: slices of the tables, and between them what is committed meanwhile.

use super::block::BlockWriter;
use super::footer::Footer;
use crate::overlay::{Change, Overlay};
use crate::table::{Cursor, Table};
use crate::tag::Tag;

/// Between two commits [`Self::slice`] is called, as often as there is time. After each commit, when its changes are all in the
/// tables, [`Self::committed`]. When the slices are done, the next commit ends the file, with its tag.
#[derive(Debug, Default)]
pub struct Taking {
    blocks: BlockWriter,
    changes: u64,
    /// The store of the next slice, and where in it.
    store: usize,
    cursor: Cursor,
}

impl Taking {
    pub fn begin() -> Self {
        Self::default()
    }

    /// Writes the next entries of the tables, some thousands. False when there are none left.
    pub fn slice(&mut self, tables: &[Table]) -> bool {
        let (blocks, changes, store) = (&mut self.blocks, &mut self.changes, self.store);
        let Some(table) = tables.get(store) else {
            return false;
        };
        let more = table.walk(&mut self.cursor, |entry| {
            blocks.push(store, &Change::Put(entry));
            *changes += 1;
        });
        if !more {
            self.store += 1;
            self.cursor = Cursor::default();
        }
        self.store < tables.len()
    }

    /// Writes what a commit changed in a store, whether slices have met it already or will.
    pub fn committed(&mut self, store: usize, overlay: &Overlay) {
        let mut cursor = Cursor::default();
        let (blocks, changes) = (&mut self.blocks, &mut self.changes);
        while overlay.walk(&mut cursor, |change| {
            blocks.push(store, &change);
            *changes += 1;
        }) {}
    }

    /// Ends the file: `tag` is the commit's that was written last.
    pub fn end(&mut self, tag: Tag) {
        let footer = Footer {
            tag,
            changes: self.changes,
        };
        self.blocks.push_footer(&footer.encode());
    }

    /// The bytes since the last time, to be appended to the file.
    pub fn take(&mut self) -> Vec<u8> {
        self.blocks.take()
    }
}
