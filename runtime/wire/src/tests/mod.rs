//! Tests of all messages together.

/// Hands the list of all APIs (module, request, response) to another macro.
macro_rules! every_api {
    ($use:ident) => {
        $use! {
            produce ProduceRequest ProduceResponse;
            fetch FetchRequest FetchResponse;
            list_offsets ListOffsetsRequest ListOffsetsResponse;
            metadata MetadataRequest MetadataResponse;
            offset_commit OffsetCommitRequest OffsetCommitResponse;
            offset_fetch OffsetFetchRequest OffsetFetchResponse;
            find_coordinator FindCoordinatorRequest FindCoordinatorResponse;
            join_group JoinGroupRequest JoinGroupResponse;
            heartbeat HeartbeatRequest HeartbeatResponse;
            leave_group LeaveGroupRequest LeaveGroupResponse;
            sync_group SyncGroupRequest SyncGroupResponse;
            describe_groups DescribeGroupsRequest DescribeGroupsResponse;
            list_groups ListGroupsRequest ListGroupsResponse;
            api_versions ApiVersionsRequest ApiVersionsResponse;
            create_topics CreateTopicsRequest CreateTopicsResponse;
            delete_topics DeleteTopicsRequest DeleteTopicsResponse;
            delete_records DeleteRecordsRequest DeleteRecordsResponse;
            init_producer_id InitProducerIdRequest InitProducerIdResponse;
            add_partitions_to_txn AddPartitionsToTxnRequest AddPartitionsToTxnResponse;
            add_offsets_to_txn AddOffsetsToTxnRequest AddOffsetsToTxnResponse;
            end_txn EndTxnRequest EndTxnResponse;
            txn_offset_commit TxnOffsetCommitRequest TxnOffsetCommitResponse;
            describe_configs DescribeConfigsRequest DescribeConfigsResponse;
            incremental_alter_configs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse;
        }
    };
}
use every_api;

mod hostile;
mod oracle;
mod structure;
