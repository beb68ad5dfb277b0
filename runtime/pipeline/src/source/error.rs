//! What can be wrong with a source's file.

/// A source cannot be read on. Positions are bytes of the decompressed file.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read {file}: {source}")]
    Io {
        file: String,
        source: std::io::Error,
    },
    #[error("{file} has no header row")]
    NoHeader { file: String },
    #[error("{file} has no column `{column}`; it has {columns}")]
    NoColumn {
        file: String,
        column: String,
        columns: String,
    },
    #[error("{file}, row {row}, at byte {position}: {reason}")]
    Row {
        file: String,
        /// From 1, the header not counted.
        row: u64,
        position: u64,
        reason: String,
    },
    /// The file is taken for one of another format.
    #[error("{file}, row {row}, at byte {position}: the line is longer than {max} bytes")]
    LongLine {
        file: String,
        row: u64,
        position: u64,
        max: u64,
    },
    #[error("{file} has changed since it was read: {reason}")]
    Changed { file: String, reason: String },
}

impl SourceError {
    /// What the owner can do.
    pub fn advice(&self) -> &'static str {
        match self {
            SourceError::Io { .. } => "Make the file readable and start again",
            SourceError::NoHeader { .. } | SourceError::NoColumn { .. } => {
                "Correct the source in the manifest, or the file"
            }
            SourceError::Row { .. } => {
                "The rows in front of it are produced: correct this one and start again, it goes on there; or let `on_error` decide about such rows"
            }
            SourceError::LongLine { .. } => {
                "Is the file of this format? Correct it, or the source in the manifest"
            }
            SourceError::Changed { .. } => {
                "Put the old file back, or read the new one from its start with `run --fresh`"
            }
        }
    }
}
