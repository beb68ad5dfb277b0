//! End to end, over the built product and clients that others wrote; one behaviour per module.

mod bad_input;
mod command_line;
mod compacted_topics;
mod confluent;
mod deleted_topics;
mod flights;
mod fresh;
mod kafka_files;
mod kcat_client;
mod pages;
mod project;
mod renamed;
mod repair;
mod retention;
mod runs;
mod scene;
mod told;
