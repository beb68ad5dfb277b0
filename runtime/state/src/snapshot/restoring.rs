//! Tables out of a snapshot, block by block.

use super::block::{Block, BlockError, next_change};
use super::fields::Reader;
use super::footer::Footer;
use crate::table::Table;
use crate::tag::Tag;

/// The tables as far as they are read. Nobody sees them before the footer.
#[derive(Debug)]
pub struct Restoring {
    tables: Vec<Table>,
    blocks: u32,
    changes: u64,
    tag: Option<Tag>,
}

/// The tables of a whole snapshot, and the commit that they stand at.
#[derive(Debug)]
pub struct Restored {
    pub tables: Vec<Table>,
    pub tag: Tag,
}

impl Restoring {
    /// Into `tables`, which are empty: one per store, in the order of the descriptor.
    pub fn begin(tables: Vec<Table>) -> Self {
        Self {
            tables,
            blocks: 0,
            changes: 0,
            tag: None,
        }
    }

    /// Reads the file's next block, header and body.
    pub fn block(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        if self.tag.is_some() {
            return Err(BlockError::BehindFooter);
        }
        match Block::read(bytes, self.blocks)? {
            Block::Changes(body) => self.changes(Reader(body))?,
            Block::Footer(body) => {
                let footer = Footer::decode(body)?;
                if footer.changes != self.changes {
                    return Err(BlockError::Changes {
                        expected: footer.changes,
                        found: self.changes,
                    });
                }
                self.tag = Some(footer.tag);
            }
        }
        self.blocks += 1;
        Ok(())
    }

    /// The file has ended. `Short` when it had no footer.
    pub fn end(self) -> Result<Restored, BlockError> {
        Ok(Restored {
            tag: self.tag.ok_or(BlockError::Short)?,
            tables: self.tables,
        })
    }

    fn changes(&mut self, mut body: Reader<'_>) -> Result<(), BlockError> {
        while let Some((store, change)) = next_change(&mut body)? {
            let stores = self.tables.len();
            let table = self.tables.get_mut(store);
            let table = table.ok_or(BlockError::Store { store, stores })?;
            change.apply(table);
            self.changes += 1;
        }
        Ok(())
    }
}
