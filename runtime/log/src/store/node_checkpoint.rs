//! The node's checkpoint file: the recovery point of every log, in one file that is replaced as a whole.
//!
//! ```text
//! at  bytes                          a log
//!  0  8  magic "MSCKPT03"            16 topic id            8 segment base i64
//!  8  4  CRC-32C of 12..end           4 partition i32       8 segment size u64
//! 12  1  flush: 0 os, 1 journal       8 incarnation u64    36 offset, time, aborted index, each:
//! 13  8  next incarnation u64         8 recovery point i64    8 bytes u64, 4 their CRC-32C
//! 21  8  next LSN u64                 8 log start i64       4 segment.bytes u32
//! 29  4  number of logs u32           8 LSN u64             4 length of the producers u32
//! 33  .. logs                                               4 number of leader epochs u32
//!                                                          .. leader epochs: i32 epoch, i64 start offset
//!                                                          .. producers (snapshot.rs)
//!                                                          2 length of the topic's name u16, and the name
//! ```
//!
//! All numbers are big-endian, as in the files around it. Version 02 had no names, and is still read. The name says where
//! a log belongs whose directory is gone.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};
use uuid::Uuid;

use super::{LogKey, StoreError};
use crate::FlushMode;
use crate::checkpoint::{EpochStart, write_atomically};
use crate::fs::FileSystem;
use crate::index::Checksum;
use crate::journal::Lsn;
use crate::log::LogCheckpoint;

/// The file's name in the data directory.
pub(crate) const FILE_NAME: &str = "millstream-checkpoint";
const MAGIC: &[u8; 8] = b"MSCKPT03";
/// Of the version that has no topics' names.
const MAGIC_WITHOUT_NAMES: &[u8; 8] = b"MSCKPT02";
const CRC_START: usize = 12;
const HEADER_BYTES: usize = 33;
/// A log without its epochs and producers.
const LOG_BYTES: usize = 116;
const EPOCH_BYTES: usize = 12;
/// A checkpoint larger than this is not believed.
const FILE_BYTES_MAX: u64 = 4 << 30;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeCheckpoint {
    /// How the node that wrote it makes appends durable.
    pub(crate) flush: FlushMode,
    pub(crate) next_incarnation: u64,
    /// Where a journal without files goes on counting.
    pub(crate) next_lsn: Lsn,
    logs: HashMap<LogKey, Known>,
}

/// A log as the checkpoint has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    /// None when a former version wrote the file.
    topic: Option<String>,
    log: LogCheckpoint,
}

impl NodeCheckpoint {
    pub(super) fn new(flush: FlushMode) -> Self {
        Self {
            flush,
            next_incarnation: 1,
            next_lsn: Lsn(1),
            logs: HashMap::new(),
        }
    }

