//! Whether the columns that a manifest names are in its files.

use std::sync::Arc;

use super::csv;
use super::error::SourceError;
use super::tape::{self, Tape};
use crate::manifest::{Manifest, Problem, SourceFormat, SourceSection, nearest, one_of};

/// Opens every csv source and tells which columns the manifest names that its first row does not. A
/// file that is not there was reported when the manifest was read.
pub fn check_columns(manifest: &Manifest) -> Vec<Problem> {
    let sources = manifest.sources.iter();
    sources
        .filter(|source| matches!(source.format, SourceFormat::Csv { .. }) && source.file.is_file())
        .flat_map(check)
        .collect()
}

fn check(source: &SourceSection) -> Vec<Problem> {
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
    let timestamp = source.timestamp.iter().map(|timestamp| &timestamp.column);
    let missing = |column: &&toml::Spanned<String>| !columns.contains(column.get_ref());
    let problem = |column: &toml::Spanned<String>| {
        let file = source.file_text.get_ref();
        let word = column.get_ref();
        let problem = Problem::new(format!("the file `{file}` has no column `{word}`"))
            .at(column.span())
            .label("no such column");
        match nearest(word, columns.iter().map(String::as_str)) {
            Some(meant) => problem.help(format!("did you mean `{meant}`?")),
            None => problem.help(format!(
                "it has {}",
                one_of(&columns).replace(" or ", " and ")
            )),
        }
    };
    let named = source.key.iter().chain(timestamp);
    named.filter(missing).map(problem).collect()
}

fn header(source: &SourceSection) -> Result<Vec<String>, SourceError> {
    let file = source.file_text.get_ref();
    let opened = tape::open(&source.file, Arc::default()).map_err(|source| SourceError::Io {
        file: file.clone(),
        source,
    })?;
    csv::columns(file, Tape::new(opened))
}
