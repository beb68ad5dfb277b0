//! A source's progress in the compacted topic `__millstream_sources`.

use std::fs::Metadata;
use std::path::Path;
use std::time::UNIX_EPOCH;

use millstream_records::batches;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::rows::Checkpoint;
use crate::ports::{Engine, InputPartition, PortError, SOURCES_TOPIC, TaskId};
use crate::task::{AbortedFilter, Verdict};

/// The partition of the progress topic; it has one.
pub const PARTITION: i32 = 0;
const CHUNK_BYTES: usize = 1024 * 1024;
const DECOMPRESSED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The value of a progress record, as JSON. Keys are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub version: u32,
    /// The file as the manifest names it; for people, the digest decides.
    pub file: String,
    /// Bytes of the decompressed file that were read.
    pub position: u64,
    pub records: u64,
    /// SHA-256 of those bytes, in hex.
    pub digest: String,
    /// The whole file was read.
    pub done: bool,
    /// Length of the file itself and its last change in nanoseconds since 1970, when it was read
    /// to its end: a finished file whose both are the same is not read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<FileStamp>,
    /// The id of the topic that was fed. In another topic of that name nothing of the file is there.
    /// Progress of older versions has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    pub bytes: u64,
    pub modified_ns: u64,
}

impl FileStamp {
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let metadata: Metadata = std::fs::metadata(path)?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
        Ok(FileStamp {
            bytes: metadata.len(),
            modified_ns: modified
                .ok()
                .and_then(|time| u64::try_from(time.as_nanos()).ok())
                .unwrap_or(0),
        })
    }
}

impl Progress {
    pub fn new(file: &str, at: &Checkpoint, stamp: Option<FileStamp>, topic_id: Uuid) -> Self {
        Progress {
            version: 1,
            file: file.to_owned(),
            position: at.position,
            records: at.records,
            digest: hex(&at.digest),
            done: stamp.is_some(),
            stamp,
            topic_id: Some(topic_id.to_string()),
        }
    }

    /// Whether it is the progress of another topic than this one.
    pub fn is_of_another_topic(&self, topic_id: Uuid) -> bool {
        let fed = self.topic_id.as_ref();
        fed.is_some_and(|fed| *fed != topic_id.to_string())
    }

    /// Where to go on.
    pub fn checkpoint(&self) -> Result<Checkpoint, PortError> {
        let digest = unhex(&self.digest).ok_or_else(|| PortError::Refused {
            reason: format!("progress of {} has a malformed digest", self.file),
        })?;
        Ok(Checkpoint {
            position: self.position,
            records: self.records,
            digest,
        })
    }

    /// The record's value.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers become JSON")
    }
}

/// The key of a source's progress: `<pipeline id>/<source>`.
pub fn key(task: &TaskId) -> String {
    let source = task.stage.strip_prefix("source.").unwrap_or(&task.stage);
    format!("{}/{source}", task.pipeline_id)
}

/// The newest committed progress of a source. Call it after the task was acquired: what a
/// forerunner left open is settled then, and everything up to the log's end will become stable.
pub async fn read<E: Engine>(engine: &E, key: &str) -> Result<Option<Progress>, PortError> {
    let input = engine.input(SOURCES_TOPIC, PARTITION).await?;
    let bounds = input.bounds().await?;
    read_to(&input, key, bounds.log_start, bounds.log_end).await
}

/// The same while nobody has acquired the task: transactions that are undecided do not count, and nothing is waited for.
pub async fn read_decided<E: Engine>(engine: &E, key: &str) -> Result<Option<Progress>, PortError> {
    if engine.topic(SOURCES_TOPIC).await?.is_none() {
        return Ok(None);
    }
    let input = engine.input(SOURCES_TOPIC, PARTITION).await?;
    let bounds = input.bounds().await?;
    read_to(&input, key, bounds.log_start, bounds.last_stable).await
}

async fn read_to<I: InputPartition>(
    input: &I,
    key: &str,
    mut at: i64,
    end: i64,
) -> Result<Option<Progress>, PortError> {
    let mut newest = None;
    while at < end {
        input.wait_beyond(at).await?;
        let chunk = input.read(at, CHUNK_BYTES).await?;
        let mut filter = AbortedFilter::new(&chunk.aborted);
        let before = at;
        for batch in batches(&chunk.bytes) {
            let batch = batch.map_err(damaged)?;
            batch.verify_crc().map_err(damaged)?;
            if filter.judge(&batch).map_err(damaged)? == Verdict::Records {
                let records = batch.records(DECOMPRESSED_BYTES_MAX).map_err(damaged)?;
                for record in records.iter() {
                    let record = record.map_err(damaged)?;
                    if record.key == Some(key.as_bytes()) {
                        newest = record.value.map(<[u8]>::to_vec);
                    }
                }
            }
            at = at.max(batch.header().next_offset());
        }
        if at == before {
            return Err(PortError::Storage {
                reason: format!("{SOURCES_TOPIC} has nothing to read at offset {at}"),
            });
        }
    }
    let parse = |value: Vec<u8>| {
        serde_json::from_slice(&value).map_err(|error| PortError::Refused {
            reason: format!("the progress of source {key} cannot be read: {error}"),
        })
    };
    newest.map(parse).transpose()
}

fn damaged(error: millstream_records::BatchError) -> PortError {
    PortError::Storage {
        reason: format!("{SOURCES_TOPIC} is damaged: {error}"),
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    (text.len() == 64 && text.is_ascii()).then_some(())?;
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(out)
}