    pub(crate) fn get(&self, key: &LogKey) -> Option<&LogCheckpoint> {
        self.logs.get(key).map(|known| &known.log)
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = (&LogKey, &LogCheckpoint)> {
        self.logs.iter().map(|(key, known)| (key, &known.log))
    }

    /// The name of a log's topic.
    pub(crate) fn topic(&self, key: &LogKey) -> Option<&str> {
        self.logs.get(key)?.topic.as_deref()
    }

    pub(super) fn insert(&mut self, key: LogKey, topic: &str, log: LogCheckpoint) {
        let topic = Some(topic.to_owned());
        self.logs.insert(key, Known { topic, log });
    }

    /// Notes the name of a log's topic, if the log is there without one.
    pub(super) fn set_topic(&mut self, key: &LogKey, topic: &str) {
        if let Some(known) = self.logs.get_mut(key)
            && known.topic.is_none()
        {
            known.topic = Some(topic.to_owned());
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&LogKey) -> bool) {
        self.logs.retain(|key, _| keep(key));
    }

    /// The file of a data directory; none when there is none.
    pub(crate) fn read(fs: &dyn FileSystem, dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = path_in(dir);
        let bytes = match fs.read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::io("reading", &path, source)),
        };
        match Self::decode(&bytes) {
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err(reason) => Err(StoreError::DamagedCheckpoint { path, reason }),
        }
    }

    pub(super) fn write(&self, fs: &dyn FileSystem, dir: &Path) -> Result<(), StoreError> {
        Ok(write_atomically(fs, &path_in(dir), &self.encode())?)
    }

    fn encode(&self) -> Vec<u8> {
        self.encode_as(MAGIC)
    }

    /// As the former version wrote it.
    #[cfg(test)]
    pub(super) fn encode_without_names(&self) -> Vec<u8> {
        self.encode_as(MAGIC_WITHOUT_NAMES)
    }

    fn encode_as(&self, magic: &[u8; 8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.logs.len() * LOG_BYTES);
        bytes.put_slice(magic);
        bytes.put_u32(0);
        bytes.put_u8(match self.flush {
            FlushMode::Os => 0,
            FlushMode::Journal => 1,
        });
        bytes.put_u64(self.next_incarnation);
        bytes.put_u64(self.next_lsn.0);
        bytes.put_u32(u32::try_from(self.logs.len()).expect("a node has fewer than 2^32 logs"));
        let mut logs: Vec<_> = self.logs.iter().collect();
        logs.sort_unstable_by_key(|(key, _)| **key);
        for ((topic_id, partition), Known { topic, log }) in logs {
            bytes.put_slice(topic_id.as_bytes());
            bytes.put_i32(*partition);
            bytes.put_u64(log.incarnation);
            bytes.put_i64(log.recovery_point);
            bytes.put_i64(log.log_start);
            bytes.put_u64(log.lsn.0);
            bytes.put_i64(log.segment_base);
            bytes.put_u64(log.segment_size);
            for sum in log.indexes {
                bytes.put_u64(sum.bytes);
                bytes.put_u32(sum.crc);
            }
            bytes.put_u32(log.segment_bytes);
            bytes.put_u32(
                u32::try_from(log.producers.len())
                    .expect("producer states of a log are below 4 GB"),
            );
            bytes.put_u32(
                u32::try_from(log.epochs.len()).expect("epochs are i32s, so there are fewer"),
            );
            for entry in &log.epochs {
                bytes.put_i32(entry.epoch);
                bytes.put_i64(entry.start_offset);
            }
            bytes.put_slice(&log.producers);
            if magic != MAGIC {
                continue;
            }
            let topic = topic.as_deref().unwrap_or_default();
            bytes
                .put_u16(u16::try_from(topic.len()).expect("a topic's name has 249 bytes at most"));
            bytes.put_slice(topic.as_bytes());
        }
        let crc = crc32c::crc32c(&bytes[CRC_START..]);
        bytes[8..CRC_START].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let has_names = bytes.starts_with(MAGIC);
        if bytes.len() < HEADER_BYTES || !(has_names || bytes.starts_with(MAGIC_WITHOUT_NAMES)) {
            return Err("it does not begin as a checkpoint does".to_owned());
        }
        let mut rest = &bytes[MAGIC.len()..];
        let stored = rest.get_u32();
        let computed = crc32c::crc32c(&bytes[CRC_START..]);
        if stored != computed {
            return Err(format!(
                "its CRC is {computed:#010x}, it says {stored:#010x}"
            ));
        }
        let flush = match rest.get_u8() {
            0 => FlushMode::Os,
            1 => FlushMode::Journal,
            other => return Err(format!("flush mode {other} is unknown")),
        };
        let mut checkpoint = Self::new(flush);
        checkpoint.next_incarnation = rest.get_u64();
        checkpoint.next_lsn = Lsn(rest.get_u64());
        for _ in 0..rest.get_u32() {
            if rest.len() < LOG_BYTES {
                return Err("it ends within a log".to_owned());
            }
            let mut topic_id = [0; 16];
            rest.copy_to_slice(&mut topic_id);
            let key = (Uuid::from_bytes(topic_id), rest.get_i32());
            let mut log = LogCheckpoint {
                incarnation: rest.get_u64(),
                recovery_point: rest.get_i64(),
                log_start: rest.get_i64(),
                lsn: Lsn(rest.get_u64()),
                segment_base: rest.get_i64(),
                segment_size: rest.get_u64(),
                indexes: std::array::from_fn(|_| Checksum {
                    bytes: rest.get_u64(),
                    crc: rest.get_u32(),
                }),
                segment_bytes: rest.get_u32(),
                epochs: Vec::new(),
                producers: Vec::new(),
            };
            let is_possible = 0 <= log.log_start
                && log.log_start <= log.recovery_point
                && 0 <= log.segment_base
                && log.segment_base <= log.recovery_point;
            if !is_possible {
                return Err(format!("the offsets of log {key:?} contradict each other"));
            }
            let len = rest.get_u32() as usize;
            let epochs = rest.get_u32() as usize;
            if rest.len() / EPOCH_BYTES < epochs {
                return Err("it ends within the leader epochs of a log".to_owned());
            }
            for _ in 0..epochs {
                log.epochs.push(EpochStart {
                    epoch: rest.get_i32(),
                    start_offset: rest.get_i64(),
                });
            }
            let producers = rest
                .get(..len)
                .ok_or("it ends within the producers of a log")?;
            log.producers = producers.to_vec();
            rest.advance(len);
            let topic = match has_names {
                true => Some(take_topic(&mut rest)?).filter(|topic| !topic.is_empty()),
                false => None,
            };
            checkpoint.logs.insert(key, Known { topic, log });
        }
        if rest.is_empty() {
            Ok(checkpoint)
        } else {
            Err(format!("{} bytes follow its end", rest.len()))
        }
    }
}

fn take_topic(rest: &mut &[u8]) -> Result<String, String> {
    let ends = || "it ends within the name of a log's topic".to_owned();
    let len = rest.try_get_u16().map_err(|_| ends())?.into();
    let name = rest.get(..len).ok_or_else(ends)?.to_vec();
    rest.advance(len);
    String::from_utf8(name).map_err(|_| "a topic's name is not UTF-8".to_owned())
}

fn path_in(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}
