//! IncrementalAlterConfigs: each resource's changes are made together or refused together, with an error of its own.

use std::{collections::HashMap, convert::Infallible};

use millstream_cluster::{ChangeError, Image, MetadataRecord};
use millstream_wire::{
    ErrorCode,
    incremental_alter_configs::{
        AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse,
    },
};

use super::describe_configs::{RESOURCE_BROKER, RESOURCE_TOPIC};
use crate::{
    config::{Change, Refused, alter_node, alter_topic},
    context::RequestContext,
    error_codes::submit_error,
};

pub(super) async fn handle(
    context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let verdicts = match request.validate_only {
        true => {
            decide(
                context,
                &context.broker.cluster().image(),
                &request.resources,
            )
            .1
        }
        false => alter(context, &request.resources).await,
    };
    let respond = |(resource, verdict): (AlterConfigsResource, Result<(), Refused>)| {
        let (code, message) = match verdict {
            Ok(()) => (ErrorCode::None, None),
            Err(refused) => (refused.code, Some(refused.message)),
        };
        AlterConfigsResourceResponse {
            error_code: code.code(),
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        }
    };
    IncrementalAlterConfigsResponse {
        throttle_time_ms: 0,
        responses: request
            .resources
            .into_iter()
            .zip(verdicts)
            .map(respond)
            .collect(),
    }
}

/// Makes the changes, with one flush for all of them, and brings them into effect before the answer goes out.
async fn alter(
    context: &RequestContext,
    resources: &[AlterConfigsResource],
) -> Vec<Result<(), Refused>> {
    let change = context
        .broker
        .cluster()
        .change(|image| Ok::<_, Infallible>(decide(context, image, resources)));
    match change.await {
        Ok((_, verdicts)) => {
            context.broker.apply_settings();
            verdicts
        }
        Err(ChangeError::Refused(never)) => match never {},
        Err(ChangeError::Submit(error)) => {
            let refused = Refused {
                code: submit_error(&error),
                message: error.to_string(),
            };
            vec![Err(refused); resources.len()]
        }
    }
}

/// The records of all resources whose changes may be made, and a verdict on each resource. No two resources are the
/// same, so none depends on another.
fn decide(
    context: &RequestContext,
    image: &Image,
    resources: &[AlterConfigsResource],
) -> (Vec<MetadataRecord>, Vec<Result<(), Refused>>) {
    let key =
        |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let mut times: HashMap<(i8, String), usize> = HashMap::new();
    for resource in resources {
        *times.entry(key(resource)).or_default() += 1;
    }
    let mut records = Vec::new();
    let verdicts = resources.iter().map(|resource| {
        if times.get(&key(resource)) != Some(&1) {
            return Err(Refused {
                code: ErrorCode::InvalidRequest,
                message: "Each resource must appear at most once.".to_owned(),
            });
        }
        records.extend(decide_one(context, image, resource)?);
        Ok(())
    });
    let verdicts = verdicts.collect();
    (records, verdicts)
}

fn decide_one(
    context: &RequestContext,
    image: &Image,
    resource: &AlterConfigsResource,
) -> Result<Vec<MetadataRecord>, Refused> {
    let changes: Vec<Change<'_>> = resource
        .configs
        .iter()
        .map(|config| Change {
            name: &config.name,
            operation: config.config_operation,
            value: config.value.as_deref(),
        })
        .collect();
    let name = &resource.resource_name;
    let config = context.broker.config();
    match resource.resource_type {
        RESOURCE_TOPIC => alter_topic(image, &config, name, &changes),
        RESOURCE_BROKER => {
            let node_id = context.broker.cluster().node_id();
            alter_node(image, &config, node_id, name, &changes)
        }
        other => Err(Refused {
            code: ErrorCode::InvalidRequest,
            message: format!("resources of type {other} have no settings here"),
        }),
    }
}
