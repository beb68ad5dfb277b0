//! Cluster metadata: the records, the metadata log, the immutable image, and the pure decisions that make new records.
//! It must not know connections, Kafka messages or how a partition's bytes are served; it knows only its own log.
//! Read `record.rs` first, then `image.rs`, then `metadata.rs`.

mod after_loss;
pub mod configs;
mod deployment;
mod image;
mod leadership;
mod metadata;
mod producer_ids;
mod quorum;
mod record;
mod tasks;
mod topics;

pub use deployment::{Deployment, deploy};
pub use image::{ApplyError, BrokerImage, Image, PartitionImage, TaskImage, TopicImage};
pub use leadership::register_node;
pub use metadata::{ChangeError, ClusterMetadata, NodeIdentity, OpenError, SubmitError};
pub use producer_ids::{PRODUCER_ID_BLOCK, allocate_producer_ids};
pub use quorum::{
    LogQuorum, METADATA_TOPIC, METADATA_TOPIC_ID, Position, Quorum, QuorumError, StoredBatch,
    metadata_log,
};
pub use record::{ConfigResource, MetadataRecord, RecordError, TaskKey, TaskTopics};
pub use tasks::{AcquiredTask, acquire_task, is_stage_group, stage_group};
pub use topics::{
    TOPIC_NAME_LENGTH_MAX, TopicDefaults, TopicError, TopicSpec, check_topic_name, create_topic,
    create_topics, delete_topics,
};
