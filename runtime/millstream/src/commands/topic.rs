//! `millstream topic create | list | describe | delete`.

use std::io::Write;

use clap::{Args, Subcommand};
use millstream_wire::ErrorCode;
use millstream_wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use millstream_wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use millstream_wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use serde::Serialize;

use crate::client::{Client, ClientError, EARLIEST, Isolation, LATEST, Topic};
use crate::commands::at_node::{NodeAddress, offset, on_node};
use crate::outcome::Outcome;
use crate::output::{OutputFormat, Table, print_json};

const TIMEOUT_MS: i32 = 30_000;
/// DescribeConfigs: the resource is a topic.
const RESOURCE_TOPIC: i8 = 2;
/// DescribeConfigs: the value was set on the topic itself.
const SOURCE_TOPIC: i8 = 1;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a topic
    Create(CreateArguments),
    /// List topics
    List(ListArguments),
    /// Show partitions, offsets and settings of topics
    Describe(NamesArguments),
    /// Delete topics and all their records
    Delete(NamesArguments),
}

#[derive(Debug, Args)]
struct CreateArguments {
    /// The topic's name
    name: String,
    /// How many partitions it gets [default: the node's num.partitions]
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// On how many nodes each partition is kept [default: the node's default.replication.factor]
    #[arg(long, value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A setting by Kafka's name, as in `--config retention.ms=3600000`; may be repeated
    #[arg(long = "config", short, value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// Do nothing if the topic is there already
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    address: NodeAddress,
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Show internal topics too
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    address: NodeAddress,
}

#[derive(Debug, Args)]
struct NamesArguments {
    /// The topics' names
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    address: NodeAddress,
}

/// Runs one of the subcommands.
pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    match &arguments.command {
        Command::Create(arguments) => on_node(&arguments.address, async |client| {
            create(client, arguments, output).await
        }),
        Command::List(arguments) => on_node(&arguments.address, async |client| {
            list(client, arguments.internal, output).await
        }),
        Command::Describe(arguments) => on_node(&arguments.address, async |client| {
            describe(client, &arguments.names, output).await
        }),
        Command::Delete(arguments) => on_node(&arguments.address, async |client| {
            delete(client, &arguments.names, output).await
        }),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a setting looks like KEY=VALUE".to_owned()),
    }
}

async fn create(
    mut client: Client,
    arguments: &CreateArguments,
    output: OutputFormat,
) -> Result<(), ClientError> {
    let config = |(name, value): &(String, String)| CreatableTopicConfig {
        name: name.clone(),
        value: Some(value.clone()),
    };
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: arguments.name.clone(),
            num_partitions: arguments.partitions.unwrap_or(-1),
            replication_factor: arguments.replication_factor.unwrap_or(-1),
            assignments: Vec::new(),
            configs: arguments.configs.iter().map(config).collect(),
        }],
        timeout_ms: TIMEOUT_MS,
        validate_only: false,
    };
    let response = client.call(&request).await?;
    let result = response.topics.into_iter().next().unwrap_or_default();
    let created = match ErrorCode::from_code(result.error_code) {
        ErrorCode::None => true,
        ErrorCode::TopicAlreadyExists if arguments.if_not_exists => false,
        code => {
            return Err(ClientError::Refused {
                what: format!("creating topic {:?}", arguments.name),
                code,
                detail: result.error_message,
            });
        }
    };
    let topic = client.topic(&arguments.name, false).await?;
    let partitions = topic.partitions.len();
    if output.is_json() {
        let report = CreatedTopic {
            name: &topic.name,
            id: topic.id.to_string(),
            partitions,
            created,
        };
        return Ok(print_json(&report)?);
    }
    let mut out = std::io::stdout();
    match created {
        true => writeln!(out, "created {} with {partitions} partitions", topic.name)?,
        false => writeln!(
            out,
            "{} is there already, with {partitions} partitions",
            topic.name
        )?,
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct CreatedTopic<'a> {
    name: &'a str,
    id: String,
    partitions: usize,
    created: bool,
}

