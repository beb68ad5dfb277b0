//! Whether the columns that a manifest names are in its files.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use super::csv;
use super::error::SourceError;
use super::tape::{self, Tape};
use crate::manifest::{Manifest, Problem, SourceFormat, SourceSection, nearest, one_of};

/// A first line that is longer is not looked into.
const FIRST_LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Opens every source that names columns. What the first row of a csv file lacks is a mistake; what the first object of
/// a jsonl file lacks is a warning, since others may have it. A file that is not there was reported when the manifest
/// was read.
pub fn check_columns(manifest: &Manifest) -> Vec<Problem> {
    let sources = manifest.sources.iter();
    let sources = sources.filter(|source| source.file.is_file());
    sources
        .flat_map(|source| match source.format {
            SourceFormat::Csv { .. } => check_csv(source),
            SourceFormat::JsonLines => check_json(source),
            SourceFormat::Lines => Vec::new(),
        })
        .collect()
}

fn check_csv(source: &SourceSection) -> Vec<Problem> {
    let columns = match header(source) {
        Ok(columns) => columns,
        Err(error) => {
            let problem = Problem::new(error.to_string())
                .at(source.file_text.span())
                .label("this file")
                .help(error.advice());
            return vec![problem];
        }
    };
    missing(source, &columns, |file, column| {
        Problem::new(format!("the file `{file}` has no column `{column}`")).label("no such column")
    })
}

fn check_json(source: &SourceSection) -> Vec<Problem> {
    if source.key.is_none() && source.timestamp.is_none() {
        return Vec::new();
    }
    // What cannot be read, or is no object, is the first row's own trouble, and `on_error` decides about that.
    let Some(fields) = first_object(source) else {
        return Vec::new();
    };
    missing(source, &fields, |file, field| {
        Problem::warning(format!(
            "the first object of the file `{file}` has no field `{field}`"
        ))
        .label("no such field in it")
    })
}

/// The columns that a source names and that are not among those that there are.
fn missing(
    source: &SourceSection,
    columns: &[String],
    problem: impl Fn(&str, &str) -> Problem,
) -> Vec<Problem> {
    let timestamp = source.timestamp.iter().map(|timestamp| &timestamp.column);
    let named = source.key.iter().chain(timestamp);
    let missing = named.filter(|column| !columns.contains(column.get_ref()));
    missing
        .map(|column| {
            let word = column.get_ref();
            let problem = problem(source.file_text.get_ref(), word).at(column.span());
            match nearest(word, columns.iter().map(String::as_str)) {
                Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                None if columns.is_empty() => problem,
                None => problem.help(format!(
                    "it has {}",
                    one_of(columns).replace(" or ", " and ")
                )),
            }
        })
        .collect()
}

/// The fields of the object in the first line of a jsonl file that is not blank.
fn first_object(source: &SourceSection) -> Option<Vec<String>> {
    let opened = tape::open(&source.file, Arc::default()).ok()?;
    let mut lines = BufReader::new(opened.take(FIRST_LINE_BYTES_MAX)).split(b'\n');
    let line = loop {
        let line = lines.next()?.ok()?;
        if !line.trim_ascii().is_empty() {
            break line;
        }
    };
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line).ok()?;
    Some(object.keys().cloned().collect())
}

fn header(source: &SourceSection) -> Result<Vec<String>, SourceError> {
    let file = source.file_text.get_ref();
    let opened = tape::open(&source.file, Arc::default()).map_err(|source| SourceError::Io {
        file: file.clone(),
        source,
    })?;
    csv::columns(file, Tape::new(opened))
}
