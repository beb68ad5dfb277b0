//! The APIs that the node speaks: one line of the table and one file each.
//!
//! A handler is `async fn handle(&RequestContext, Request) -> Response`; it never fails, because in Kafka's protocol
//! an error is part of the response. What cannot be answered at all is a [`Refusal`], which closes the connection.

use std::{future::Future, ops::RangeInclusive, pin::Pin};

use bytes::Bytes;
use millstream_wire::{
    ApiKey, DecodeError, EncodeError, Request, RequestHeader,
    add_offsets_to_txn::AddOffsetsToTxnRequest,
    add_partitions_to_txn::AddPartitionsToTxnRequest,
    api_versions::ApiVersionsRequest,
    create_topics::CreateTopicsRequest,
    delete_records::DeleteRecordsRequest,
    delete_topics::DeleteTopicsRequest,
    describe_configs::DescribeConfigsRequest,
    describe_groups::DescribeGroupsRequest,
    encode_response, encode_response_chunks,
    end_txn::EndTxnRequest,
    fetch::FetchRequest,
    find_coordinator::FindCoordinatorRequest,
    heartbeat::HeartbeatRequest,
    incremental_alter_configs::IncrementalAlterConfigsRequest,
    init_producer_id::InitProducerIdRequest,
    join_group::JoinGroupRequest,
    leave_group::LeaveGroupRequest,
    list_groups::ListGroupsRequest,
    list_offsets::ListOffsetsRequest,
    metadata::MetadataRequest,
    offset_commit::OffsetCommitRequest,
    offset_fetch::OffsetFetchRequest,
    produce::{ProduceRequest, ProduceResponse},
    sync_group::SyncGroupRequest,
    txn_offset_commit::TxnOffsetCommitRequest,
};
use thiserror::Error;

use crate::context::RequestContext;

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod api_versions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_configs;
mod describe_groups;
mod end_txn;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offsets_to_commit;
mod once;
pub(crate) mod produce;
mod sync_group;
mod txn_offset_commit;

/// A whole response, in pieces that are sent behind each other.
pub(crate) type Response = Vec<Bytes>;
/// A response that still waits, usually for a flush.
pub(crate) type Later = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What became of a request.
pub(crate) enum Reply {
    /// The client wants no answer (Produce with `acks=0`).
    Silent,
    Ready(Response),
    /// The request is done as far as order matters; its answer waits, and the next request may begin.
    Later(Later),
}

