//! A source's file as batches of rows, from where an earlier run stopped.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::csv::CsvRows;
use super::error::SourceError;
use super::lines::LineRows;
use super::rows::{Checkpoint, RowBatch};
use super::tape::{self, Tape};
use crate::manifest::{RejectPolicy, SourceFormat, SourceSection};

/// Rows of one batch, at most.
const ROWS_MAX: usize = 4096;
/// Bytes of one batch, about.
const BATCH_BYTES: usize = 256 * 1024;

/// Reads a source's file.
pub struct RowReader {
    file: String,
    rows: Rows,
    /// Rows read, those that cannot be used among them.
    records: u64,
    /// A row that cannot be used is handed out as such, and does not end the reading.
    goes_on: bool,
    /// What stopped the batch before, which was handed out first.
    failed: Option<SourceError>,
}

enum Rows {
    Csv(Box<CsvRows>),
    Lines(Box<LineRows>),
}

impl RowReader {
    /// Opens the file at its first row. `read` counts the bytes that are read of it.
    pub fn open(section: &SourceSection, read: Arc<AtomicU64>) -> Result<Self, SourceError> {
        let file = section.file_text.get_ref().clone();
        let opened = tape::open(&section.file, read).map_err(|source| SourceError::Io {
            file: file.clone(),
            source,
        })?;
        let tape = Tape::new(opened);
        let rows = match section.format {
            SourceFormat::Csv { raw } => Rows::Csv(Box::new(CsvRows::open(section, tape, raw)?)),
            SourceFormat::JsonLines | SourceFormat::Lines => {
                Rows::Lines(Box::new(LineRows::open(section, tape)))
            }
        };
        Ok(RowReader {
            file,
            rows,
            records: 0,
            goes_on: section.on_error != RejectPolicy::Fail,
            failed: None,
        })
    }

    /// Passes over what an earlier run has produced, and makes sure that it is the same file. The
    /// rows are read again, which costs less than to remember states of parsers.
    /// `done`: nothing may follow.
    pub fn resume(&mut self, from: &Checkpoint, done: bool) -> Result<(), SourceError> {
        let file = self.file.clone();
        let changed = move |reason: String| SourceError::Changed {
            file: file.clone(),
            reason,
        };
        let mut rows = RowBatch::default();
        let mut refused = None;
        // Rows that could not be used may have been passed over then, whatever `on_error` says now.
        let goes_on = std::mem::replace(&mut self.goes_on, true);
        while self.records < from.records {
            if !self.next(&mut rows)? {
                let (had, has) = (from.records, self.records);
                return Err(changed(format!(
                    "it had {had} rows or more, now it has {has}"
                )));
            }
            if refused.is_none() {
                refused = rows.last_refused().map(str::to_owned);
            }
            if rows.bytes() > BATCH_BYTES || rows.len() >= ROWS_MAX {
                rows = RowBatch::default();
            }
        }
        if done && self.next(&mut rows)? {
            return Err(changed(format!(
                "it had {} rows, now it has more",
                from.records
            )));
        }
        self.goes_on = goes_on;
        let here = self.checkpoint();
        if here != *from {
            let hint = refused.map_or(String::new(), |reason| format!(" ({reason})"));
            return Err(changed(format!(
                "its first {} rows are not what they were{hint}",
                from.records
            )));
        }
        Ok(())
    }

    /// The next rows, at most `rows_max`; the batch says whether it is the last one. Rows in front
    /// of an error are handed out before it.
    pub fn next_batch(&mut self, rows_max: usize) -> Result<RowBatch, SourceError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut batch = RowBatch::default();
        let rows_max = rows_max.clamp(1, ROWS_MAX);
        while batch.len() < rows_max && batch.bytes() < BATCH_BYTES {
            match self.next(&mut batch) {
                Ok(true) => {}
                Ok(false) => {
                    batch.last = true;
                    break;
                }
                Err(error) if batch.len() == 0 => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        batch.end = self.checkpoint();
        Ok(batch)
    }

    fn next(&mut self, batch: &mut RowBatch) -> Result<bool, SourceError> {
        let row = self.records + 1;
        let read = match &mut self.rows {
            Rows::Csv(rows) => rows.next(row, batch),
            Rows::Lines(rows) => rows.next(row, batch),
        };
        let more = match read {
            Err(SourceError::Row {
                row,
                position,
                reason,
                ..
            }) if self.goes_on => {
                let reason = format!("row {row}, at byte {position}: {reason}");
                match &mut self.rows {
                    Rows::Csv(rows) => rows.refuse(reason, batch),
                    Rows::Lines(rows) => rows.refuse(reason, batch),
                }
                true
            }
            outcome => outcome?,
        };
        self.records += u64::from(more);
        Ok(more)
    }

    fn checkpoint(&self) -> Checkpoint {
        let tape = match &self.rows {
            Rows::Csv(rows) => rows.tape(),
            Rows::Lines(rows) => rows.tape(),
        };
        Checkpoint {
            position: tape.position(),
            records: self.records,
            digest: tape.digest(),
        }
    }
}
