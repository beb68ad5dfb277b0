//! `millstream topic delete-records`.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use millstream_wire::ErrorCode;
use millstream_wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use serde::Serialize;

use super::TIMEOUT_MS;
use crate::client::{Client, ClientError, Topic};
use crate::commands::at_node::NodeAddress;
use crate::output::{OutputFormat, Table, print_json};

/// DeleteRecords: up to the high watermark.
const HIGH_WATERMARK: i64 = -1;

#[derive(Debug, Args)]
pub(super) struct DeleteRecordsArguments {
    /// The topic's name
    name: String,
    /// Delete what lies before this offset; `end` deletes all records
    #[arg(long, value_name = "OFFSET", value_parser = before)]
    before: i64,
    /// Only in this partition; may be repeated [default: in all]
    #[arg(long, value_name = "NUMBER")]
    partition: Vec<i32>,
    #[command(flatten)]
    address: NodeAddress,
}

impl DeleteRecordsArguments {
    pub(super) fn address(&self) -> &NodeAddress {
        &self.address
    }
}

fn before(text: &str) -> Result<i64, String> {
    match text {
        "end" => Ok(HIGH_WATERMARK),
        number => match number.parse() {
            Ok(offset) if offset >= 0 => Ok(offset),
            _ => Err("an offset is a whole number from 0, or `end`".to_owned()),
        },
    }
}

#[derive(Debug, Serialize)]
struct Deleted {
    partition: i32,
    /// The first offset that is left.
    start: i64,
}

pub(super) async fn delete_records(
    mut client: Client,
    arguments: &DeleteRecordsArguments,
    output: OutputFormat,
) -> Result<(), ClientError> {
    let name = &arguments.name;
    let topic = client.topic(name, false).await?;
    let mut deleted = Vec::new();
    let mut failure = None;
    for (leader, partitions) in leaders(&topic, &arguments.partition)? {
        let wanted = |index: &i32| DeleteRecordsPartition {
            partition_index: *index,
            offset: arguments.before,
        };
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: name.clone(),
                partitions: partitions.iter().map(wanted).collect(),
            }],
            timeout_ms: TIMEOUT_MS,
        };
        let response = client.call_node(leader, &request).await?;
        for result in response
            .topics
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            let partition = result.partition_index;
            match ErrorCode::from_code(result.error_code) {
                ErrorCode::None => deleted.push(Deleted {
                    partition,
                    start: result.low_watermark,
                }),
                code => {
                    let what = format!("deleting records of partition {partition} of {name:?}");
                    failure = Some(ClientError::refused(what, code));
                }
            }
        }
    }
    deleted.sort_by_key(|one| one.partition);
    report(&deleted, output)?;
    failure.map_or(Ok(()), Err)
}

/// The wanted partitions by their leaders.
fn leaders(topic: &Topic, wanted: &[i32]) -> Result<BTreeMap<i32, Vec<i32>>, ClientError> {
    if let Some(missing) = wanted
        .iter()
        .find(|index| topic.partitions.iter().all(|one| one.index != **index))
    {
        let name = &topic.name;
        return Err(ClientError::NotFound(format!(
            "topic {name:?} has no partition {missing}"
        )));
    }
    let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for partition in &topic.partitions {
        if wanted.is_empty() || wanted.contains(&partition.index) {
            leaders
                .entry(partition.leader)
                .or_default()
                .push(partition.index);
        }
    }
    Ok(leaders)
}

fn report(deleted: &[Deleted], output: OutputFormat) -> Result<(), ClientError> {
    if output.is_json() {
        return Ok(print_json(&deleted)?);
    }
    let mut table = Table::new(&["PARTITION", "START"]);
    for one in deleted {
        table.row([one.partition.to_string(), one.start.to_string()]);
    }
    if !deleted.is_empty() {
        write!(std::io::stdout(), "{table}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_number_or_the_end() {
        assert_eq!(before("12"), Ok(12));
        assert_eq!(before("end"), Ok(HIGH_WATERMARK));
        assert!(before("-1").is_err() && before("x").is_err());
    }
}
