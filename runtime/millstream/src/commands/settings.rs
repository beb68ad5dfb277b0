//! What `topic` and `config` share: reading and changing the settings of a topic or node.

use std::io::Write;

use clap::Args;
use millstream_wire::ErrorCode;
use millstream_wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use millstream_wire::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use serde_json::json;

use crate::client::{Client, ClientError};
use crate::output::{OutputFormat, print_json};

/// Whose settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Topic(&'a str),
    /// A node, by id.
    Node(i32),
    /// All nodes that have not set their own.
    AllNodes,
}

impl Resource<'_> {
    /// Kafka's number of the kind, and the name.
    fn key(self) -> (i8, String) {
        match self {
            Resource::Topic(name) => (2, name.to_owned()),
            Resource::Node(id) => (4, id.to_string()),
            Resource::AllNodes => (4, String::new()),
        }
    }
}

impl std::fmt::Display for Resource<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Resource::Topic(name) => write!(formatter, "topic {name}"),
            Resource::Node(id) => write!(formatter, "node {id}"),
            Resource::AllNodes => formatter.write_str("all nodes"),
        }
    }
}

/// The changes of one command, made together or not at all.
#[derive(Debug, Default, Args)]
pub struct ChangeArguments {
    /// Set a setting, as in `--set retention.ms=3600000`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Go back to the default; may be repeated
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// Add words to a list, as in `--append cleanup.policy=compact`; may be repeated
    #[arg(long, value_name = "KEY=WORDS", value_parser = key_value)]
    append: Vec<(String, String)>,
    /// Take words out of a list; may be repeated
    #[arg(long, value_name = "KEY=WORDS", value_parser = key_value)]
    subtract: Vec<(String, String)>,
    /// Only say whether the changes would be made
    #[arg(long)]
    dry_run: bool,
}

impl ChangeArguments {
    fn changes(&self) -> Vec<AlterableConfig> {
        let with_value = |operation: i8| {
            move |(name, value): &(String, String)| AlterableConfig {
                name: name.clone(),
                config_operation: operation,
                value: Some(value.clone()),
            }
        };
        let removed = |name: &String| AlterableConfig {
            name: name.clone(),
            config_operation: 1,
            value: None,
        };
        let set = self.set.iter().map(with_value(0));
        let unset = self.unset.iter().map(removed);
        let appended = self.append.iter().map(with_value(2));
        let subtracted = self.subtract.iter().map(with_value(3));
        set.chain(unset).chain(appended).chain(subtracted).collect()
    }
}

/// `KEY=VALUE` of the command line.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a setting looks like KEY=VALUE".to_owned()),
    }
}

/// All settings of a resource.
pub async fn describe_settings(
    client: &mut Client,
    resource: Resource<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, ClientError> {
    let (resource_type, resource_name) = resource.key();
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name,
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: false,
    };
    let response = client.call(&request).await?;
    let result = response.results.into_iter().next().unwrap_or_default();
    match ErrorCode::from_code(result.error_code) {
        ErrorCode::None => Ok(result.configs),
        code => Err(ClientError::Refused {
            what: format!("reading the settings of {resource}"),
            code,
            detail: result.error_message,
        }),
    }
}

/// Makes the changes and says so.
pub async fn alter(
    client: &mut Client,
    resource: Resource<'_>,
    arguments: &ChangeArguments,
    output: OutputFormat,
) -> Result<(), ClientError> {
    let changes = arguments.changes();
    if changes.is_empty() {
        let hint = "nothing to change: name at least one of --set, --unset, --append, --subtract";
        return Err(ClientError::Input(hint.to_owned()));
    }
    let count = changes.len();
    let (resource_type, resource_name) = resource.key();
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type,
            resource_name,
            configs: changes,
        }],
        validate_only: arguments.dry_run,
    };
    let response = client.call(&request).await?;
    let result = response.responses.into_iter().next().unwrap_or_default();
    match ErrorCode::from_code(result.error_code) {
        ErrorCode::None => {}
        ErrorCode::UnknownTopicOrPartition => {
            return Err(ClientError::NotFound(format!(
                "there is no {resource}; see `millstream topic list`"
            )));
        }
        code => {
            return Err(ClientError::Refused {
                what: format!("changing the settings of {resource}"),
                code,
                detail: result.error_message,
            });
        }
    }
    let altered = !arguments.dry_run;
    if output.is_json() {
        let report =
            json!({ "resource": resource.to_string(), "changes": count, "altered": altered });
        return Ok(print_json(&report)?);
    }
    let mut out = std::io::stdout();
    match altered {
        true => writeln!(out, "changed {count} settings of {resource}")?,
        false => writeln!(out, "would change {count} settings of {resource}")?,
    }
    Ok(())
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
    fn each_kind_of_change_has_kafkas_number() {
        let pair = |name: &str| (name.to_owned(), "v".to_owned());
        let arguments = ChangeArguments {
            set: vec![pair("a")],
            unset: vec!["b".to_owned()],
            append: vec![pair("c")],
            subtract: vec![pair("d")],
            dry_run: false,
        };
        let changes: Vec<(String, i8, bool)> = arguments
            .changes()
            .into_iter()
            .map(|change| (change.name, change.config_operation, change.value.is_some()))
            .collect();
        let expected = [
            ("a", 0, true),
            ("b", 1, false),
            ("c", 2, true),
            ("d", 3, true),
        ];
        assert_eq!(
            changes,
            expected.map(|(name, kind, value)| (name.to_owned(), kind, value))
        );
    }
}
