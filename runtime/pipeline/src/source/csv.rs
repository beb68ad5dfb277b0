//! Rows of a csv file.

use std::borrow::Cow;

use super::error::SourceError;
use super::fields::timestamp_ms;
use super::rows::{RowBatch, RowParts};
use super::tape::Tape;
use crate::manifest::{SourceSection, TimestampFormat, nearest};

/// Reads a csv file row by row; the first row names the columns.
pub struct CsvRows {
    file: String,
    reader: csv::Reader<Tape>,
    record: csv::ByteRecord,
    /// The value is the row as it stands in the file.
    raw: bool,
    /// `{"year":`, `,"month":` and so on: what stands before each value.
    names: Vec<Vec<u8>>,
    key: Option<usize>,
    timestamp: Option<(usize, TimestampFormat)>,
}

impl CsvRows {
    pub fn open(section: &SourceSection, tape: Tape, raw: bool) -> Result<Self, SourceError> {
        let file = section.file_text.get_ref().clone();
        let (reader, columns) = read_header(&file, tape)?;
        let find = |column: &str| {
            let found = columns.iter().position(|name| name == column);
            found.ok_or_else(|| no_column(&file, column, &columns))
        };
        let key = section
            .key
            .as_ref()
            .map(|key| find(key.get_ref()))
            .transpose()?;
        let timestamp = match &section.timestamp {
            Some(timestamp) => Some((find(timestamp.column.get_ref())?, timestamp.format)),
            None => None,
        };
        let names = columns
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let mut text = vec![if index == 0 { b'{' } else { b',' }];
                write_json_string(&mut text, name);
                text.push(b':');
                text
            })
            .collect();
        Ok(CsvRows {
            file,
            reader,
            record: csv::ByteRecord::new(),
            raw,
            names,
            key,
            timestamp,
        })
    }

    pub fn tape(&self) -> &Tape {
        self.reader.get_ref()
    }

    /// Reads the next row into `batch`; false at the end of the file. `row` is its number.
    pub fn next(&mut self, row: u64, batch: &mut RowBatch) -> Result<bool, SourceError> {
        let start = self.reader.get_ref().position();
        let found = self
            .reader
            .read_byte_record(&mut self.record)
            .map_err(|error| read_error(&self.file, row, &self.reader, error))?;
        let end = self.reader.position().byte();
        if !found {
            self.reader.get_mut().claim(end);
            return Ok(false);
        }
        let line = self.reader.get_ref().peek(end);
        let record = &self.record;
        let at = |reason: String| SourceError::Row {
            file: self.file.clone(),
            row,
            position: start,
            reason,
        };
        batch.add(|out| {
            if self.raw {
                out.extend_from_slice(without_line_ends(line));
            } else {
                for (name, value) in self.names.iter().zip(record) {
                    let value = std::str::from_utf8(value).map_err(|_| {
                        at("a field is not UTF-8, so the row cannot become JSON; use value = \"raw\"".into())
                    })?;
                    out.extend_from_slice(name);
                    write_json_string(out, value);
                }
                out.push(b'}');
            }
            let timestamp = match self.timestamp {
                None => None,
                Some((index, format)) => {
                    let text = String::from_utf8_lossy(record.get(index).unwrap_or_default());
                    Some(timestamp_ms(&text, format).map_err(at)?)
                }
            };
            Ok(RowParts {
                key: self.key.and_then(|index| record.get(index)).map(Cow::Borrowed),
                timestamp,
            })
        })?;
        // A row that could not be used is not claimed: progress stays in front of it.
        self.reader.get_mut().claim(end);
        Ok(true)
    }
}

impl CsvRows {
    /// Takes the row that [`CsvRows::next`] has refused as it stands in the file.
    pub fn refuse(&mut self, reason: String, batch: &mut RowBatch) {
        let end = self.reader.position().byte();
        batch.refuse(without_line_ends(self.reader.get_ref().peek(end)), reason);
        self.reader.get_mut().claim(end);
    }
}

/// Reads the first row; the reader stands behind it.
fn read_header(file: &str, tape: Tape) -> Result<(csv::Reader<Tape>, Vec<String>), SourceError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(tape);
    let mut header = csv::ByteRecord::new();
    let found = reader
        .read_byte_record(&mut header)
        .map_err(|error| read_error(file, 0, &reader, error))?;
    if !found {
        return Err(SourceError::NoHeader {
            file: file.to_owned(),
        });
    }
    let end = reader.position().byte();
    reader.get_mut().claim(end);
    let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((reader, header.iter().map(name).collect()))
}

/// The columns of a csv file, as its first row names them.
pub fn columns(file: &str, tape: Tape) -> Result<Vec<String>, SourceError> {
    Ok(read_header(file, tape)?.1)
}

fn no_column(file: &str, column: &str, columns: &[String]) -> SourceError {
    let mut known = columns.join(", ");
    if let Some(meant) = nearest(column, columns.iter().map(String::as_str)) {
        known.push_str(&format!(" (did you mean `{meant}`?)"));
    }
    SourceError::NoColumn {
        file: file.to_owned(),
        column: column.to_owned(),
        columns: known,
    }
}

fn read_error(file: &str, row: u64, reader: &csv::Reader<Tape>, error: csv::Error) -> SourceError {
    let file = file.to_owned();
    let position = reader.get_ref().position();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => SourceError::Io { file, source },
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => SourceError::Row {
            file,
            row,
            position,
            reason: format!("the row has {len} fields, the header {expected_len}"),
        },
        other => SourceError::Row {
            file,
            row,
            position,
            reason: format!("{other:?}"),
        },
    }
}

/// The end of the line before may stand in front of a row, that of its own behind it.
fn without_line_ends(mut row: &[u8]) -> &[u8] {
    while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = row {
        row = rest;
    }
    row
}

/// Writes a JSON string; most need no escape and are copied whole.
fn write_json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut copied = 0;
    let bytes = text.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[copied..index]);
        copied = index + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}
