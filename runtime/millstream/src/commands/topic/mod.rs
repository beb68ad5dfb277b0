//! `millstream topic create | list | describe | alter | delete-records | delete`.

mod delete_records;
mod describe;

use std::io::Write;

use clap::{Args, Subcommand};
use millstream_wire::ErrorCode;
use millstream_wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use millstream_wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use serde::Serialize;

use crate::client::{Client, ClientError, Topic};
use crate::commands::at_node::{NodeAddress, on_node};
use crate::commands::settings::{ChangeArguments, Resource, alter, key_value};
use crate::outcome::Outcome;
use crate::output::{OutputFormat, Table, print_json};
use delete_records::{DeleteRecordsArguments, delete_records};
use describe::describe;

const TIMEOUT_MS: i32 = 30_000;

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
    /// Change settings of a topic
    Alter(AlterArguments),
    /// Delete a topic's oldest records
    DeleteRecords(DeleteRecordsArguments),
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

#[derive(Debug, Args)]
struct AlterArguments {
    /// The topic's name
    name: String,
    #[command(flatten)]
    changes: ChangeArguments,
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
        Command::Alter(arguments) => on_node(&arguments.address, async |mut client| {
            let topic = Resource::Topic(&arguments.name);
            alter(&mut client, topic, &arguments.changes, output).await
        }),
        Command::DeleteRecords(arguments) => on_node(arguments.address(), async |client| {
            delete_records(client, arguments, output).await
        }),
        Command::Delete(arguments) => on_node(&arguments.address, async |client| {
            delete(client, &arguments.names, output).await
        }),
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
