//! Sources: files that feed topics, resumable and exactly once. A thread reads and parses the file
//! (`reader.rs`), a task turns the rows into transactions (`task.rs`); the progress is part of each
//! transaction (`progress.rs`).

mod columns;
mod csv;
mod error;
mod fields;
mod lines;
pub(crate) mod progress;
mod reader;
mod rfc3339;
mod rows;
mod tape;
mod task;

pub use columns::check_columns;
pub use error::SourceError;
pub use progress::{FileStamp, Progress};
pub use rfc3339::rfc3339_to_epoch_ms;
pub(crate) use task::{SourceContext, run_source_task};
