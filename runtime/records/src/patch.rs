//! Changes to a sound batch where it lies. `batch` is one whole batch that `BatchView::parse` accepted; anything
//! shorter than a header is the caller's bug and panics.

use crate::ProducerStamp;
use crate::builder::seal;
use crate::header::{
    ATTRIBUTES_AT, BASE_OFFSET_AT, BASE_SEQUENCE_AT, LEADER_EPOCH_AT, LOG_APPEND_TIME_BIT,
    MAX_TIMESTAMP_AT, PRODUCER_EPOCH_AT, PRODUCER_ID_AT, put,
};

/// Assigns the base offset. The CRC does not cover it.
pub fn set_base_offset(batch: &mut [u8], base_offset: i64) {
    put(batch, BASE_OFFSET_AT, base_offset.to_be_bytes());
}

/// Assigns the partition leader epoch. The CRC does not cover it.
pub fn set_leader_epoch(batch: &mut [u8], leader_epoch: i32) {
    put(batch, LEADER_EPOCH_AT, leader_epoch.to_be_bytes());
}

/// Makes the batch one of log append time: sets the attribute and the max timestamp (ms), and the CRC anew.
pub fn set_log_append_time(batch: &mut [u8], timestamp: i64) {
    let attributes = i16::from_be_bytes([batch[ATTRIBUTES_AT], batch[ATTRIBUTES_AT + 1]]);
    put(
        batch,
        ATTRIBUTES_AT,
        (attributes | LOG_APPEND_TIME_BIT).to_be_bytes(),
    );
    put(batch, MAX_TIMESTAMP_AT, timestamp.to_be_bytes());
    seal(batch);
}

/// Sets the max timestamp (ms) of a batch of create time, and the CRC anew.
pub fn set_max_timestamp(batch: &mut [u8], timestamp: i64) {
    put(batch, MAX_TIMESTAMP_AT, timestamp.to_be_bytes());
    seal(batch);
}

/// Stamps the batch with another producer or sequence, and the CRC anew.
pub fn restamp_producer(batch: &mut [u8], producer: ProducerStamp) {
    put(batch, PRODUCER_ID_AT, producer.id.to_be_bytes());
    put(batch, PRODUCER_EPOCH_AT, producer.epoch.to_be_bytes());
    put(
        batch,
        BASE_SEQUENCE_AT,
        producer.base_sequence.to_be_bytes(),
    );
    seal(batch);
}
