use uuid::Uuid;

use super::*;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn change<'a>(name: &'a str, operation: i8, value: Option<&'a str>) -> Change<'a> {
    Change {
        name,
        operation,
        value,
    }
}

/// A topic `t` with one setting of its own, and one of the node's.
fn image() -> Image {
    let topic = |name: &str, id| MetadataRecord::Topic {
        name: name.to_owned(),
        id: Uuid::from_u128(id),
        created_by: None,
    };
    let records = [
        topic("t", 1),
        topic("__consumer_offsets", 2),
        config_record(
            ConfigResource::Topic("t".to_owned()),
            "cleanup.policy",
            Some("compact"),
        ),
    ];
    Image::default().with(&records, 1).unwrap()
}

fn config_record(resource: ConfigResource, name: &str, value: Option<&str>) -> MetadataRecord {
    MetadataRecord::Config {
        resource,
        name: name.to_owned(),
        value: value.map(str::to_owned),
    }
}

fn topic(changes: &[Change<'_>]) -> Result<Vec<MetadataRecord>, ErrorCode> {
    alter_topic(&image(), &BrokerConfig::default(), "t", changes).map_err(|refused| refused.code)
}

#[test]
fn what_an_internal_topic_is_does_not_change_and_how_it_is_kept_does() {
    let alter = |changes: &[Change<'_>]| {
        alter_topic(
            &image(),
            &BrokerConfig::default(),
            "__consumer_offsets",
            changes,
        )
        .map(|records| records.len())
        .map_err(|refused| refused.code)
    };
    for name in FIXED {
        for operation in [SET, DELETE, APPEND, SUBTRACT] {
            assert_eq!(
                alter(&[change(name, operation, Some("1"))]),
                Err(ErrorCode::InvalidConfig),
                "{name} {operation}"
            );
        }
    }
    for (name, value, expected) in [
        ("segment.bytes", "1048587", Err(ErrorCode::InvalidConfig)),
        ("segment.bytes", "1048588", Ok(1)),
        ("segment.ms", "60000", Ok(1)),
        ("min.cleanable.dirty.ratio", "0.1", Ok(1)),
        ("delete.retention.ms", "5", Ok(1)),
    ] {
        assert_eq!(alter(&[change(name, SET, Some(value))]), expected, "{name}");
    }
}

fn of_topic(name: &str, value: Option<&str>) -> MetadataRecord {
    config_record(ConfigResource::Topic("t".to_owned()), name, value)
}

#[test]
fn a_topics_settings_are_set_removed_extended_and_shortened() {
    let table = [
        (
            change("retention.ms", SET, Some(" 5 ")),
            vec![of_topic("retention.ms", Some("5"))],
        ),
        // What is as it was writes nothing.
        (change("cleanup.policy", SET, Some("compact")), vec![]),
        (change("retention.ms", DELETE, None), vec![]),
        (change("no.such.setting", DELETE, None), vec![]),
        (
            change("cleanup.policy", DELETE, Some("ignored")),
            vec![of_topic("cleanup.policy", None)],
        ),
        (
            change("cleanup.policy", APPEND, Some("delete, compact")),
            vec![of_topic("cleanup.policy", Some("compact,delete"))],
        ),
        (change("cleanup.policy", SUBTRACT, Some("delete")), vec![]),
        (
            change("cleanup.policy", SET, Some("delete_and_compact")),
            vec![of_topic("cleanup.policy", Some("delete_and_compact"))],
        ),
    ];
    for (change, expected) in table {
        assert_eq!(topic(&[change]), Ok(expected), "{change:?}");
    }
}

#[test]
fn a_topics_changes_are_refused_with_kafkas_codes() {
    let table: [(&[Change<'_>], ErrorCode); 9] = [
        (
            &[change("no.such.setting", SET, Some("1"))],
            ErrorCode::InvalidConfig,
        ),
        (
            &[change("retention.ms", SET, Some("x"))],
            ErrorCode::InvalidConfig,
        ),
        (
            &[change("retention.ms", SET, None)],
            ErrorCode::InvalidRequest,
        ),
        (
            &[change("retention.ms", 9, Some("1"))],
            ErrorCode::InvalidRequest,
        ),
        (
            &[change("retention.ms", APPEND, Some("1"))],
            ErrorCode::InvalidConfig,
        ),
        (
            &[change("cleanup.policy", SUBTRACT, Some("compact"))],
            ErrorCode::InvalidConfig,
        ),
        (
            &[change("cleanup.policy", APPEND, Some("burn"))],
            ErrorCode::InvalidConfig,
        ),
        (
            &[
                change("segment.ms", SET, Some("1")),
                change("segment.ms", DELETE, None),
            ],
            ErrorCode::InvalidRequest,
        ),
        (
            &[
                change("min.compaction.lag.ms", SET, Some("9")),
                change("max.compaction.lag.ms", SET, Some("8")),
            ],
            ErrorCode::InvalidConfig,
        ),
    ];
    for (changes, code) in table {
        assert_eq!(topic(changes), Err(code), "{changes:?}");
    }
    let missing = alter_topic(&image(), &BrokerConfig::default(), "u", &[]).unwrap_err();
    assert_eq!(missing.code, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(missing.message, "The topic 'u' does not exist.");
}

fn node(resource: &str, changes: &[Change<'_>]) -> Result<Vec<MetadataRecord>, String> {
    alter_node(&image(), &BrokerConfig::default(), 1, resource, changes).map_err(|refused| {
        assert_eq!(refused.code, ErrorCode::InvalidRequest);
        refused.message
    })
}

#[test]
fn a_nodes_settings_follow_kafkas_update_modes() {
    let segments = change("log.segment.bytes", SET, Some("4096"));
    assert_eq!(
        node("1", &[segments]),
        Ok(vec![config_record(
            ConfigResource::Broker(1),
            "log.segment.bytes",
            Some("4096")
        )])
    );
    assert_eq!(
        node("", &[segments]),
        Ok(vec![config_record(
            ConfigResource::DefaultBroker,
            "log.segment.bytes",
            Some("4096")
        )])
    );
    let listeners = change("advertised.listeners", SET, Some("PLAINTEXT://a:1"));
    assert!(node("1", &[listeners]).is_ok());
    let refused = [
        (
            "",
            listeners,
            "Cannot update these configs at default cluster level: Set(advertised.listeners)",
        ),
        (
            "1",
            change("num.partitions", SET, Some("3")),
            "Cannot update these configs dynamically: Set(num.partitions)",
        ),
        (
            "1",
            change("log.retention.hours", SET, Some("3")),
            "Cannot update these configs dynamically: Set(log.retention.hours)",
        ),
        (
            "2",
            segments,
            "Unexpected broker id, expected 1 or empty string, but received 2",
        ),
        (
            "1",
            change("retention.ms", SET, Some("3")),
            "there is no setting retention.ms of a node",
        ),
        (
            "1",
            change("advertised.listeners", SET, Some("nowhere")),
            "setting advertised.listeners does not take \"nowhere\": it must be PLAINTEXT://host:port",
        ),
        (
            "1",
            change("log.segment.bytes", SET, Some("1")),
            "Invalid value 1 for configuration log.segment.bytes: it must be a whole number from 1024 to 2147483647",
        ),
    ];
    for (resource, change, message) in refused {
        assert_eq!(node(resource, &[change]), Err(message.to_owned()));
    }
}

#[test]
fn a_nodes_list_grows_from_what_is_in_effect() {
    let grown = node("", &[change("log.cleanup.policy", APPEND, Some("compact"))]);
    let record = config_record(
        ConfigResource::DefaultBroker,
        "log.cleanup.policy",
        Some("delete,compact"),
    );
    assert_eq!(grown, Ok(vec![record]));
}
