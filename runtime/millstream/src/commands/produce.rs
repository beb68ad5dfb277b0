//! `millstream produce TOPIC`: lines from standard input become records.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use clap::{Args, ValueEnum};
use millstream_records::Compression;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::client::{Client, ClientError, NewRecord, Producer, Written};
use crate::commands::at_node::{NodeAddress, on_node};
use crate::commands::record_json;
use crate::outcome::Outcome;
use crate::output::{OutputFormat, Table, print_json};

/// A line waits this long for others before it is sent.
const LINGER: Duration = Duration::from_millis(5);
const READ_BUFFER: usize = 256 << 10;
/// Lines that are read ahead of sending; when there are so many, reading waits.
const LINES_AHEAD_MAX: usize = 4096;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The topic; the node makes it if it creates topics by itself
    topic: String,
    /// What a line is
    #[arg(long, value_enum, default_value_t)]
    input: Input,
    /// Text that stands between key and value of a line; without it, lines have no key
    #[arg(long, value_name = "TEXT", conflicts_with = "input")]
    key_separator: Option<String>,
    /// The partition of records that name none [default: by the key, as Kafka's clients choose]
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, default_value_t)]
    compression: Compression,
    #[command(flatten)]
    address: NodeAddress,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Input {
    /// The value, or key and value with --key-separator
    #[default]
    Text,
    /// An object with key, value, headers, partition and timestamp, as `consume --output json`
    /// prints it
    Json,
}

/// Reads standard input to its end.
pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    on_node(&arguments.address, async |client| {
        produce(client, arguments, output).await
    })
}

async fn produce(
    mut client: Client,
    arguments: &Arguments,
    output: OutputFormat,
) -> Result<(), ClientError> {
    let topic = client.topic(&arguments.topic, true).await?;
    let mut producer = Producer::start(&mut client, topic, arguments.compression).await?;
    let mut lines = read_lines();
    let mut line_number = 0_u64;
    loop {
        let received = match producer.has_unsent() {
            true => match timeout(LINGER, lines.recv()).await {
                Ok(received) => received,
                Err(_) => {
                    producer.flush(&mut client).await?;
                    continue;
                }
            },
            false => lines.recv().await,
        };
        let Some(line) = received else { break };
        line_number += 1;
        let record = arguments
            .record(&line?)
            .map_err(|error| ClientError::Input(format!("line {line_number}: {error}")))?;
        producer.append(&mut client, &record).await?;
    }
    producer.flush(&mut client).await?;
    report(&arguments.topic, producer.written(), output)
}

/// Lines of standard input without their ends. The thread waits in a read that nothing can
/// interrupt, so nobody joins it: it ends with the input or with the process.
fn read_lines() -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD_MAX);
    std::thread::spawn(move || {
        let mut input = BufReader::with_capacity(READ_BUFFER, std::io::stdin());
        loop {
            let mut line = Vec::new();
            let item = match input.read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => {
                    line.truncate(line.strip_suffix(b"\n").unwrap_or(&line).len());
                    Ok(line)
                }
                Err(error) => Err(error),
            };
            if sender.blocking_send(item).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Arguments {
    fn record(&self, line: &[u8]) -> Result<NewRecord, String> {
        let mut record = match self.input {
            Input::Json => record_json::parse(line)?,
            Input::Text => text_record(line, self.key_separator.as_deref())?,
        };
        record.partition = record.partition.or(self.partition);
        Ok(record)
    }
}

/// Splits a line at the first separator.
fn text_record(line: &[u8], separator: Option<&str>) -> Result<NewRecord, String> {
    let (key, value) = match separator {
        None => (None, line),
        Some(separator) => {
            let bytes = separator.as_bytes();
            let mut windows = line.windows(bytes.len().max(1));
            let at = windows.position(|window| window == bytes).ok_or_else(|| {
                format!("there is no {separator:?} between key and value (--key-separator says so)")
            })?;
            (Some(line[..at].to_vec()), &line[at + bytes.len()..])
        }
    };
    Ok(NewRecord {
        key,
        value: Some(value.to_vec()),
        ..NewRecord::default()
    })
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    topic: &'a str,
    records: u64,
    partitions: Vec<PartitionReport>,
}

#[derive(Debug, Serialize)]
struct PartitionReport {
    partition: i32,
    records: u64,
    first_offset: i64,
    last_offset: i64,
}

fn report(
    topic: &str,
    written: &BTreeMap<i32, Written>,
    output: OutputFormat,
) -> Result<(), ClientError> {
    let report = Report {
        topic,
        records: written.values().map(|written| written.records).sum(),
        partitions: written
            .iter()
            .map(|(partition, written)| PartitionReport {
                partition: *partition,
                records: written.records,
                first_offset: written.first_offset,
                last_offset: written.last_offset,
            })
            .collect(),
    };
    if output.is_json() {
        return Ok(print_json(&report)?);
    }
    let mut table = Table::new(&["TOPIC", "PARTITION", "RECORDS", "FIRST", "LAST"]);
    for partition in &report.partitions {
        table.row([
            topic.to_owned(),
            partition.partition.to_string(),
            partition.records.to_string(),
            partition.first_offset.to_string(),
            partition.last_offset.to_string(),
        ]);
    }
    Ok(table.print()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str, separator: &str) -> Result<(String, String), String> {
        let record = text_record(line.as_bytes(), Some(separator))?;
        let text =
            |bytes: Option<Vec<u8>>| String::from_utf8(bytes.expect("is set")).expect("text");
        Ok((text(record.key), text(record.value)))
    }

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(split("k=v=w", "="), pair("k", "v=w"));
        assert_eq!(split("k::v", "::"), pair("k", "v"));
        assert_eq!(split("=v", "="), pair("", "v"));
        assert_eq!(split("k=", "="), pair("k", ""));
        assert!(split("kv", "=").is_err());
        assert!(split("", "=").is_err());
    }

    #[test]
    fn a_line_without_separator_is_a_value_without_a_key() {
        let record = text_record(b"a=b", None).expect("reads");
        assert_eq!(record.key, None);
        assert_eq!(record.value.as_deref(), Some(&b"a=b"[..]));
    }
}
