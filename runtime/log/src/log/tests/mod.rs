//! Tests of a log in its store.

mod append_and_read;
mod damage;
mod deleted_files;
mod failures;
mod lookup_cost;
mod many;
mod model;
mod producers;
mod recovery;
mod retention;
mod rolling;
mod segments;
pub(crate) mod support;
mod time_lookup;
mod transactions;
mod truncation;
