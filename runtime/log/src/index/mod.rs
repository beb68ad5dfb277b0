//! The indexes of a segment, in Kafka's formats: entries of a fixed size, rising, without a checksum.
//!
//! An index is written with plain appends: the newest entries wait in memory until there are enough for one write,
//! older ones are read from the file when they are needed, so that an index occupies neither a memory map nor memory
//! of its own size. After an unclean stop an index is rebuilt from the batches.

mod aborted;
mod entry_file;
mod offset;
mod time;

pub use aborted::AbortedTxn;
pub(crate) use aborted::{ABORTED_VERSION, AbortedEntry};
pub(crate) use entry_file::{Checksum, EntryFile, IndexEntry};
pub(crate) use offset::OffsetEntry;
pub(crate) use time::TimeEntry;

#[cfg(test)]
mod tests;
