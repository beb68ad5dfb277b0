//! `millstream topic describe`.

use std::io::Write;

use millstream_wire::describe_configs::DescribeConfigsResourceResult;
use serde::Serialize;

use crate::client::{Client, ClientError, EARLIEST, Isolation, LATEST};
use crate::commands::at_node::offset;
use crate::commands::settings::{Resource, describe_settings};
use crate::output::{OutputFormat, Table, print_json};

/// DescribeConfigs: the value was set on the topic itself.
const SOURCE_TOPIC: i8 = 1;

#[derive(Debug, Serialize)]
struct DescribedTopic {
    name: String,
    id: String,
    internal: bool,
    partitions: Vec<DescribedPartition>,
    configs: Vec<DescribedConfig>,
}

#[derive(Debug, Serialize)]
struct DescribedPartition {
    partition: i32,
    leader: i32,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    start: Option<i64>,
    last_stable: Option<i64>,
    end: Option<i64>,
}

#[derive(Debug, Serialize)]
struct DescribedConfig {
    name: String,
    value: Option<String>,
    /// False where the topic has the node's or Kafka's default.
    set: bool,
}

pub(super) async fn describe(
    mut client: Client,
    names: &[String],
    output: OutputFormat,
) -> Result<(), ClientError> {
    let mut described = Vec::new();
    for name in names {
        described.push(describe_one(&mut client, name).await?);
    }
    if output.is_json() {
        return Ok(print_json(&described)?);
    }
    let mut out = std::io::stdout();
    for (index, topic) in described.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        writeln!(out, "topic {} (id {})", topic.name, topic.id)?;
        let set: Vec<String> = topic
            .configs
            .iter()
            .filter(|config| config.set)
            .map(|config| format!("{}={}", config.name, config.value.as_deref().unwrap_or("")))
            .collect();
        if !set.is_empty() {
            writeln!(out, "settings {}", set.join(" "))?;
        }
        write!(out, "{}", partition_table(&topic.partitions))?;
    }
    Ok(())
}

async fn describe_one(client: &mut Client, name: &str) -> Result<DescribedTopic, ClientError> {
    let topic = client.topic(name, false).await?;
    let all: Vec<i32> = topic
        .partitions
        .iter()
        .map(|partition| partition.index)
        .collect();
    let start = client
        .offsets(&topic, &all, EARLIEST, Isolation::ReadUncommitted)
        .await?;
    let stable = client
        .offsets(&topic, &all, LATEST, Isolation::ReadCommitted)
        .await?;
    let end = client
        .offsets(&topic, &all, LATEST, Isolation::ReadUncommitted)
        .await?;
    let configs = describe_settings(client, Resource::Topic(name)).await?;
    Ok(DescribedTopic {
        id: topic.id.to_string(),
        internal: topic.internal,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| DescribedPartition {
                start: start.get(&partition.index).copied(),
                last_stable: stable.get(&partition.index).copied(),
                end: end.get(&partition.index).copied(),
                partition: partition.index,
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                replicas: partition.replicas,
                isr: partition.isr,
            })
            .collect(),
        configs: configs.into_iter().map(DescribedConfig::from).collect(),
        name: topic.name,
    })
}

impl From<DescribeConfigsResourceResult> for DescribedConfig {
    fn from(config: DescribeConfigsResourceResult) -> DescribedConfig {
        DescribedConfig {
            name: config.name,
            value: config.value,
            set: config.config_source == SOURCE_TOPIC,
        }
    }
}

fn partition_table(partitions: &[DescribedPartition]) -> Table {
    let mut table = Table::new(&[
        "PARTITION",
        "LEADER",
        "EPOCH",
        "REPLICAS",
        "ISR",
        "START",
        "STABLE",
        "END",
    ]);
    for partition in partitions {
        table.row([
            partition.partition.to_string(),
            partition.leader.to_string(),
            partition.leader_epoch.to_string(),
            numbers(&partition.replicas),
            numbers(&partition.isr),
            offset(partition.start),
            offset(partition.last_stable),
            offset(partition.end),
        ]);
    }
    table
}

fn numbers(numbers: &[i32]) -> String {
    let texts: Vec<String> = numbers.iter().map(i32::to_string).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_offsets_shows_dashes() {
        let table = partition_table(&[DescribedPartition {
            partition: 0,
            leader: 1,
            leader_epoch: 4,
            replicas: vec![1, 2],
            isr: vec![1],
            start: Some(0),
            last_stable: None,
            end: Some(12),
        }]);
        let text = table.to_string();
        let row: Vec<&str> = text
            .lines()
            .nth(1)
            .expect("a row")
            .split_whitespace()
            .collect();
        assert_eq!(row, ["0", "1", "4", "1,2", "1", "0", "-", "12"]);
    }
}
