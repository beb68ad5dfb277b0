//! A running pipeline.
pub mod histogram;
