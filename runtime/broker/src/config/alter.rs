//! What IncrementalAlterConfigs decides: may these changes be made to a topic's or node's settings, and which metadata
//! records say so. Pure: the same image, settings and changes always give the same records.

use std::collections::HashSet;

use millstream_cluster::{
    ConfigResource, Image, MetadataRecord,
    configs::{ConfigType, EffectiveConfig, check_together, check_topic_setting, topic_setting},
};
use millstream_wire::ErrorCode;

use super::{BrokerConfig, SettingError, UpdateMode, Values, setting::node_setting};
use crate::internal_topics::is_internal;

/// A change of one setting, as the client sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub name: &'a str,
    /// Kafka's number of the operation.
    pub operation: i8,
    pub value: Option<&'a str>,
}

/// Why a resource's changes are not made, with what the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub code: ErrorCode,
    pub message: String,
}

/// An operation with its value; a list comes in words.
enum Operation<'a> {
    Set(&'a str),
    Delete,
    Append(Vec<&'a str>),
    Subtract(Vec<&'a str>),
}

/// The records that change a topic's settings.
pub(crate) fn alter_topic(
    image: &Image,
    config: &BrokerConfig,
    name: &str,
    changes: &[Change<'_>],
) -> Result<Vec<MetadataRecord>, Refused> {
    let topic = image.topic(name).ok_or_else(|| Refused {
        code: ErrorCode::UnknownTopicOrPartition,
        message: format!("The topic '{name}' does not exist."),
    })?;
    if is_internal(name) {
        changes
            .iter()
            .try_for_each(|change| check_fixed(change, name))?;
    }
    let mut values = topic.configs.clone();
    apply(&mut values, changes, |values, name| {
        let setting = topic_setting(name)?;
        let now = config.effective(values).text(name).into_owned();
        Some((setting.kind, now))
    })?;
    let invalid = |error: millstream_cluster::configs::ConfigError| Refused {
        code: ErrorCode::InvalidConfig,
        message: error.to_string(),
    };
    for change in changes {
        if let Some(value) = values.get(change.name) {
            check_topic_setting(change.name, value).map_err(invalid)?;
        }
    }
    check_together(config.effective(&values)).map_err(invalid)?;
    if is_internal(name) && changes.iter().any(|change| change.name == "segment.bytes") {
        check_room(config.effective(&values), name)?;
    }
    let resource = ConfigResource::Topic(name.to_owned());
    Ok(records(resource, &topic.configs, &values))
}

/// What of the node's own topics stays as the node has made it: with anything else they would lose what they keep, or
/// refuse what their coordinators write.
const FIXED: [&str; 8] = [
    "cleanup.policy",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.insync.replicas",
    "retention.bytes",
    "retention.ms",
];

fn check_fixed(change: &Change<'_>, topic: &str) -> Result<(), Refused> {
    let setting = change.name;
    if !FIXED.contains(&setting) {
        return Ok(());
    }
    Err(Refused {
        code: ErrorCode::InvalidConfig,
        message: format!("{setting} of topic {topic}, which is the node's own, does not change"),
    })
}

/// A segment of the node's own topics holds every batch that they may get.
fn check_room(config: EffectiveConfig<'_>, topic: &str) -> Result<(), Refused> {
    let (segment, batch) = ("segment.bytes", "max.message.bytes");
    if config.whole(segment) >= config.whole(batch) {
        return Ok(());
    }
    Err(Refused {
        code: ErrorCode::InvalidConfig,
        message: format!(
            "{segment} of topic {topic}, which is the node's own, must not be below {batch}, {}",
            config.text(batch)
        ),
    })
}

/// The records that change settings of this node (`resource` is its id) or of all nodes (`resource` is empty).
pub(crate) fn alter_node(
    image: &Image,
    config: &BrokerConfig,
    node_id: i32,
    resource: &str,
    changes: &[Change<'_>],
) -> Result<Vec<MetadataRecord>, Refused> {
    let own = image.broker_configs(node_id).cloned().unwrap_or_default();
    let all = image.default_broker_configs().clone();
    let is_default = resource.is_empty();
    if !is_default && resource != node_id.to_string() {
        return Err(invalid_request(format!(
            "Unexpected broker id, expected {node_id} or empty string, but received {resource}"
        )));
    }
    let before = if is_default { &all } else { &own };
    let mut values = before.clone();
    // Lists grow from what is in effect in this layer and below.
    let present = match is_default {
        true => config.with_dynamic(&all, &Values::new()),
        false => config.with_dynamic(&all, &own),
    };
    apply(&mut values, changes, |values, name| {
        let (setting, known) = node_setting(name)?;
        let now = match values.get(name) {
            Some(value) => setting.canonical(known, value).ok()?,
            None => present.in_effect(setting),
        };
        Some((setting.kind, now))
    })?;
    for change in changes {
        check_node_change(change, values.get(change.name), is_default)?;
    }
    let after = match is_default {
        true => config.with_dynamic(&values, &own),
        false => config.with_dynamic(&all, &values),
    };
    let invalid = |error: SettingError| invalid_request(error.to_string());
    after.advertised_address().map_err(invalid)?;
    check_together(after.effective(&Values::new()))
        .map_err(|error| invalid_request(error.to_string()))?;
    let resource = match is_default {
        true => ConfigResource::DefaultBroker,
        false => ConfigResource::Broker(node_id),
    };
    Ok(records(resource, before, &values))
}

fn check_node_change(
    change: &Change<'_>,
    value: Option<&String>,
    is_default: bool,
) -> Result<(), Refused> {
    let name = change.name;
    let (setting, known) = node_setting(name)
        .ok_or_else(|| invalid_request(format!("there is no setting {name} of a node")))?;
    match setting.mode_of(known) {
        UpdateMode::ReadOnly => {
            return Err(invalid_request(format!(
                "Cannot update these configs dynamically: Set({name})"
            )));
        }
        UpdateMode::PerBroker if is_default => {
            return Err(invalid_request(format!(
                "Cannot update these configs at default cluster level: Set({name})"
            )));
        }
        UpdateMode::PerBroker | UpdateMode::ClusterWide => {}
    }
    match value {
        Some(value) => setting
            .canonical(known, value)
            .map(drop)
            .map_err(|expected| {
                invalid_request(format!(
                    "Invalid value {value} for configuration {name}: {expected}"
                ))
            }),
        None => Ok(()),
    }
}

/// Applies the changes to the values. `known` gives a setting's type and value in effect.
fn apply(
    values: &mut Values,
    changes: &[Change<'_>],
    known: impl Fn(&Values, &str) -> Option<(ConfigType, String)>,
) -> Result<(), Refused> {
    let mut names = HashSet::new();
    for change in changes {
        let name = change.name;
        if !names.insert(name) {
            return Err(invalid_request(
                "Error due to duplicate config keys".to_owned(),
            ));
        }
        let listed = |values: &Values, operation: &str| match known(values, name) {
            Some((ConfigType::List, now)) => {
                Ok(now.split(',').map(str::to_owned).collect::<Vec<String>>())
            }
            _ => Err(Refused {
                code: ErrorCode::InvalidConfig,
                message: format!("Can't {operation} to key {name} because its type is not LIST."),
            }),
        };
        let value = match operation(change)? {
            Operation::Set(value) => Some(value.to_owned()),
            Operation::Delete => None,
            Operation::Append(words) => {
                let mut list = listed(values, "APPEND")?;
                for word in words {
                    if !list.iter().any(|known| known == word) {
                        list.push(word.to_owned());
                    }
                }
                Some(list.join(","))
            }
            Operation::Subtract(words) => {
                let mut list = listed(values, "SUBTRACT")?;
                list.retain(|known| !words.contains(&known.as_str()));
                Some(list.join(","))
            }
        };
        match value {
            Some(value) => values.insert(name.to_owned(), value),
            None => values.remove(name),
        };
    }
    Ok(())
}

fn operation<'a>(change: &Change<'a>) -> Result<Operation<'a>, Refused> {
    let value = || {
        change.value.map(str::trim).ok_or_else(|| {
            invalid_request(format!("Null value not supported for : {}", change.name))
        })
    };
    let words = || value().map(|value| value.split(',').map(str::trim).collect());
    match change.operation {
        0 => Ok(Operation::Set(value()?)),
        1 => Ok(Operation::Delete),
        2 => Ok(Operation::Append(words()?)),
        3 => Ok(Operation::Subtract(words()?)),
        other => Err(invalid_request(format!(
            "Unknown operation {other} for key {}",
            change.name
        ))),
    }
}

/// One record for each value that is another than before.
fn records(resource: ConfigResource, before: &Values, after: &Values) -> Vec<MetadataRecord> {
    let record = |name: &String, value: Option<&String>| MetadataRecord::Config {
        resource: resource.clone(),
        name: name.clone(),
        value: value.cloned(),
    };
    let set = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(*value));
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    set.map(|(name, value)| record(name, Some(value)))
        .chain(removed.map(|name| record(name, None)))
        .collect()
}

fn invalid_request(message: String) -> Refused {
    Refused {
        code: ErrorCode::InvalidRequest,
        message,
    }
}

#[cfg(test)]
mod tests;
