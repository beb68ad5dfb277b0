//! One nasty request of each API, made anew for every call.

use millstream_wire::{
    ApiKey, add_offsets_to_txn::*, add_partitions_to_txn::*, api_versions::*, create_topics::*,
    delete_records::*, delete_topics::*, describe_configs::*, describe_groups::*, end_txn::*,
    fetch::*, find_coordinator::*, heartbeat::*, incremental_alter_configs::*, init_producer_id::*,
    join_group::*, leave_group::*, list_groups::*, list_offsets::*, metadata::*, offset_commit::*,
    offset_fetch::*, produce::*, sync_group::*, txn_offset_commit::*,
};
use uuid::Uuid;

use super::{Scene, nasty::Nasty};

/// The APIs that were attacked, in order of their keys.
pub(super) async fn attack_every_api(scene: &mut Scene) -> Vec<ApiKey> {
    macro_rules! attack {
        ($($api:ident $make:ident;)*) => {
            vec![$({
                scene.attack($make).await;
                ApiKey::$api
            },)*]
        };
    }
    attack! {
        Produce produce;
        Fetch fetch;
        ListOffsets list_offsets;
        Metadata metadata;
        OffsetCommit offset_commit;
        OffsetFetch offset_fetch;
        FindCoordinator find_coordinator;
        JoinGroup join_group;
        Heartbeat heartbeat;
        LeaveGroup leave_group;
        SyncGroup sync_group;
        DescribeGroups describe_groups;
        ListGroups list_groups;
        ApiVersions api_versions;
        CreateTopics create_topics;
        DeleteTopics delete_topics;
        DeleteRecords delete_records;
        InitProducerId init_producer_id;
        AddPartitionsToTxn add_partitions_to_txn;
        AddOffsetsToTxn add_offsets_to_txn;
        EndTxn end_txn;
        TxnOffsetCommit txn_offset_commit;
        DescribeConfigs describe_configs;
        IncrementalAlterConfigs incremental_alter_configs;
    }
}

fn produce(nasty: &mut Nasty, _: i16) -> ProduceRequest {
    ProduceRequest {
        transactional_id: nasty.option(Nasty::transactional_id),
        acks: nasty.one_of(&[-1, -1, 1, 1, 2, i16::MIN, i16::MAX]),
        timeout_ms: nasty.i32(),
        topic_data: nasty.some(|nasty| TopicProduceData {
            name: nasty.topic(),
            partition_data: nasty.some(|nasty| PartitionProduceData {
                index: nasty.partition(),
                records: nasty.option(Nasty::records),
            }),
        }),
    }
}

fn fetch(nasty: &mut Nasty, version: i16) -> FetchRequest {
    FetchRequest {
        cluster_id: nasty.option(Nasty::group),
        replica_id: nasty.since(version < 15, Nasty::i32, -1),
        max_wait_ms: nasty.i32(),
        min_bytes: nasty.i32(),
        max_bytes: nasty.i32(),
        isolation_level: nasty.i8(),
        session_id: nasty.one_of(&[0, 0, 0, -1, 1, i32::MAX]),
        session_epoch: nasty.i32(),
        topics: nasty.some(|nasty| FetchTopic {
            topic: nasty.topic(),
            topic_id: nasty.topic_id(),
            partitions: nasty.some(|nasty| FetchPartition {
                partition: nasty.partition(),
                current_leader_epoch: nasty.i32(),
                fetch_offset: nasty.i64(),
                last_fetched_epoch: nasty.since(version >= 12, Nasty::i32, -1),
                log_start_offset: nasty.i64(),
                partition_max_bytes: nasty.i32(),
            }),
        }),
        ..FetchRequest::default()
    }
}

fn list_offsets(nasty: &mut Nasty, version: i16) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id: nasty.i32(),
        isolation_level: nasty.since(version >= 2, Nasty::i8, 0),
        topics: nasty.some(|nasty| ListOffsetsTopic {
            name: nasty.topic(),
            partitions: nasty.some(|nasty| ListOffsetsPartition {
                partition_index: nasty.partition(),
                current_leader_epoch: nasty.i32(),
                timestamp: nasty.i64(),
            }),
        }),
    }
}

