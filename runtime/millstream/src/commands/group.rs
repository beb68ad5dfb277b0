//! `millstream group list | describe`.

mod describe;

use clap::{Args, Subcommand};
use millstream_wire::ErrorCode;
use millstream_wire::list_groups::{ListGroupsRequest, ListedGroup};
use serde::Serialize;

use crate::client::{Client, ClientError};
use crate::commands::at_node::{NodeAddress, on_node};
use crate::outcome::Outcome;
use crate::output::{OutputFormat, Table, print_json};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List consumer groups
    List(ListArguments),
    /// Show a group: members, committed and current offsets, log ends, lag
    Describe(DescribeArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    #[command(flatten)]
    address: NodeAddress,
}

#[derive(Debug, Args)]
struct DescribeArguments {
    /// The group's id
    group: String,
    #[command(flatten)]
    address: NodeAddress,
}

/// Runs one of the subcommands.
pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    match &arguments.command {
        Command::List(arguments) => on_node(&arguments.address, async |client| {
            list(client, output).await
        }),
        Command::Describe(arguments) => on_node(&arguments.address, async |client| {
            describe::describe(client, &arguments.group, output).await
        }),
    }
}

#[derive(Debug, Serialize)]
struct GroupLine {
    group: String,
    state: String,
    protocol_type: String,
}

impl From<ListedGroup> for GroupLine {
    fn from(listed: ListedGroup) -> GroupLine {
        GroupLine {
            group: listed.group_id,
            state: listed.group_state,
            protocol_type: listed.protocol_type,
        }
    }
}

/// Every node lists the groups that it coordinates.
async fn list(mut client: Client, output: OutputFormat) -> Result<(), ClientError> {
    client.metadata(Some(&[]), false).await?;
    let mut groups = Vec::new();
    for node in client.nodes() {
        let response = client
            .call_node(node, &ListGroupsRequest::default())
            .await?;
        ErrorCode::check(response.error_code)
            .map_err(|code| ClientError::refused(format!("listing groups of node {node}"), code))?;
        groups.extend(response.groups.into_iter().map(GroupLine::from));
    }
    groups.sort_by(|a, b| a.group.cmp(&b.group));
    if output.is_json() {
        return Ok(print_json(&groups)?);
    }
    let mut table = Table::new(&["GROUP", "STATE", "TYPE"]);
    for group in groups {
        table.row([group.group, group.state, group.protocol_type]);
    }
    Ok(table.print()?)
}
