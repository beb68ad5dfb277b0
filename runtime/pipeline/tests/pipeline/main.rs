//! The pipeline over an engine in memory, with plugins that are plain functions and a few real ones.

mod compacted;
mod deleted_topics;
mod exactly_once;
mod failures;
mod folder;
mod guests;
mod removed;
mod rig;
mod sources;
mod stages;
mod unusable_rows;