fn metadata(nasty: &mut Nasty, version: i16) -> MetadataRequest {
    let topics = nasty.some(|nasty| MetadataRequestTopic {
        topic_id: nasty.topic_id(),
        name: match version >= 10 {
            true => nasty.option(Nasty::topic),
            false => Some(nasty.topic()),
        },
    });
    MetadataRequest {
        topics: (version == 0 || nasty.coin()).then_some(topics),
        allow_auto_topic_creation: version < 4 || nasty.coin(),
        include_topic_authorized_operations: nasty.since(version >= 8, Nasty::coin, false),
        ..MetadataRequest::default()
    }
}

fn offset_commit(nasty: &mut Nasty, version: i16) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: nasty.group(),
        generation_id_or_member_epoch: nasty.i32(),
        member_id: nasty.member(),
        group_instance_id: nasty.since(version >= 7, |nasty| nasty.option(Nasty::member), None),
        retention_time_ms: nasty.i64(),
        topics: nasty.some(|nasty| OffsetCommitRequestTopic {
            name: nasty.topic(),
            partitions: nasty.some(|nasty| OffsetCommitRequestPartition {
                partition_index: nasty.partition(),
                committed_offset: nasty.i64(),
                committed_leader_epoch: nasty.i32(),
                committed_metadata: nasty.option(Nasty::group),
            }),
        }),
    }
}

fn offset_fetch(nasty: &mut Nasty, version: i16) -> OffsetFetchRequest {
    let require_stable = nasty.since(version >= 7, Nasty::coin, false);
    if version >= 8 {
        return OffsetFetchRequest {
            groups: nasty.some(|nasty| OffsetFetchRequestGroup {
                group_id: nasty.group(),
                member_id: nasty.option(Nasty::member),
                member_epoch: nasty.i32(),
                topics: nasty.option(|nasty| {
                    nasty.some(|nasty| OffsetFetchRequestTopics {
                        name: nasty.topic(),
                        partition_indexes: nasty.some(Nasty::partition),
                    })
                }),
            }),
            require_stable,
            ..OffsetFetchRequest::default()
        };
    }
    let topics = nasty.some(|nasty| OffsetFetchRequestTopic {
        name: nasty.topic(),
        partition_indexes: nasty.some(Nasty::partition),
    });
    OffsetFetchRequest {
        group_id: nasty.group(),
        topics: (version < 2 || nasty.coin()).then_some(topics),
        require_stable,
        ..OffsetFetchRequest::default()
    }
}

fn find_coordinator(nasty: &mut Nasty, version: i16) -> FindCoordinatorRequest {
    FindCoordinatorRequest {
        key: nasty.since(version < 4, Nasty::group, String::new()),
        key_type: nasty.since(version >= 1, Nasty::i8, 0),
        coordinator_keys: nasty.since(version >= 4, |nasty| nasty.some(Nasty::group), Vec::new()),
    }
}

fn join_group(nasty: &mut Nasty, version: i16) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: nasty.group(),
        session_timeout_ms: nasty.i32(),
        rebalance_timeout_ms: nasty.i32(),
        member_id: nasty.member(),
        group_instance_id: nasty.since(version >= 5, |nasty| nasty.option(Nasty::member), None),
        protocol_type: nasty.group(),
        protocols: nasty.some(|nasty| JoinGroupRequestProtocol {
            name: nasty.group(),
            metadata: nasty.bytes(),
        }),
        reason: nasty.option(Nasty::group),
    }
}

fn heartbeat(nasty: &mut Nasty, version: i16) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: nasty.group(),
        generation_id: nasty.i32(),
        member_id: nasty.member(),
        group_instance_id: nasty.since(version >= 3, |nasty| nasty.option(Nasty::member), None),
    }
}

