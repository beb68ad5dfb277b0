//! DescribeConfigs: every setting of a topic or of the node, with where its value comes from.

use std::collections::BTreeMap;

use millstream_cluster::configs::{EffectiveConfig, TOPIC_SETTINGS, TopicSetting};
use millstream_wire::{
    ErrorCode,
    describe_configs::{
        DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
        DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
    },
};

use crate::{config::DescribedSetting, context::RequestContext};

/// Kafka's numbers of the sources that occur here.
pub(super) const SOURCE_TOPIC: i8 = 1;
pub(super) const SOURCE_NODE: i8 = 4;
pub(super) const SOURCE_DEFAULT: i8 = 5;

/// Kafka's numbers of the resources.
const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;

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
    DescribeConfigsResponse {
        throttle_time_ms: 0,
        results: request.resources.into_iter().map(describe).collect(),
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
    let node = &context.broker.config().topic_defaults;
    Ok(TOPIC_SETTINGS
        .iter()
        .map(|setting| topic_setting(setting, &topic.configs, node))
        .collect())
}

fn topic_setting(
    setting: &TopicSetting,
    topic: &BTreeMap<String, String>,
    node: &BTreeMap<String, String>,
) -> DescribeConfigsResourceResult {
    let synonym = |name: &str, value: &str, source| DescribeConfigsSynonym {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        source,
    };
    // From the strongest source to the weakest; the first one is in effect.
    let own = topic
        .get(setting.name)
        .map(|value| synonym(setting.name, value, SOURCE_TOPIC));
    let of_node = node
        .get(setting.name)
        .map(|value| synonym(setting.broker_name, value, SOURCE_NODE));
    let default = synonym(setting.broker_name, setting.default, SOURCE_DEFAULT);
    let synonyms: Vec<_> = own.into_iter().chain(of_node).chain([default]).collect();
    DescribeConfigsResourceResult {
        name: setting.name.to_owned(),
        value: Some(
            EffectiveConfig { topic, node }
                .text(setting.name)
                .to_owned(),
        ),
        read_only: false,
        config_source: synonyms[0].source,
        is_sensitive: false,
        config_type: setting.kind as i8,
        documentation: Some(setting.doc.to_owned()),
        synonyms,
    }
}

fn node(context: &RequestContext, name: &str) -> Described {
    let node_id = context.broker.cluster().node_id();
    // An empty name asks for the cluster-wide dynamic settings, of which there are none.
    if name.is_empty() {
        return Ok(Vec::new());
    }
    if name.parse() != Ok(node_id) {
        let message = format!("this is node {node_id}; it cannot describe node {name:?}");
        return Err((ErrorCode::InvalidRequest, message));
    }
    Ok(context
        .broker
        .config()
        .describe()
        .into_iter()
        .map(node_setting)
        .collect())
}

fn node_setting(setting: DescribedSetting) -> DescribeConfigsResourceResult {
    let synonym = |value: &str, source| DescribeConfigsSynonym {
        name: setting.name.to_owned(),
        value: Some(value.to_owned()),
        source,
    };
    let mut synonyms = vec![synonym(&setting.default, SOURCE_DEFAULT)];
    if setting.value != setting.default {
        synonyms.insert(0, synonym(&setting.value, SOURCE_NODE));
    }
    DescribeConfigsResourceResult {
        name: setting.name.to_owned(),
        // The node's settings come from its start; no client can change them.
        read_only: true,
        config_source: synonyms[0].source,
        is_sensitive: false,
        config_type: setting.kind as i8,
        documentation: Some(setting.doc.to_owned()),
        value: Some(setting.value),
        synonyms,
    }
}
