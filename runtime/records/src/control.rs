//! Control batches: the markers that end a transaction.

use crate::builder::seal;
use crate::header::{CONTROL_BIT, TRANSACTIONAL_BIT};
use crate::varint;
use crate::{BatchError, BatchHeader, HEADER_LEN, LOG_OVERHEAD, NO_SEQUENCE, Record};

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Marker {
    Abort,
    Commit,
}

/// The type of a control record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlKind {
    /// The end of the producer's transaction in this partition.
    EndTransaction(Marker),
    /// A type that means nothing to a partition's readers (KRaft's own, or a later one); they skip it.
    Other(i16),
}

/// A control record: key = {version i16, type i16}, value of an end marker = {version i16, coordinator epoch i32}.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlRecord {
    pub kind: ControlKind,
    /// Epoch of the transaction coordinator that wrote the marker; -1 for other kinds.
    pub coordinator_epoch: i32,
}

impl ControlRecord {
    /// Reads a record of a control batch. Later versions may have longer keys and values; their head is the same.
    pub fn parse(record: &Record<'_>) -> Result<Self, BatchError> {
        let refuse = |reason| BatchError::Control { reason };
        let key = record.key.ok_or(refuse("no key"))?;
        let &[v0, v1, t0, t1] = key
            .first_chunk::<4>()
            .ok_or(refuse("the key is shorter than 4 bytes"))?;
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(refuse("the key's version is negative"));
        }
        let marker = match i16::from_be_bytes([t0, t1]) {
            0 => Marker::Abort,
            1 => Marker::Commit,
            other => {
                return Ok(Self {
                    kind: ControlKind::Other(other),
                    coordinator_epoch: -1,
                });
            }
        };
        let value = record
            .value
            .ok_or(refuse("an end marker without a value"))?;
        let &[v0, v1, e0, e1, e2, e3] = value
            .first_chunk::<6>()
            .ok_or(refuse("the end marker's value is shorter than 6 bytes"))?;
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(refuse("the end marker's version is negative"));
        }
        Ok(Self {
            kind: ControlKind::EndTransaction(marker),
            coordinator_epoch: i32::from_be_bytes([e0, e1, e2, e3]),
        })
    }

    /// The marker, if this ends a transaction.
    pub fn marker(&self) -> Option<Marker> {
        match self.kind {
            ControlKind::EndTransaction(marker) => Some(marker),
            ControlKind::Other(_) => None,
        }
    }
}

/// A whole batch with one end marker, at base offset 0 and leader epoch -1 (the log assigns both).
pub fn build_marker(
    marker: Marker,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    timestamp: i64,
) -> Vec<u8> {
    let kind: i16 = match marker {
        Marker::Abort => 0,
        Marker::Commit => 1,
    };
    let mut record = vec![0, 0, 0]; // Attributes, timestamp delta, offset delta.
    varint::write_i32(&mut record, 4);
    record.extend_from_slice(&0_i16.to_be_bytes());
    record.extend_from_slice(&kind.to_be_bytes());
    varint::write_i32(&mut record, 6);
    record.extend_from_slice(&0_i16.to_be_bytes());
    record.extend_from_slice(&coordinator_epoch.to_be_bytes());
    record.push(0); // No headers.

    let size = HEADER_LEN + varint::size_i32(record.len() as i32) + record.len();
    let header = BatchHeader {
        base_offset: 0,
        batch_length: (size - LOG_OVERHEAD) as i32,
        leader_epoch: -1,
        crc: 0,
        attributes: TRANSACTIONAL_BIT | CONTROL_BIT,
        last_offset_delta: 0,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        producer_id,
        producer_epoch,
        base_sequence: NO_SEQUENCE,
        record_count: 1,
    };
    let mut batch = Vec::with_capacity(size);
    batch.extend_from_slice(&header.encode());
    varint::write_i32(&mut batch, record.len() as i32);
    batch.extend_from_slice(&record);
    seal(&mut batch);
    batch
}