fn leave_group(nasty: &mut Nasty, version: i16) -> LeaveGroupRequest {
    let members = |nasty: &mut Nasty| {
        nasty.some(|nasty| MemberIdentity {
            member_id: nasty.member(),
            group_instance_id: nasty.option(Nasty::member),
            reason: nasty.option(Nasty::group),
        })
    };
    LeaveGroupRequest {
        group_id: nasty.group(),
        member_id: nasty.since(version < 3, Nasty::member, String::new()),
        members: nasty.since(version >= 3, members, Vec::new()),
    }
}

fn sync_group(nasty: &mut Nasty, version: i16) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: nasty.group(),
        generation_id: nasty.i32(),
        member_id: nasty.member(),
        group_instance_id: nasty.since(version >= 3, |nasty| nasty.option(Nasty::member), None),
        protocol_type: nasty.option(Nasty::group),
        protocol_name: nasty.option(Nasty::group),
        assignments: nasty.some(|nasty| SyncGroupRequestAssignment {
            member_id: nasty.member(),
            assignment: nasty.bytes(),
        }),
    }
}

fn describe_groups(nasty: &mut Nasty, version: i16) -> DescribeGroupsRequest {
    DescribeGroupsRequest {
        groups: nasty.some(Nasty::group),
        include_authorized_operations: nasty.since(version >= 3, Nasty::coin, false),
    }
}

fn list_groups(nasty: &mut Nasty, version: i16) -> ListGroupsRequest {
    let words = |nasty: &mut Nasty| nasty.some(Nasty::group);
    ListGroupsRequest {
        states_filter: nasty.since(version >= 4, words, Vec::new()),
        types_filter: nasty.since(version >= 5, words, Vec::new()),
    }
}

fn api_versions(nasty: &mut Nasty, _: i16) -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: nasty.member(),
        client_software_version: nasty.member(),
    }
}

fn create_topics(nasty: &mut Nasty, _: i16) -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics: nasty.some(|nasty| CreatableTopic {
            name: nasty.topic(),
            num_partitions: nasty.one_of(&[i32::MIN, -2, -1, 0, 1, 3, 10_001, i32::MAX]),
            replication_factor: nasty.i16(),
            assignments: nasty.some(|nasty| CreatableReplicaAssignment {
                partition_index: nasty.partition(),
                broker_ids: nasty.some(Nasty::i32),
            }),
            configs: nasty.some(|nasty| CreatableTopicConfig {
                name: nasty.setting(),
                value: nasty.option(Nasty::setting_value),
            }),
        }),
        timeout_ms: nasty.i32(),
        validate_only: nasty.coin(),
    }
}

fn delete_topics(nasty: &mut Nasty, version: i16) -> DeleteTopicsRequest {
    let by_id = |nasty: &mut Nasty| {
        nasty.some(|nasty| DeleteTopicState {
            name: nasty.option(Nasty::topic),
            topic_id: nasty.topic_id(),
        })
    };
    DeleteTopicsRequest {
        topics: nasty.since(version >= 6, by_id, Vec::new()),
        topic_names: nasty.since(version < 6, |nasty| nasty.some(Nasty::topic), Vec::new()),
        timeout_ms: nasty.i32(),
    }
}

fn delete_records(nasty: &mut Nasty, _: i16) -> DeleteRecordsRequest {
    DeleteRecordsRequest {
        topics: nasty.some(|nasty| DeleteRecordsTopic {
            name: nasty.topic(),
            partitions: nasty.some(|nasty| DeleteRecordsPartition {
                partition_index: nasty.partition(),
                offset: nasty.i64(),
            }),
        }),
        timeout_ms: nasty.i32(),
    }
}

fn init_producer_id(nasty: &mut Nasty, version: i16) -> InitProducerIdRequest {
    let (producer_id, producer_epoch) = match version >= 3 {
        true => nasty.producer(),
        false => (-1, -1),
    };
    InitProducerIdRequest {
        transactional_id: nasty.option(Nasty::transactional_id),
        transaction_timeout_ms: nasty.i32(),
        producer_id,
        producer_epoch,
    }
}

