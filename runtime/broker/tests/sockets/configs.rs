//! DescribeConfigs and IncrementalAlterConfigs.

use millstream_wire::{
    ErrorCode,
    describe_configs::{
        DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    },
    incremental_alter_configs::{
        AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    },
};

use crate::support::{Node, assert_code, batch};

fn resource(resource_type: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
        }],
        include_synonyms: true,
        include_documentation: true,
    }
}

fn find<'a>(
    configs: &'a [DescribeConfigsResourceResult],
    name: &str,
) -> &'a DescribeConfigsResourceResult {
    configs
        .iter()
        .find(|config| config.name == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn a_topics_settings_come_with_source_and_synonyms() {
    let node = Node::with(&[("log.segment.bytes", "1000000")]).await;
    let mut client = node.client().await;
    client.create("t", 1, &[("retention.ms", "5")]).await;
    let response = client.call(4, &resource(2, "t", None)).await;
    let configs = &response.results[0].configs;
    let facts = |name: &str| {
        let config = find(configs, name);
        (
            config.value.as_deref().unwrap(),
            config.config_source,
            config.config_type,
        )
    };
    assert_eq!(facts("retention.ms"), ("5", 1, 5));
    assert_eq!(facts("segment.bytes"), ("1000000", 4, 3));
    assert_eq!(facts("cleanup.policy"), ("delete", 5, 7));
    let synonyms: Vec<_> = find(configs, "retention.ms")
        .synonyms
        .iter()
        .map(|synonym| {
            (
                synonym.name.as_str(),
                synonym.value.as_deref().unwrap(),
                synonym.source,
            )
        })
        .collect();
    assert_eq!(
        synonyms,
        [
            ("retention.ms", "5", 1),
            ("log.retention.ms", "604800000", 5)
        ]
    );
    assert!(find(configs, "retention.ms").documentation.is_some());
    assert!(
        configs
            .iter()
            .all(|config| !config.read_only && !config.is_sensitive)
    );
}

#[tokio::test]
async fn the_nodes_settings_are_described_and_only_the_keys_that_were_asked_for() {
    let node = Node::with(&[("num.partitions", "3")]).await;
    let mut client = node.client().await;
    let keys = ["num.partitions", "log.retention.ms", "nothing"];
    let response = client.call(3, &resource(4, "1", Some(&keys))).await;
    let configs = &response.results[0].configs;
    assert_eq!(configs.len(), 2);
    let partitions = find(configs, "num.partitions");
    assert_eq!(
        (partitions.value.as_deref(), partitions.config_source),
        (Some("3"), 4)
    );
    assert!(partitions.read_only);
    assert_eq!(find(configs, "log.retention.ms").config_source, 5);
}

#[tokio::test]
async fn what_does_not_exist_has_no_settings() {
    let node = Node::start().await;
    let mut client = node.client().await;
    for (resource_type, name, code) in [
        (2, "missing", ErrorCode::UnknownTopicOrPartition),
        (4, "9", ErrorCode::InvalidRequest),
        (77, "x", ErrorCode::InvalidRequest),
    ] {
        let response = client.call(4, &resource(resource_type, name, None)).await;
        assert_code(response.results[0].error_code, code);
        assert!(response.results[0].configs.is_empty());
    }
}

#[tokio::test]
async fn a_resource_that_is_asked_for_twice_is_described_once() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut request = resource(2, "t", None);
    request.resources = vec![request.resources.remove(0); 3];
    request.resources.extend(resource(4, "1", None).resources);
    // The node has one name.
    request.resources.extend(resource(4, "+1", None).resources);
    let results = client.call(4, &request).await.results;
    let codes: Vec<_> = results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, 0, ErrorCode::InvalidRequest.code()]);
}

fn alter(resource_type: i8, name: &str, changes: &[(&str, i8, &str)]) -> AlterConfigsResource {
    let change = |(name, operation, value): &(&str, i8, &str)| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: *operation,
        value: Some((*value).to_owned()),
    };
    AlterConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configs: changes.iter().map(change).collect(),
    }
}

#[tokio::test]
async fn each_resource_is_altered_or_refused_by_itself_and_a_trial_changes_nothing() {
    let node = Node::start().await;
    let mut client = node.client().await;
    for name in ["a", "b"] {
        client.create(name, 1, &[]).await;
    }
    let request = |validate_only| IncrementalAlterConfigsRequest {
        resources: vec![
            alter(
                2,
                "a",
                &[("retention.ms", 0, "5"), ("cleanup.policy", 2, "compact")],
            ),
            alter(2, "missing", &[("retention.ms", 0, "5")]),
            alter(
                2,
                "b",
                &[("retention.ms", 0, "5"), ("segment.ms", 0, "never")],
            ),
            alter(4, "7", &[("log.retention.ms", 0, "5")]),
            alter(8, "1", &[("kafka.server", 0, "DEBUG")]),
        ],
        validate_only,
    };
    let codes = [
        ErrorCode::None,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::InvalidConfig,
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidRequest,
    ];
    for (validate_only, of_a) in [
        (true, ("604800000", "delete")),
        (false, ("5", "delete,compact")),
    ] {
        let response = client.call(0, &request(validate_only)).await;
        for (found, expected) in response.responses.iter().zip(codes) {
            assert_code(found.error_code, expected);
            assert_eq!(found.error_message.is_some(), expected != ErrorCode::None);
        }
        let described = client.call(4, &resource(2, "a", None)).await;
        let value = |name| {
            find(&described.results[0].configs, name)
                .value
                .clone()
                .unwrap()
        };
        assert_eq!(
            (
                value("retention.ms").as_str(),
                value("cleanup.policy").as_str()
            ),
            of_a
        );
    }
    // What was refused in part was refused as a whole.
    let described = client.call(4, &resource(2, "b", None)).await;
    assert_eq!(
        find(&described.results[0].configs, "retention.ms").config_source,
        5
    );
    // Of a resource that comes twice, nobody knows which one is meant.
    let twice = IncrementalAlterConfigsRequest {
        resources: vec![alter(2, "a", &[("retention.ms", 0, "6")]); 2],
        validate_only: false,
    };
    for found in client.call(1, &twice).await.responses {
        assert_code(found.error_code, ErrorCode::InvalidRequest);
    }
}

#[tokio::test]
async fn altered_settings_outlive_a_restart() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, -1, batch(&["x"])).await;
    let request = IncrementalAlterConfigsRequest {
        resources: vec![
            alter(2, "t", &[("retention.ms", 0, "5")]),
            alter(4, "", &[("log.segment.bytes", 0, "4096")]),
            alter(4, "1", &[("log.roll.ms", 0, "77")]),
        ],
        validate_only: false,
    };
    for response in client.call(1, &request).await.responses {
        assert_code(response.error_code, ErrorCode::None);
    }
    let node = node.restart().await;
    // Before anybody asks for the partition, its log goes by the settings.
    let logs = node.store.logs();
    let log = logs.iter().find(|log| log.id().topic == "t").unwrap();
    let config = log.config();
    assert_eq!(
        (config.retention_ms, config.segment_bytes, config.segment_ms),
        (5, 4096, 77)
    );
}
