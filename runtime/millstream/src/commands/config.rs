//! `millstream config describe | alter`: the settings of nodes.

use clap::{Args, Subcommand};
use millstream_wire::describe_configs::DescribeConfigsResourceResult;
use serde::Serialize;

use crate::client::{Client, ClientError};
use crate::commands::at_node::{NodeAddress, on_node};
use crate::commands::settings::{ChangeArguments, Resource, alter, describe_settings};
use crate::outcome::Outcome;
use crate::output::{OutputFormat, Table, print_json};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the settings of the node
    Describe(DescribeArguments),
    /// Change settings of the node while it runs
    Alter(AlterArguments),
}

#[derive(Debug, Args)]
struct DescribeArguments {
    /// Show the settings that have their default too
    #[arg(long)]
    all: bool,
    /// Show what was set on all nodes at run time
    #[arg(long, conflicts_with = "all")]
    all_nodes: bool,
    #[command(flatten)]
    address: NodeAddress,
}

#[derive(Debug, Args)]
struct AlterArguments {
    /// Change them on all nodes that have not set their own
    #[arg(long)]
    all_nodes: bool,
    #[command(flatten)]
    changes: ChangeArguments,
    #[command(flatten)]
    address: NodeAddress,
}

impl DescribeArguments {
    /// Why nothing is shown, and how to see more.
    fn nothing_set(&self) -> &'static str {
        if self.all_nodes {
            "Nothing was set on all nodes at run time. `millstream config alter --all-nodes --set KEY=VALUE` does."
        } else {
            "Every setting of the node has its default. `--all` shows them, `millstream config alter --set KEY=VALUE`\n\
            changes one while the node runs, and docs/settings.md says what each does."
        }
    }
}

/// Runs one of the subcommands.
pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    match &arguments.command {
        Command::Describe(arguments) => on_node(&arguments.address, async |client| {
            describe(client, arguments, output).await
        }),
        Command::Alter(arguments) => on_node(&arguments.address, async |mut client| {
            let nodes = resource(&mut client, arguments.all_nodes).await?;
            alter(&mut client, nodes, &arguments.changes, output).await
        }),
    }
}

/// The node that the user named, or all.
async fn resource(client: &mut Client, all_nodes: bool) -> Result<Resource<'static>, ClientError> {
    if all_nodes {
        return Ok(Resource::AllNodes);
    }
    client.metadata(Some(&[]), false).await?;
    match client.nodes().first() {
        Some(id) => Ok(Resource::Node(*id)),
        None => Err(ClientError::NotFound(
            "the cluster names no node".to_owned(),
        )),
    }
}

#[derive(Debug, Serialize)]
struct Described {
    name: String,
    value: Option<String>,
    source: &'static str,
    read_only: bool,
    synonyms: Vec<Synonym>,
}

#[derive(Debug, Serialize)]
struct Synonym {
    name: String,
    value: Option<String>,
    source: &'static str,
}

async fn describe(
    mut client: Client,
    arguments: &DescribeArguments,
    output: OutputFormat,
) -> Result<(), ClientError> {
    let nodes = resource(&mut client, arguments.all_nodes).await?;
    let settings = describe_settings(&mut client, nodes).await?;
    let mut described: Vec<Described> = settings.into_iter().map(Described::from).collect();
    described.retain(|one| arguments.all || one.source != "default");
    if output.is_json() {
        return Ok(print_json(&described)?);
    }
    if described.is_empty() {
        println!("{}", arguments.nothing_set());
        return Ok(());
    }
    let mut table = Table::new(&["SETTING", "VALUE", "SOURCE", "CHANGES"]);
    for one in described {
        table.row([
            one.name,
            one.value.unwrap_or_else(|| "-".to_owned()),
            one.source.to_owned(),
            (if one.read_only {
                "at start"
            } else {
                "at any time"
            })
            .to_owned(),
        ]);
    }
    Ok(table.print()?)
}

impl From<DescribeConfigsResourceResult> for Described {
    fn from(config: DescribeConfigsResourceResult) -> Described {
        let synonyms = config.synonyms.into_iter().map(|synonym| Synonym {
            name: synonym.name,
            value: synonym.value,
            source: source(synonym.source),
        });
        Described {
            name: config.name,
            value: config.value,
            source: source(config.config_source),
            read_only: config.read_only,
            synonyms: synonyms.collect(),
        }
    }
}

/// Where a value comes from, for people.
fn source(number: i8) -> &'static str {
    match number {
        1 => "topic",
        2 => "node at run time",
        3 => "all nodes at run time",
        4 => "node at start",
        5 => "default",
        _ => "unknown",
    }
}
