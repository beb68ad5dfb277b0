//! What both readers print, in one form.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A batch or a record as it was printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Batch(Batch),
    Record(Record),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub position: i64,
    pub size: i64,
    pub base_offset: i64,
    pub last_offset: i64,
    pub count: i64,
    pub leader_epoch: i64,
    pub producer_id: i64,
    pub producer_epoch: i64,
    pub base_sequence: i64,
    pub last_sequence: i64,
    pub transactional: bool,
    pub control: bool,
    pub delete_horizon_ms: Option<i64>,
    pub compression: String,
    pub crc: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<String>,
    pub value: Option<String>,
    pub marker: Option<String>,
}

impl Item {
    pub fn batch(&self) -> Option<&Batch> {
        match self {
            Item::Batch(batch) => Some(batch),
            Item::Record(_) => None,
        }
    }

    pub fn record(&self) -> Option<&Record> {
        match self {
            Item::Record(record) => Some(record),
            Item::Batch(_) => None,
        }
    }

    pub fn compression(&self) -> Option<&str> {
        self.batch().map(|batch| batch.compression.as_str())
    }

    pub fn delete_horizon(&self) -> Option<i64> {
        self.batch().and_then(|batch| batch.delete_horizon_ms)
    }

    pub fn marker(&self) -> Option<&str> {
        self.record().and_then(|record| record.marker.as_deref())
    }

    pub fn is_tombstone(&self) -> bool {
        self.record().is_some_and(|record| {
            record.value.is_none() && record.key.is_some() && record.marker.is_none()
        })
    }

    /// A batch that has fewer records than offsets: compaction took some.
    pub fn follows_a_gap(&self) -> bool {
        self.batch()
            .is_some_and(|batch| batch.count < batch.last_offset - batch.base_offset + 1)
    }
}

/// Reads what DumpLogSegments printed, with or without the records. A batch whose checksum it found wrong is an error.
pub fn theirs(printed: &str, with_records: bool) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for line in printed.lines() {
        let item = if line.starts_with("baseOffset: ") {
            ensure!(line.contains("isvalid: true"), "not valid: {line}");
            Item::Batch(their_batch(line).with_context(|| line.to_owned())?)
        } else if let Some(record) = line.strip_prefix("| ").filter(|_| with_records) {
            Item::Record(their_record(record).with_context(|| line.to_owned())?)
        } else {
            continue;
        };
        items.push(item);
    }
    Ok(items)
}

/// The word behind `name: `.
fn word<'a>(line: &'a str, name: &str) -> Result<&'a str> {
    let label = format!("{name}: ");
    let start = match line.starts_with(&label) {
        true => label.len(),
        false => {
            let label = format!(" {label}");
            line.find(&label).with_context(|| format!("no {name}"))? + label.len()
        }
    };
    let rest = &line[start..];
    Ok(rest.split(' ').next().unwrap_or(rest))
}

fn number(line: &str, name: &str) -> Result<i64> {
    let word = word(line, name)?;
    word.parse().with_context(|| format!("{name} is {word:?}"))
}

fn their_batch(line: &str) -> Result<Batch> {
    let horizon = word(line, "deleteHorizonMs")?;
    let horizon = horizon
        .strip_prefix("OptionalLong[")
        .and_then(|rest| rest.strip_suffix(']'));
    Ok(Batch {
        position: number(line, "position")?,
        size: number(line, "size")?,
        base_offset: number(line, "baseOffset")?,
        last_offset: number(line, "lastOffset")?,
        count: number(line, "count")?,
        leader_epoch: number(line, "partitionLeaderEpoch")?,
        producer_id: number(line, "producerId")?,
        producer_epoch: number(line, "producerEpoch")?,
        base_sequence: number(line, "baseSequence")?,
        last_sequence: number(line, "lastSequence")?,
        transactional: word(line, "isTransactional")? == "true",
        control: word(line, "isControl")? == "true",
        delete_horizon_ms: horizon.map(str::parse).transpose()?,
        compression: word(line, "compresscodec")?.to_owned(),
        crc: number(line, "crc")?,
    })
}

fn their_record(line: &str) -> Result<Record> {
    // Keys and values may hold anything, so what names them is looked for once, in order.
    let (head, data) = line.split_once(" headerKeys: ").context("no headerKeys")?;
    let timestamp = head
        .split_whitespace()
        .skip_while(|word| *word != "CreateTime:" && *word != "LogAppendTime:")
        .nth(1)
        .context("no time")?;
    let marker = data
        .split_once("endTxnMarker: ")
        .map(|(_, rest)| rest.split(' ').next().unwrap_or(rest).to_lowercase());
    let (key_size, value_size) = (number(head, "keySize")?, number(head, "valueSize")?);
    let payload = data.split_once(" payload: ");
    let key = match data.split_once(" key: ") {
        Some((_, rest)) if key_size >= 0 => {
            Some(rest.split_once(" payload: ").map_or(rest, |(key, _)| key))
        }
        _ => None,
    };
    let value = payload
        .filter(|_| value_size >= 0)
        .map(|(_, value)| value.to_owned());
    let is_data = marker.is_none();
    Ok(Record {
        offset: number(head, "offset")?,
        timestamp: timestamp.parse()?,
        key: key.filter(|_| is_data).map(str::to_owned),
        value: value.filter(|_| is_data),
        marker,
    })
}

/// Reads what `log dump --output json` printed; damage is an error.
pub fn ours(printed: &str) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for line in printed.lines() {
        let fact: Value = serde_json::from_str(line)?;
        let integer = |name: &str| {
            fact[name]
                .as_i64()
                .with_context(|| format!("{name} in {line}"))
        };
        let text = |name: &str| match &fact[name] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            // Kafka's tool prints bytes as if they were text.
            other => Some(printed_as_text(other)),
        };
        items.push(match fact["kind"].as_str() {
            Some("batch") => Item::Batch(Batch {
                position: integer("position")?,
                size: integer("size")?,
                base_offset: integer("base_offset")?,
                last_offset: integer("last_offset")?,
                count: integer("records")?,
                leader_epoch: integer("leader_epoch")?,
                producer_id: integer("producer_id")?,
                producer_epoch: integer("producer_epoch")?,
                base_sequence: integer("base_sequence")?,
                last_sequence: integer("last_sequence")?,
                transactional: fact["transactional"] == true,
                control: fact["control"] == true,
                delete_horizon_ms: fact["delete_horizon_ms"].as_i64(),
                compression: text("compression").context("no compression")?,
                crc: i64::from_str_radix(&text("crc").context("no crc")?, 16)?,
            }),
            Some("record") => Item::Record(Record {
                offset: integer("offset")?,
                timestamp: integer("timestamp")?,
                key: text("key"),
                value: text("value"),
                marker: text("marker"),
            }),
            Some("file") => continue,
            _ => anyhow::bail!("{line}"),
        });
    }
    Ok(items)
}

/// Bytes that are not text, as the other tool shows them.
fn printed_as_text(value: &Value) -> String {
    use base64::Engine;
    let bytes = value["base64"].as_str().unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(bytes)
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
