//! Tests of a log in its store.

mod append_and_read;
mod support;
