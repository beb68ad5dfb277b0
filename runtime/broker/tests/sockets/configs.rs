//! DescribeConfigs.

use millstream_wire::{
    ErrorCode,
    describe_configs::{
        DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    },
};

use crate::support::{Node, assert_code};

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
