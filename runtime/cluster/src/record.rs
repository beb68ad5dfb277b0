//! Metadata records: what the metadata log holds, one JSON value per record.
//!
//! Every value is an object `{"version": 1, "type": "...", ...}`. Fields may be added to a type (readers ignore what
//! they do not know, and a missing field takes its default); a change that an older reader would get wrong raises
//! `version`, and such a reader refuses to start instead of guessing.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// The newest record version that this code understands. Each record is written in the oldest version that has all
/// it says: 1, or 2 for settings of all nodes, or 3 for tasks that are gone.
const RECORD_VERSION: u32 = 3;

/// One change of the cluster's metadata. Records are applied in log order, see [`crate::Image::apply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MetadataRecord {
    /// A node and the address at which clients reach it. A later record for the same node replaces the earlier one.
    Broker {
        node_id: i32,
        host: String,
        port: u16,
    },
    /// A node has (re)started: the leader epoch of every partition that it leads rises by one.
    Restart { node_id: i32 },
    /// A topic exists under this name and id; its partitions follow in the same batch.
    Topic {
        name: String,
        #[serde(with = "id_text")]
        id: Uuid,
        /// The pipeline that created it, by its name. None: somebody else did, or the record is older than the field.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created_by: Option<String>,
    },
    /// The whole state of one partition.
    Partition {
        #[serde(with = "id_text")]
        topic_id: Uuid,
        index: i32,
        leader: i32,
        leader_epoch: i32,
        replicas: Vec<i32>,
        isr: Vec<i32>,
    },
    /// The topic, its partitions and its configuration are gone.
    RemoveTopic {
        #[serde(with = "id_text")]
        id: Uuid,
    },
    /// One setting of a topic or node; no value means back to the default.
    Config {
        resource: ConfigResource,
        name: String,
        value: Option<String>,
    },
    /// Producer ids below `next` are given away.
    ProducerIds { next: i64 },
    /// Which node runs a task, and under which epoch (rises with every acquisition).
    Task {
        #[serde(flatten)]
        key: TaskKey,
        node_id: i32,
        epoch: i32,
        #[serde(flatten)]
        topics: TaskTopics,
    },
    /// The task is no part of its pipeline any more. Since version 3.
    RemoveTask {
        #[serde(flatten)]
        key: TaskKey,
    },
}

/// What a configuration entry belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A node, by id.
    Broker(i32),
    /// All nodes that do not set their own. Since version 2.
    DefaultBroker,
}

/// One task of a pipeline: a stage's work on one input partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskKey {
    /// The pipeline's id.
    pub pipeline: String,
    /// The stage's (or source's) name within the pipeline.
    pub stage: String,
    /// The input partition.
    pub partition: i32,
}

/// The topics of a task. Both are empty in records that are older than these fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTopics {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// Its outputs, and its dead letters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
}

/// A value in the metadata log that this version cannot take.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The value is not the JSON that a record must be.
    #[error("metadata record is not readable: {reason}")]
    Malformed { reason: String },
    /// The value was written by a newer version.
    #[error(
        "metadata record has version {version}, and this program understands versions up to {supported}"
    )]
    TooNew { version: u32, supported: u32 },
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    record: &'a MetadataRecord,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl MetadataRecord {
    /// The topic that this record removes.
    pub fn removed_topic(&self) -> Option<Uuid> {
        match self {
            MetadataRecord::RemoveTopic { id } => Some(*id),
            _ => None,
        }
    }

    /// The JSON value that goes into the log.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&Written {
            version: self.version(),
            record: self,
        })
        .expect("strings, numbers and lists of numbers always have a JSON form")
    }

    /// The oldest version whose readers understand the record.
    fn version(&self) -> u32 {
        match self {
            MetadataRecord::Config {
                resource: ConfigResource::DefaultBroker,
                ..
            } => 2,
            MetadataRecord::RemoveTask { .. } => 3,
            _ => 1,
        }
    }

    /// Reads a value back. The version is looked at first, so that a newer record gives the better message.
    pub fn decode(value: &[u8]) -> Result<MetadataRecord, RecordError> {
        let malformed = |error: serde_json::Error| RecordError::Malformed {
            reason: error.to_string(),
        };
        let Version { version } = serde_json::from_slice(value).map_err(malformed)?;
        if version > RECORD_VERSION {
            return Err(RecordError::TooNew {
                version,
                supported: RECORD_VERSION,
            });
        }
        serde_json::from_slice(value).map_err(malformed)
    }
}

/// Topic ids as hyphenated text.
mod id_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use uuid::Uuid;

    pub fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        let text = String::deserialize(deserializer)?;
        Uuid::parse_str(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
