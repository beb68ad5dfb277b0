//! The broker over real sockets, with `millstream-wire` as the client.

mod compaction;
mod configs;
mod delete_records;
mod fetch;
mod framing;
mod groups;
mod hostile_values;
mod idempotence;
mod in_process;
mod internal_topics;
mod offsets;
mod produce;
mod produced_attributes;
mod record_errors;
mod settings;
mod storage;
mod support;
mod topics;
mod transactions;
