//! Log compaction: of each key the last record stays.
//!
//! `plan.rs` says which part of a log is dirty, `pass.rs` runs one pass over one log (`offset_map.rs`, `filter.rs`,
//! `successor.rs`), `recovery.rs` ends what a crash has cut short, `threads.rs` decides which log is next.

mod asking;
mod blocks;
mod due;
mod error;
mod filter;
mod idle;
mod key_hash;
mod last_batches;
mod metrics;
mod offset_map;
mod options;
mod pass;
mod plan;
mod recovery;
mod state;
mod successor;
#[cfg(test)]
mod tests;
mod threads;
mod throttle;
mod transactions;

use std::sync::Arc;

pub use error::CleanError;
pub use metrics::{CleanerMetrics, DirtyLog, UncleanableLog};
pub use options::CleanerOptions;
pub use pass::PassReport;
pub(crate) use recovery::{clear_leftovers, finish_swaps, unfinished_swaps};
pub(crate) use successor::Successor;
pub(crate) use threads::Cleaner;

use crate::StoreOptions;
use crate::checkpoint::{CLEANED_OFFSETS, read_offsets};
use crate::log::Log;

/// The cleaner of a store that is being opened. Its logs get to know how far they were compacted.
pub(crate) fn open<'a>(
    options: &StoreOptions,
    logs: impl Iterator<Item = &'a Arc<Log>>,
) -> Cleaner {
    let path = options.dir.join(CLEANED_OFFSETS);
    let written = match read_offsets(&*options.fs, &path) {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => {
            // Then all is dirty once more.
            tracing::warn!(path = %path.display(), %error, "the cleaner begins anew");
            crate::checkpoint::OffsetMap::new()
        }
    };
    for log in logs {
        let name = (log.id().topic.clone(), log.id().partition);
        if let Some(offset) = written.get(&name) {
            log.restore_cleaned_to(*offset);
        }
    }
    let state = state::CleanerState::new(
        options.cleaner.clone(),
        options.dir.clone(),
        Arc::clone(&options.fs),
        written,
    );
    Cleaner::new(state)
}