/// A request that has no answer: the connection is closed.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("API key {key} is not spoken here")]
    UnknownApi { key: i16 },
    #[error("{api} version {version} is not spoken here")]
    UnsupportedVersion { api: ApiKey, version: i16 },
    #[error("a request is malformed: {0}")]
    Malformed(#[from] DecodeError),
    #[error("a response cannot be encoded: {0}")]
    Response(#[from] EncodeError),
    #[error("an append without acknowledgement failed, and closing is the only answer: {0}")]
    Unacknowledged(millstream_wire::ErrorCode),
}

/// One line per API: name, versions that are advertised, request, handler.
macro_rules! apis {
    ($($key:ident, $versions:expr, $request:ty, $handler:path;)*) => {
        /// Every API with the versions that are advertised, in order of its key.
        pub(crate) const ADVERTISED: &[(ApiKey, RangeInclusive<i16>)] = &[
            // Versions 0 to 2 are refused, and yet advertised: librdkafka before 2.11.1 otherwise takes the node for
            // one that knows no compression (KAFKA-18659).
            (ApiKey::Produce, 0..=11),
            (ApiKey::Fetch, 4..=16),
            $((ApiKey::$key, $versions),)*
        ];

        /// Runs a request's handler.
        pub(crate) async fn dispatch(context: RequestContext, request: Incoming) -> Result<Reply, Refusal> {
            match request.api {
                ApiKey::Produce => produce_reply(context, request).await,
                ApiKey::Fetch => {
                    let (header, body) = request.decode::<FetchRequest>()?;
                    let response = fetch::handle(&context, body).await;
                    let (version, correlation_id) = (header.api_version, header.correlation_id);
                    Ok(Reply::Ready(encode_response_chunks::<FetchRequest>(version, correlation_id, &response)?))
                }
                $(ApiKey::$key => {
                    let (header, body) = request.decode::<$request>()?;
                    let response = $handler(&context, body).await;
                    let bytes = encode_response::<$request>(header.api_version, header.correlation_id, &response)?;
                    Ok(Reply::Ready(vec![bytes]))
                })*
            }
        }
    };
}

apis! {
    ListOffsets, 1..=7, ListOffsetsRequest, list_offsets::handle;
    Metadata, 0..=12, MetadataRequest, metadata::handle;
    OffsetCommit, 2..=9, OffsetCommitRequest, offset_commit::handle;
    OffsetFetch, 1..=9, OffsetFetchRequest, offset_fetch::handle;
    FindCoordinator, 0..=5, FindCoordinatorRequest, find_coordinator::handle;
    JoinGroup, 0..=9, JoinGroupRequest, join_group::handle;
    Heartbeat, 0..=4, HeartbeatRequest, heartbeat::handle;
    LeaveGroup, 0..=5, LeaveGroupRequest, leave_group::handle;
    SyncGroup, 0..=5, SyncGroupRequest, sync_group::handle;
    DescribeGroups, 0..=6, DescribeGroupsRequest, describe_groups::handle;
    ListGroups, 0..=5, ListGroupsRequest, list_groups::handle;
    ApiVersions, 0..=4, ApiVersionsRequest, api_versions::handle;
    CreateTopics, 2..=7, CreateTopicsRequest, create_topics::handle;
    DeleteTopics, 1..=6, DeleteTopicsRequest, delete_topics::handle;
    DeleteRecords, 0..=2, DeleteRecordsRequest, delete_records::handle;
    InitProducerId, 0..=4, InitProducerIdRequest, init_producer_id::handle;
    AddPartitionsToTxn, 0..=3, AddPartitionsToTxnRequest, add_partitions_to_txn::handle;
    AddOffsetsToTxn, 0..=3, AddOffsetsToTxnRequest, add_offsets_to_txn::handle;
    EndTxn, 0..=3, EndTxnRequest, end_txn::handle;
    TxnOffsetCommit, 0..=3, TxnOffsetCommitRequest, txn_offset_commit::handle;
    DescribeConfigs, 1..=4, DescribeConfigsRequest, describe_configs::handle;
    IncrementalAlterConfigs, 0..=1, IncrementalAlterConfigsRequest, incremental_alter_configs::handle;
}

/// A request's frame, of an API that is known and in a version that is spoken.
pub(crate) struct Incoming {
    api: ApiKey,
    header: RequestHeader,
    body: Bytes,
}

impl Incoming {
    /// Reads the header. An ApiVersions request of a version from the future is taken as version 0, whose answer
    /// tells the client what it may send.
    pub fn parse(mut frame: Bytes) -> Result<Incoming, Refusal> {
        let peeked = RequestHeader::peek(&frame).unwrap_or_default();
        let unknown = || Refusal::UnknownApi {
            key: peeked.api_key,
        };
        let api = ApiKey::try_from(peeked.api_key).map_err(|_| unknown())?;
        let (_, versions) = ADVERTISED
            .iter()
            .find(|(key, _)| *key == api)
            .ok_or_else(unknown)?;
        let version = peeked.api_version;
        if !versions.contains(&version) || !api.valid_versions().contains(&version) {
            if api == ApiKey::ApiVersions {
                return Ok(Incoming {
                    api,
                    header: peeked,
                    body: Bytes::new(),
                });
            }
            return Err(Refusal::UnsupportedVersion { api, version });
        }
        let header = RequestHeader::decode(&mut frame)?;
        Ok(Incoming {
            api,
            header,
            body: frame,
        })
    }

    pub fn api(&self) -> ApiKey {
        self.api
    }

    /// The version that the client chose.
    pub fn version(&self) -> i16 {
        self.header.api_version
    }

    pub fn client_id(&self) -> Option<String> {
        self.header.client_id.clone()
    }

    fn decode<R: Request>(mut self) -> Result<(RequestHeader, R), Refusal> {
        if self.api == ApiKey::ApiVersions
            && !ApiKey::ApiVersions
                .valid_versions()
                .contains(&self.version())
        {
            // The answer goes out in version 0, the only one that every client can read.
            let header = RequestHeader {
                api_version: 0,
                ..self.header
            };
            return Ok((header, R::default()));
        }
        // What follows the last field is ignored, as Kafka does.
        let body = R::decode(&mut self.body, self.header.api_version)?;
        Ok((self.header, body))
    }
}

async fn produce_reply(context: RequestContext, request: Incoming) -> Result<Reply, Refusal> {
    let (header, body) = request.decode::<ProduceRequest>()?;
    let (version, correlation_id) = (header.api_version, header.correlation_id);
    let acks = body.acks;
    let appended = produce::append(&context, body).await;
    if acks == 0 {
        return match appended.first_error() {
            None => Ok(Reply::Silent),
            Some(error) => Err(Refusal::Unacknowledged(error)),
        };
    }
    // The handler's own answer is always within the protocol's limits; see `produce::Appended`.
    let encode = move |response: &ProduceResponse| {
        encode_response::<ProduceRequest>(version, correlation_id, response)
    };
    match appended.settled() {
        Ok(response) => Ok(Reply::Ready(vec![encode(&response)?])),
        Err(waiting) => Ok(Reply::Later(Box::pin(async move {
            let response = waiting.flushed().await;
            encode(&response).map_or_else(|_| Vec::new(), |bytes| vec![bytes])
        }))),
    }
}

#[cfg(test)]
mod tests;
