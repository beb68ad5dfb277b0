//! The oracle: compares what a pipeline committed with what it should have, record by record and in order.
//! It shares no code with the product: parsing, partitioning and the expected results are written here a second time.
//! Read `compare.rs` first, then `flights.rs` for the example's expected records.

mod compare;
pub mod dead_letters;
pub mod flights;
mod kcat;
mod murmur2;
mod record;

pub use compare::{Comparison, Difference, Misplaced, Order};
pub use kcat::{parse_kcat, parse_kcat_with_offsets};
pub use murmur2::{murmur2, partition_for_key};
pub use record::{Header, Record};
