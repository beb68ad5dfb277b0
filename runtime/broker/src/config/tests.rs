use super::*;

#[test]
fn settings_are_set_by_kafkas_names_and_checked() {
    let mut config = BrokerConfig::default();
    config.set("num.partitions", " 7 ").unwrap();
    config.set("auto.create.topics.enable", "FALSE").unwrap();
    config.set("log.segment.bytes", "4096").unwrap();
    assert_eq!(config.num_partitions, 7);
    assert!(!config.auto_create_topics_enable);
    assert_eq!(config.topic_defaults["segment.bytes"], "4096");
    for (name, value) in [
        ("num.partitions", "0"),
        ("log.segment.bytes", "x"),
        ("fetch.max.bytes", ""),
    ] {
        assert!(
            matches!(config.set(name, value), Err(SettingError::Invalid { .. })),
            "{name}"
        );
    }
    assert_eq!(
        config.set("a.b", "1"),
        Err(SettingError::Unknown {
            name: "a.b".to_owned()
        })
    );
}

#[test]
fn every_default_passes_its_own_rule_and_every_name_comes_once() {
    let mut config = BrokerConfig::default();
    let all = config.describe();
    for pair in all.windows(2) {
        assert!(pair[0].name < pair[1].name, "{} comes twice", pair[0].name);
    }
    for setting in node_settings() {
        assert_eq!(config.set(setting.name(), &setting.default), Ok(()));
        assert!(
            !setting.doc.is_empty() && !setting.observed.is_empty(),
            "{}",
            setting.name()
        );
    }
    for setting in config.describe() {
        let default = setting
            .synonyms
            .last()
            .map(|synonym| synonym.value.as_str());
        assert!(
            setting.value.is_none() || setting.value.as_deref() == default,
            "{}",
            setting.name
        );
    }
}

#[test]
fn the_advertised_address_is_read_from_the_first_listener() {
    let address = |text: &str| {
        BrokerConfig {
            advertised_listeners: text.to_owned(),
            ..BrokerConfig::default()
        }
        .advertised_address()
    };
    assert_eq!(address(""), Ok(None));
    assert_eq!(
        address("PLAINTEXT://a.b:9092,X://c:1"),
        Ok(Some(("a.b".to_owned(), 9092)))
    );
    assert_eq!(address("[::1]:9092"), Ok(Some(("::1".to_owned(), 9092))));
    for bad in ["PLAINTEXT://a", "PLAINTEXT://:9", "a:x", "a:99999"] {
        assert!(address(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_was_set_last_in_the_chain_of_sources_counts() {
    let values = |name: &str, value: &str| Values::from([(name.to_owned(), value.to_owned())]);
    let mut start = BrokerConfig::default();
    start.set("log.retention.hours", "1").unwrap();
    let retention = |config: &BrokerConfig| {
        let described = config.describe_topic(&Values::new());
        let found = described
            .into_iter()
            .find(|one| one.name == "retention.ms")
            .unwrap();
        let synonyms: Vec<(&str, String)> = found
            .synonyms
            .into_iter()
            .map(|one| (one.name, one.value))
            .collect();
        (found.value.unwrap(), found.source, synonyms)
    };
    let default = ("log.retention.ms", "604800000".to_owned());
    let hours = ("log.retention.hours", "1".to_owned());
    assert_eq!(
        retention(&start),
        (
            "3600000".to_owned(),
            ConfigSource::Static,
            vec![hours.clone(), default.clone()]
        )
    );
    start.set("log.retention.minutes", "1").unwrap();
    assert_eq!(
        retention(&start).0,
        "60000",
        "minutes are stronger than hours"
    );
    let all = start.with_dynamic(&values("log.retention.ms", "7"), &Values::new());
    assert_eq!(
        (retention(&all).0.as_str(), retention(&all).1),
        ("7", ConfigSource::DefaultBroker)
    );
    let own = start.with_dynamic(
        &values("log.retention.ms", "7"),
        &values("log.retention.ms", "8"),
    );
    let names: Vec<&str> = retention(&own).2.iter().map(|one| one.0).collect();
    assert_eq!(
        (retention(&own).0.as_str(), retention(&own).1),
        ("8", ConfigSource::Broker)
    );
    assert_eq!(
        names,
        [
            "log.retention.ms",
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
            "log.retention.ms"
        ]
    );
    assert_eq!(
        retention(&own.with_dynamic(&Values::new(), &Values::new())).0,
        "60000"
    );
}

#[test]
fn other_spellings_are_accepted_and_shown_as_synonyms() {
    for (spelling, name, topic, value) in [
        ("log.segment.ms", "log.roll.ms", "segment.ms", "9"),
        (
            "min.cleanable.dirty.ratio",
            "log.cleaner.min.cleanable.ratio",
            "min.cleanable.dirty.ratio",
            "0.25",
        ),
        (
            "min.compaction.lag.ms",
            "log.cleaner.min.compaction.lag.ms",
            "min.compaction.lag.ms",
            "9",
        ),
        (
            "max.compaction.lag.ms",
            "log.cleaner.max.compaction.lag.ms",
            "max.compaction.lag.ms",
            "9",
        ),
        (
            "delete.retention.ms",
            "log.cleaner.delete.retention.ms",
            "delete.retention.ms",
            "9",
        ),
        (
            "log.cleanup.policy",
            "log.cleanup.policy",
            "cleanup.policy",
            "delete_and_compact",
        ),
    ] {
        let mut config = BrokerConfig::default();
        config.set(spelling, value).unwrap();
        let shown = if value == "delete_and_compact" {
            "compact,delete"
        } else {
            value
        };
        assert_eq!(config.effective(&Values::new()).text(topic), shown);
        for asked in [spelling, name] {
            let described = config.describe();
            let found = described.iter().find(|one| one.name == asked).unwrap();
            assert_eq!(found.value.as_deref(), Some(shown), "{asked}");
            assert_eq!(found.synonyms[0].name, spelling);
            assert_eq!(found.synonyms[0].value, value);
        }
        let of_topic = config.describe_topic(&Values::new());
        let found = of_topic.iter().find(|one| one.name == topic).unwrap();
        assert_eq!(
            (found.synonyms[0].name, found.source),
            (spelling, ConfigSource::Static)
        );
    }
}
