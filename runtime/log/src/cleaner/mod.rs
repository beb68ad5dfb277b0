//! Log compaction: of each key the last record stays.

mod options;

pub use options::CleanerOptions;
