//! Sources: files that feed topics, resumable and exactly once.

mod rfc3339;

pub use rfc3339::rfc3339_to_epoch_ms;