fn add_partitions_to_txn(nasty: &mut Nasty, _: i16) -> AddPartitionsToTxnRequest {
    let (producer_id, producer_epoch) = nasty.producer();
    AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: nasty.transactional_id(),
        v3_and_below_producer_id: producer_id,
        v3_and_below_producer_epoch: producer_epoch,
        v3_and_below_topics: nasty.some(|nasty| AddPartitionsToTxnTopic {
            name: nasty.topic(),
            partitions: nasty.some(Nasty::partition),
        }),
    }
}

fn add_offsets_to_txn(nasty: &mut Nasty, _: i16) -> AddOffsetsToTxnRequest {
    let (producer_id, producer_epoch) = nasty.producer();
    AddOffsetsToTxnRequest {
        transactional_id: nasty.transactional_id(),
        producer_id,
        producer_epoch,
        group_id: nasty.group(),
    }
}

fn end_txn(nasty: &mut Nasty, _: i16) -> EndTxnRequest {
    let (producer_id, producer_epoch) = nasty.producer();
    EndTxnRequest {
        transactional_id: nasty.transactional_id(),
        producer_id,
        producer_epoch,
        committed: nasty.coin(),
    }
}

fn txn_offset_commit(nasty: &mut Nasty, version: i16) -> TxnOffsetCommitRequest {
    let (producer_id, producer_epoch) = nasty.producer();
    TxnOffsetCommitRequest {
        transactional_id: nasty.transactional_id(),
        group_id: nasty.group(),
        producer_id,
        producer_epoch,
        generation_id: nasty.since(version >= 3, Nasty::i32, -1),
        member_id: nasty.since(version >= 3, Nasty::member, String::new()),
        group_instance_id: nasty.since(version >= 3, |nasty| nasty.option(Nasty::member), None),
        topics: nasty.some(|nasty| TxnOffsetCommitRequestTopic {
            name: nasty.topic(),
            partitions: nasty.some(|nasty| TxnOffsetCommitRequestPartition {
                partition_index: nasty.partition(),
                committed_offset: nasty.i64(),
                committed_leader_epoch: nasty.i32(),
                committed_metadata: nasty.option(Nasty::group),
            }),
        }),
    }
}

fn describe_configs(nasty: &mut Nasty, version: i16) -> DescribeConfigsRequest {
    DescribeConfigsRequest {
        resources: nasty.some(|nasty| DescribeConfigsResource {
            resource_type: nasty.one_of(&[2, 4, 4, 8, 16, -1, i8::MAX]),
            resource_name: nasty.resource(),
            configuration_keys: nasty.option(|nasty| nasty.some(Nasty::setting)),
        }),
        include_synonyms: nasty.coin(),
        include_documentation: nasty.since(version >= 3, Nasty::coin, false),
    }
}

fn incremental_alter_configs(nasty: &mut Nasty, _: i16) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest {
        resources: nasty.some(|nasty| AlterConfigsResource {
            resource_type: nasty.one_of(&[2, 2, 4, 8, -1, i8::MAX]),
            resource_name: nasty.resource(),
            configs: nasty.some(|nasty| AlterableConfig {
                name: nasty.setting(),
                config_operation: nasty.i8(),
                value: nasty.option(Nasty::setting_value),
            }),
        }),
        validate_only: nasty.coin(),
    }
}

impl Nasty {
    /// The name of a topic or a node.
    fn resource(&mut self) -> String {
        match self.coin() {
            true => self.topic(),
            false => self.one_of(&["", "1", "01", "-1"]).to_owned(),
        }
    }

    fn topic_id(&mut self) -> Uuid {
        self.one_of(&[Uuid::nil(), Uuid::from_u128(1), Uuid::from_u128(u128::MAX)])
    }
}
