//! Kafka semantics: connections, one file per API, partitions, coordinators, and the same surface in process (`Local`).
//! It must not know plugins, pipelines or manifests; it reaches disk only through `millstream-log`.
//! Read `broker.rs` first, then `api/mod.rs` (the table of APIs), then `api/produce.rs`.

mod api;
mod broker;
mod config;
mod context;
mod coordinator;
mod deployment;
mod error_codes;
mod group;
mod internal_topics;
mod leftovers;
mod local;
mod metrics;
mod partition;
mod prepare;
mod producer_ids;
mod server;
mod topic_settings;
mod topics;
mod transaction;
mod verification;

pub use broker::{Broker, StartError};
pub use config::{
    BrokerConfig, ConfigSource, DescribedSetting, NodeSetting, SettingError, SettingSynonym,
    UpdateMode, Values, node_settings, settings_page,
};
pub use context::RequestContext;
pub use coordinator::TopicPartition;
pub use group::{
    CommittedOffset, GroupWithOffsets, HELD_PROTOCOL, ReadPositions, positions_in_user_data,
};
pub use internal_topics::InternalTopic;
pub use local::{
    FetchedOffset, Local, LocalPartition, MemberStamp, OffsetCommit, RemovedUnread,
    SyntheticMember, TopicInfo, TransactionalProducer,
};
pub use metrics::{ApiStats, BrokerStats};
pub use partition::{Partition, Partitions};
pub use producer_ids::ProducerIds;
pub use server::{ListenError, ListenerHandle};
pub use topic_settings::TopicSettings;
pub use topics::TopicFailure;
pub use verification::NamedPartition;
