//! What a killed node left behind: the transactions that were open, read from the files of
//! `__transaction_state` as they lie there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use millstream_records::batches;
use millstream_wire::Versioned;
use millstream_wire::coordinator_records::{TransactionLogKey, TransactionLogValue};

/// Larger than any record of this topic.
const DECOMPRESSED_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// A transaction that had begun and was not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTransaction {
    pub transactional_id: String,
    pub state: &'static str,
    /// `topic-partition`, as far as they were registered.
    pub partitions: Vec<String>,
}

impl fmt::Display for OpenTransaction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {} [{}]",
            self.transactional_id,
            self.state,
            self.partitions.join(", ")
        )
    }
}

/// The open transactions of a data directory whose node is gone.
pub fn open_transactions(data_dir: &Path) -> Result<Vec<OpenTransaction>> {
    let mut latest = BTreeMap::new();
    for entry in std::fs::read_dir(data_dir)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("__transaction_state-")
        {
            read_partition(&entry.path(), &mut latest)?;
        }
    }
    let open = latest.into_iter().filter_map(
        |(transactional_id, value): (String, Option<TransactionLogValue>)| {
            let value = value?;
            let state = open_state(value.transaction_status)?;
            let partitions = value.transaction_partitions.unwrap_or_default();
            let partitions = partitions
                .iter()
                .flat_map(|topic| {
                    topic
                        .partition_ids
                        .iter()
                        .map(move |id| format!("{}-{id}", topic.topic))
                })
                .collect();
            Some(OpenTransaction {
                transactional_id,
                state,
                partitions,
            })
        },
    );
    Ok(open.collect())
}

/// The names of the states in which a kill counts (Kafka's `TransactionState`).
fn open_state(status: i8) -> Option<&'static str> {
    match status {
        1 => Some("Ongoing"),
        2 => Some("PrepareCommit"),
        3 => Some("PrepareAbort"),
        _ => None,
    }
}

fn read_partition(
    dir: &Path,
    latest: &mut BTreeMap<String, Option<TransactionLogValue>>,
) -> Result<()> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            segments.push(path);
        }
    }
    segments.sort();
    for segment in segments {
        let bytes = std::fs::read(&segment)?;
        // A torn tail is what a kill may leave; recovery deals with it, here it ends the reading.
        for batch in batches(&bytes).map_while(Result::ok) {
            if batch.verify_crc().is_err() {
                break;
            }
            for record in batch.records(DECOMPRESSED_BYTES_MAX)?.iter() {
                let record = record?;
                let key = record.key.context("a transaction record without a key")?;
                let key = TransactionLogKey::from_bytes(Bytes::copy_from_slice(key))?;
                let value = record
                    .value
                    .map(|value| TransactionLogValue::from_bytes(Bytes::copy_from_slice(value)));
                latest.insert(key.transactional_id, value.transpose()?);
            }
        }
    }
    Ok(())
}
