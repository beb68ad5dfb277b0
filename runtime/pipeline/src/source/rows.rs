//! Rows of a source on their way from the reading thread to the task: many in one piece of memory.

use std::ops::Range;

/// Rows in the order of the file, and how far the file is read after the last of them.
#[derive(Debug, Default)]
pub struct RowBatch {
    data: Vec<u8>,
    rows: Vec<Row>,
    /// Progress after the last row.
    pub end: Checkpoint,
    /// Nothing follows.
    pub last: bool,
}

#[derive(Debug)]
struct Row {
    key: Option<Range<usize>>,
    value: Range<usize>,
    timestamp: Option<i64>,
    /// Why the row cannot be used; its value is what stands in the file.
    refused: Option<String>,
}

/// A row as the task sees it.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'b> {
    pub key: Option<&'b [u8]>,
    pub value: &'b [u8],
    /// Epoch milliseconds; `None`: the moment when it is produced.
    pub timestamp: Option<i64>,
    /// Why the row cannot be used; its value is what stands in the file.
    pub refused: Option<&'b str>,
}

/// How far a file was read: at the end of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Bytes of the decompressed file.
    pub position: u64,
    pub records: u64,
    /// SHA-256 of those bytes.
    pub digest: [u8; 32],
}

impl RowBatch {
    /// Adds a row: `write` appends the value to the buffer that it is given and says what key and
    /// timestamp the row has. Nothing is added after an error.
    pub fn add<'k, E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<RowParts<'k>, E>,
    ) -> Result<(), E> {
        let start = self.data.len();
        let parts = match write(&mut self.data) {
            Ok(parts) => parts,
            Err(error) => {
                self.data.truncate(start);
                return Err(error);
            }
        };
        let value = start..self.data.len();
        let key = parts.key.map(|key| {
            let at = self.data.len();
            self.data.extend_from_slice(&key);
            at..self.data.len()
        });
        self.rows.push(Row {
            key,
            value,
            timestamp: parts.timestamp,
            refused: None,
        });
        Ok(())
    }

    /// Adds a row that cannot be used, as it stands in the file.
    pub fn refuse(&mut self, row: &[u8], reason: String) {
        let start = self.data.len();
        self.data.extend_from_slice(row);
        self.rows.push(Row {
            key: None,
            value: start..self.data.len(),
            timestamp: None,
            refused: Some(reason),
        });
    }

    /// All rows, those that cannot be used among them.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = RowView<'_>> {
        self.rows.iter().map(|row| RowView {
            key: row.key.clone().map(|range| &self.data[range]),
            value: &self.data[row.value.clone()],
            timestamp: row.timestamp,
            refused: row.refused.as_deref(),
        })
    }

    /// Why the newest row cannot be used, if that is so.
    pub fn last_refused(&self) -> Option<&str> {
        self.rows.last()?.refused.as_deref()
    }
}

/// What a row has beside its value.
#[derive(Debug, Default)]
pub struct RowParts<'k> {
    pub key: Option<std::borrow::Cow<'k, [u8]>>,
    /// Epoch milliseconds; `None`: the moment when it is produced.
    pub timestamp: Option<i64>,
}
