//! DescribeConfigs: every setting of a topic or of the node, with where its value comes from.

use millstream_wire::{
    ErrorCode,
    describe_configs::{
        DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
        DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
    },
};

use super::once::once;
use crate::{
    config::{DescribedSetting, SettingSynonym},
    context::RequestContext,
};

/// Kafka's numbers of the resources.
pub(super) const RESOURCE_TOPIC: i8 = 2;
pub(super) const RESOURCE_BROKER: i8 = 4;

pub(super) async fn handle(
    context: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let describe = |resource: DescribeConfigsResource| {
        let found = match resource.resource_type {
            RESOURCE_TOPIC => topic(context, &resource.resource_name),
            RESOURCE_BROKER => node(context, &resource.resource_name),
            other => Err((
                ErrorCode::InvalidRequest,
                format!("resources of type {other} have no settings here"),
            )),
        };
        let (error_code, error_message, mut configs) = match found {
            Ok(configs) => (ErrorCode::None, None, configs),
            Err((code, message)) => (code, Some(message), Vec::new()),
        };
        if let Some(keys) = &resource.configuration_keys {
            configs.retain(|config| keys.contains(&config.name));
        }
        for config in &mut configs {
            if !request.include_synonyms {
                config.synonyms.clear();
            }
            if !request.include_documentation {
                config.documentation = None;
            }
        }
        DescribeConfigsResult {
            error_code: error_code.code(),
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs,
        }
    };
    let resource = |one: &DescribeConfigsResource| (one.resource_type, one.resource_name.clone());
    let resources = once(request.resources, resource);
    DescribeConfigsResponse {
        throttle_time_ms: 0,
        results: resources.into_iter().map(describe).collect(),
    }
}

type Described = Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)>;

fn topic(context: &RequestContext, name: &str) -> Described {
    let image = context.broker.cluster().image();
    let topic = image.topic(name);
    let topic = topic.ok_or_else(|| {
        (
            ErrorCode::UnknownTopicOrPartition,
            format!("there is no topic {name}"),
        )
    })?;
    let settings = context.broker.config().describe_topic(&topic.configs);
    Ok(settings.into_iter().map(described).collect())
}

/// The node's own name asks for all its settings, an empty one for what was set on all nodes at run time.
fn node(context: &RequestContext, name: &str) -> Described {
    let node_id = context.broker.cluster().node_id();
    let config = context.broker.config();
    let settings = match name {
        "" => config.describe_default_broker(),
        name if name == node_id.to_string() => config.describe(),
        _ => {
            let message = format!("this is node {node_id}; it cannot describe node {name:?}");
            return Err((ErrorCode::InvalidRequest, message));
        }
    };
    Ok(settings.into_iter().map(described).collect())
}

fn described(setting: DescribedSetting) -> DescribeConfigsResourceResult {
    let synonym = |synonym: SettingSynonym| DescribeConfigsSynonym {
        name: synonym.name.to_owned(),
        value: Some(synonym.value),
        source: synonym.source as i8,
    };
    DescribeConfigsResourceResult {
        name: setting.name.to_owned(),
        value: setting.value,
        read_only: setting.read_only,
        config_source: setting.source as i8,
        is_sensitive: false,
        config_type: setting.kind as i8,
        documentation: Some(setting.doc.to_owned()),
        synonyms: setting.synonyms.into_iter().map(synonym).collect(),
    }
}
