//! What became of each fixture.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use millstream_plugin_host::{Outcome, OutcomeKind, Output};
use serde_json::{Map, Value, json};

type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A record that was emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmittedRecord {
    /// Name of the output.
    pub output: String,
    /// `None`: the key chooses.
    pub partition: Option<i32>,
    /// `None`: the input's.
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
}

/// What became of one fixture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordOutcome {
    Emitted(Vec<EmittedRecord>),
    Refused { code: u32, message: String },
}

impl RecordOutcome {
    pub(crate) fn of(outcome: &Outcome<'_>, outputs: &[String]) -> Self {
        match outcome.kind {
            OutcomeKind::Refused { code, message } => Self::Refused {
                code,
                message: message.to_owned(),
            },
            OutcomeKind::Emitted(emitted) => {
                Self::Emitted(emitted.map(|output| record(&output, outputs)).collect())
            }
        }
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Refused { code, message } => {
                json!({ "refused": { "code": code, "message": message } })
            }
            Self::Emitted(records) => {
                json!({ "emitted": records.iter().map(emitted_json).collect::<Vec<_>>() })
            }
        }
    }
}

fn record(output: &Output<'_>, outputs: &[String]) -> EmittedRecord {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    EmittedRecord {
        output: outputs[usize::from(output.output)].clone(),
        partition: output.partition,
        timestamp: output.timestamp,
        key: owned(output.key),
        value: owned(output.value),
        headers: output
            .headers
            .iter()
            .map(|(name, value)| (name.to_vec(), owned(value)))
            .collect(),
    }
}

fn emitted_json(record: &EmittedRecord) -> Value {
    let mut line = Map::new();
    line.insert("output".to_owned(), json!(record.output));
    put_bytes(&mut line, "key", record.key.as_deref());
    put_bytes(&mut line, "value", record.value.as_deref());
    if !record.headers.is_empty() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = record
            .headers
            .iter()
            .map(|(name, value)| json!([text(name), value.as_deref().map(text)]));
        line.insert("headers".to_owned(), headers.collect());
    }
    if let Some(timestamp) = record.timestamp {
        line.insert("timestamp".to_owned(), json!(timestamp));
    }
    if let Some(partition) = record.partition {
        line.insert("partition".to_owned(), json!(partition));
    }
    Value::Object(line)
}

/// Text as it is; other bytes as base64 under another name.
fn put_bytes(line: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => line.insert(name.to_owned(), Value::Null),
        Some((Ok(text), _)) => line.insert(name.to_owned(), json!(text)),
        Some((Err(_), bytes)) => line.insert(
            format!("{name}_base64"),
            json!(BASE64_STANDARD.encode(bytes)),
        ),
    };
}