async fn list(mut client: Client, internal: bool, output: OutputFormat) -> Result<(), ClientError> {
    let mut topics = client.topics().await?;
    topics.retain(|topic| internal || !topic.internal);
    if output.is_json() {
        let listed: Vec<ListedTopic> = topics.iter().map(ListedTopic::from).collect();
        return Ok(print_json(&listed)?);
    }
    let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS", "INTERNAL"]);
    for topic in topics.iter().map(ListedTopic::from) {
        table.row([
            topic.name.to_owned(),
            topic.partitions.to_string(),
            topic.replicas.to_string(),
            (if topic.internal { "yes" } else { "no" }).to_owned(),
        ]);
    }
    Ok(table.print()?)
}

#[derive(Debug, Serialize)]
struct ListedTopic<'a> {
    name: &'a str,
    id: String,
    partitions: usize,
    replicas: usize,
    internal: bool,
}

impl<'a> From<&'a Topic> for ListedTopic<'a> {
    fn from(topic: &'a Topic) -> ListedTopic<'a> {
        let replicas = topic
            .partitions
            .iter()
            .map(|partition| partition.replicas.len());
        ListedTopic {
            name: &topic.name,
            id: topic.id.to_string(),
            partitions: topic.partitions.len(),
            replicas: replicas.max().unwrap_or(0),
            internal: topic.internal,
        }
    }
}

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

async fn describe(
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
    let configs = topic_configs(client, name).await?;
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
        configs,
        name: topic.name,
    })
}

async fn topic_configs(
    client: &mut Client,
    name: &str,
) -> Result<Vec<DescribedConfig>, ClientError> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: name.to_owned(),
            configuration_keys: None,
        }],
        include_synonyms: false,
        include_documentation: false,
    };
    let response = client.call(&request).await?;
    let result = response.results.into_iter().next().unwrap_or_default();
    match ErrorCode::from_code(result.error_code) {
        ErrorCode::None => Ok(result
            .configs
            .into_iter()
            .map(DescribedConfig::from)
            .collect()),
        code => Err(ClientError::Refused {
            what: format!("reading the settings of topic {name:?}"),
            code,
            detail: result.error_message,
        }),
    }
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

async fn delete(
    mut client: Client,
    names: &[String],
    output: OutputFormat,
) -> Result<(), ClientError> {
    // Version 6 asks in a list of its own; the field before it is dropped there.
    let named = client.version::<DeleteTopicsRequest>().await? >= 6;
    let state = |name: &String| DeleteTopicState {
        name: Some(name.clone()),
        ..DeleteTopicState::default()
    };
    let request = DeleteTopicsRequest {
        topics: match named {
            true => names.iter().map(state).collect(),
            false => Vec::new(),
        },
        topic_names: names.to_vec(),
        timeout_ms: TIMEOUT_MS,
    };
    let response = client.call(&request).await?;
    let mut deleted = Vec::new();
    let mut failure = None;
    for result in response.responses {
        let name = result.name.unwrap_or_default();
        match ErrorCode::from_code(result.error_code) {
            ErrorCode::None => deleted.push(name),
            ErrorCode::UnknownTopicOrPartition => {
                failure = Some(ClientError::NotFound(format!(
                    "there is no topic {name:?}; see `millstream topic list`"
                )));
            }
            code => {
                failure = Some(ClientError::Refused {
                    what: format!("deleting topic {name:?}"),
                    code,
                    detail: result.error_message,
                });
            }
        }
    }
    if output.is_json() {
        print_json(&serde_json::json!({ "deleted": deleted }))?;
    } else {
        let mut out = std::io::stdout();
        for name in deleted {
            writeln!(out, "deleted {name}")?;
        }
    }
    failure.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_needs_a_key_and_a_value() {
        assert_eq!(
            key_value("cleanup.policy=compact=1"),
            Ok(("cleanup.policy".to_owned(), "compact=1".to_owned()))
        );
        assert!(key_value("cleanup.policy").is_err());
        assert!(key_value("=compact").is_err());
    }

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
