//! Rows of a file of lines, JSON or not.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};

use super::error::SourceError;
use super::fields::{json_fields, timestamp_ms};
use super::rows::{RowBatch, RowParts};
use super::tape::Tape;
use crate::manifest::{SourceFormat, SourceSection, TimestampFormat};

/// A longer line is taken for a file of another format.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a file line by line.
pub struct LineRows {
    file: String,
    reader: BufReader<Tape>,
    /// The newest line, with its end, and where it ends in the file.
    line: Vec<u8>,
    end: u64,
    json: bool,
    key: Option<String>,
    timestamp: Option<(String, TimestampFormat)>,
}

impl LineRows {
    pub fn open(section: &SourceSection, tape: Tape) -> Self {
        let timestamp = section.timestamp.as_ref();
        LineRows {
            file: section.file_text.get_ref().clone(),
            reader: BufReader::with_capacity(64 * 1024, tape),
            line: Vec::new(),
            end: 0,
            json: section.format == SourceFormat::JsonLines,
            key: section.key.as_ref().map(|key| key.get_ref().clone()),
            timestamp: timestamp.map(|t| (t.column.get_ref().clone(), t.format)),
        }
    }

    pub fn tape(&self) -> &Tape {
        self.reader.get_ref()
    }

    /// Reads the next row into `batch`; false at the end of the file. Blank lines between JSON
    /// objects are no rows. `row` is its number.
    pub fn next(&mut self, row: u64, batch: &mut RowBatch) -> Result<bool, SourceError> {
        let start = loop {
            let start = self.reader.get_ref().position();
            self.line.clear();
            let read = (&mut self.reader)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut self.line)
                .map_err(|source| SourceError::Io {
                    file: self.file.clone(),
                    source,
                })?;
            self.end = start + read as u64;
            if read == 0 {
                return Ok(false);
            }
            if !self.json || !self.line.trim_ascii().is_empty() {
                break start;
            }
            self.reader.get_mut().claim(self.end);
        };
        let at = |reason: String| SourceError::Row {
            file: self.file.clone(),
            row,
            position: start,
            reason,
        };
        if self.line.len() as u64 == LINE_BYTES_MAX && !self.line.ends_with(b"\n") {
            return Err(SourceError::LongLine {
                file: self.file.clone(),
                row,
                position: start,
                max: LINE_BYTES_MAX,
            });
        }
        let line = without_end(&self.line);
        batch.add(|out| {
            out.extend_from_slice(line);
            let timestamp_field = self.timestamp.as_ref().map(|(name, _)| name.as_str());
            if self.key.is_none() && timestamp_field.is_none() {
                return Ok(RowParts::default());
            }
            let wanted = [self.key.as_deref(), timestamp_field];
            let [key, timestamp] = json_fields(line, wanted).map_err(at)?;
            let timestamp = match (&self.timestamp, timestamp) {
                (None, _) => None,
                (Some((_, format)), Some(text)) => Some(timestamp_ms(&text, *format).map_err(at)?),
                (Some((name, _)), None) => return Err(at(format!("there is no `{name}`"))),
            };
            let key = key.map(|key| Cow::Owned(key.into_owned().into_bytes()));
            Ok(RowParts { key, timestamp })
        })?;
        // A row that could not be used is not claimed: progress stays in front of it.
        self.reader.get_mut().claim(self.end);
        Ok(true)
    }

    /// Takes the row that [`LineRows::next`] has refused as it stands in the file.
    pub fn refuse(&mut self, reason: String, batch: &mut RowBatch) {
        batch.refuse(without_end(&self.line), reason);
        self.reader.get_mut().claim(self.end);
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    }
}
