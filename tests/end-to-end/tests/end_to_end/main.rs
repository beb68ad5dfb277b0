//! End to end, over the built product and clients that others wrote; one behaviour per module.

mod bad_input;
mod command_line;
mod confluent;
mod flights;
mod kafka_files;
mod kcat_client;
mod repair;
mod runs;
mod scene;
