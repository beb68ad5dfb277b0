//! Records of the internal topics, decoded for people.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::ValueEnum;
use millstream_wire::Versioned;
use millstream_wire::coordinator_records::{
    ConsumerOffsetsKey, GroupMetadataValue, OffsetCommitValue, TransactionLogKey,
    TransactionLogValue,
};
use serde_json::{Value, json};

/// How keys and values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Decoder {
    /// By the name of the directory: `__consumer_offsets-N` and `__transaction_state-N` are decoded
    #[default]
    Auto,
    /// As they are
    None,
    /// As records of `__consumer_offsets`
    Offsets,
    /// As records of `__transaction_state`
    Transactions,
}

impl Decoder {
    /// What `Auto` means for a segment.
    pub fn for_segment(self, segment: &Path) -> Decoder {
        if self != Decoder::Auto {
            return self;
        }
        let absolute = std::path::absolute(segment).unwrap_or_else(|_| segment.to_owned());
        let dir = absolute.parent().and_then(|dir| dir.file_name());
        let topic = dir
            .and_then(|dir| dir.to_str())
            .and_then(|dir| dir.rsplit_once('-'))
            .map(|(topic, _)| topic);
        match topic {
            Some("__consumer_offsets") => Decoder::Offsets,
            Some("__transaction_state") => Decoder::Transactions,
            _ => Decoder::None,
        }
    }

    pub fn key(self, key: Option<&[u8]>) -> Value {
        match (self, key) {
            (Decoder::Offsets, Some(key)) => offsets_key(key),
            (Decoder::Transactions, Some(key)) => {
                match TransactionLogKey::from_bytes(Bytes::copy_from_slice(key)) {
                    Ok(key) => json!({ "transactional_id": key.transactional_id }),
                    Err(error) => undecoded(&error, key),
                }
            }
            _ => plain(key),
        }
    }

    pub fn value(self, key: Option<&[u8]>, value: Option<&[u8]>) -> Value {
        let (Some(key), Some(value)) = (key, value) else {
            return plain(value);
        };
        match self {
            Decoder::Offsets => offsets_value(key, value),
            Decoder::Transactions => transaction_value(value),
            Decoder::Auto | Decoder::None => plain(Some(value)),
        }
    }
}

/// Text where it is text, else base64, as `consume --output json` prints it.
pub fn plain(bytes: Option<&[u8]>) -> Value {
    match bytes {
        None => Value::Null,
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
        },
    }
}

fn undecoded(error: &dyn std::fmt::Display, bytes: &[u8]) -> Value {
    json!({ "error": error.to_string(), "bytes": plain(Some(bytes)) })
}

fn offsets_key(key: &[u8]) -> Value {
    match ConsumerOffsetsKey::from_bytes(Bytes::copy_from_slice(key)) {
        Ok(ConsumerOffsetsKey::Offset(key)) => json!({
            "group": key.group, "topic": key.topic, "partition": key.partition,
        }),
        Ok(ConsumerOffsetsKey::Group(key)) => json!({ "group": key.group }),
        Ok(ConsumerOffsetsKey::Other { record_type }) => json!({ "record_type": record_type }),
        Err(error) => undecoded(&error, key),
    }
}

fn offsets_value(key: &[u8], value: &[u8]) -> Value {
    let bytes = Bytes::copy_from_slice(value);
    match ConsumerOffsetsKey::from_bytes(Bytes::copy_from_slice(key)) {
        Ok(ConsumerOffsetsKey::Offset(_)) => match OffsetCommitValue::from_bytes(bytes) {
            Ok(value) => json!({
                "offset": value.offset,
                "leader_epoch": value.leader_epoch,
                "metadata": value.metadata,
                "commit_timestamp": value.commit_timestamp,
                "topic_id": (!value.topic_id.is_nil()).then(|| value.topic_id.to_string()),
            }),
            Err(error) => undecoded(&error, value),
        },
        Ok(ConsumerOffsetsKey::Group(_)) => match GroupMetadataValue::from_bytes(bytes) {
            Ok(value) => group(&value),
            Err(error) => undecoded(&error, value),
        },
        _ => plain(Some(value)),
    }
}

fn group(value: &GroupMetadataValue) -> Value {
    let members: Vec<_> = value
        .members
        .iter()
        .map(|member| {
            json!({
                "member_id": member.member_id,
                "group_instance_id": member.group_instance_id,
                "client_id": member.client_id,
                "client_host": member.client_host,
                "rebalance_timeout": member.rebalance_timeout,
                "session_timeout": member.session_timeout,
            })
        })
        .collect();
    json!({
        "protocol_type": value.protocol_type,
        "generation": value.generation,
        "protocol": value.protocol,
        "leader": value.leader,
        "current_state_timestamp": value.current_state_timestamp,
        "members": members,
    })
}

fn transaction_value(value: &[u8]) -> Value {
    let decoded = match TransactionLogValue::from_bytes(Bytes::copy_from_slice(value)) {
        Ok(decoded) => decoded,
        Err(error) => return undecoded(&error, value),
    };
    let state = match decoded.transaction_status {
        0 => "Empty",
        1 => "Ongoing",
        2 => "PrepareCommit",
        3 => "PrepareAbort",
        4 => "CompleteCommit",
        5 => "CompleteAbort",
        6 => "Dead",
        7 => "PrepareEpochFence",
        _ => "Unknown",
    };
    let partitions: Vec<_> = decoded
        .transaction_partitions
        .iter()
        .flatten()
        .map(|topic| json!({ "topic": topic.topic, "partitions": topic.partition_ids }))
        .collect();
    json!({
        "producer_id": decoded.producer_id,
        "producer_epoch": decoded.producer_epoch,
        "state": state,
        "timeout_ms": decoded.transaction_timeout_ms,
        "partitions": partitions,
        "last_update_timestamp_ms": decoded.transaction_last_update_timestamp_ms,
        "start_timestamp_ms": decoded.transaction_start_timestamp_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_tells_the_decoder() {
        for (path, decoder) in [
            (
                "d/__consumer_offsets-7/00000000000000000000.log",
                Decoder::Offsets,
            ),
            ("d/__transaction_state-0/x.log", Decoder::Transactions),
            ("d/flights-0/00000000000000000000.log", Decoder::None),
        ] {
            assert_eq!(Decoder::Auto.for_segment(Path::new(path)), decoder);
        }
        let forced = Decoder::None.for_segment(Path::new("__consumer_offsets-7/x.log"));
        assert_eq!(forced, Decoder::None);
    }

    #[test]
    fn what_does_not_decode_is_shown_with_the_error() {
        for decoder in [Decoder::Offsets, Decoder::Transactions] {
            let key = decoder.key(Some(&[0]));
            assert!(key["error"].is_string(), "{key}");
            assert_eq!(key["bytes"], "\u{0}");
        }
        assert_eq!(
            Decoder::None.value(Some(b"k"), Some(&[0xff]))["base64"],
            "/w=="
        );
        assert_eq!(Decoder::Offsets.value(Some(b"k"), None), Value::Null);
    }
}
