//! Kafka's wire protocol: every message is declared once, and encoder, decoder and the random
//! generator of the tests come from the declaration. No I/O, no semantics, no knowledge of topics,
//! logs or connections. Read `codec/mod.rs` first, then any API's file, such as `produce.rs`.

mod api_key;
mod codec;
mod error_code;
mod frame;
mod header;

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod api_versions;
pub mod coordinator_records;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_configs;
pub mod describe_groups;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_fetch;
pub mod produce;
pub mod sync_group;
pub mod txn_offset_commit;

pub use api_key::{ApiKey, UnknownApiKey};
pub use codec::{DecodeError, EncodeError, Message, Request, Versioned};
pub use error_code::{ErrorCode, UnknownErrorCode};
pub use frame::{
    FRAME_PREFIX_LEN, decode_response, encode_request, encode_response, encode_response_chunks,
};
pub use header::{RequestHeader, ResponseHeader, request_header_version, response_header_version};

#[cfg(test)]
mod tests;
