use std::collections::BTreeMap;

use super::*;

#[test]
fn every_default_passes_its_own_rule_and_no_name_comes_twice() {
    for (position, setting) in TOPIC_SETTINGS.iter().enumerate() {
        assert_eq!(
            setting.check(setting.default).as_deref(),
            Ok(setting.default),
            "{}",
            setting.name
        );
        let later = &TOPIC_SETTINGS[position + 1..];
        assert!(
            later.iter().all(|other| other.name != setting.name),
            "{}",
            setting.name
        );
        let names = |setting: &TopicSetting| setting.node_names.iter().map(|known| known.name);
        let mut theirs = later.iter().flat_map(names);
        assert!(
            theirs.all(|name| setting.node_names.iter().all(|known| known.name != name)),
            "{}",
            setting.name
        );
        assert!(!setting.doc.is_empty() && !setting.observed.is_empty());
    }
}

#[test]
fn values_are_checked_by_type_and_range() {
    let table = [
        ("retention.ms", "-1", true),
        ("retention.ms", " 12 ", true),
        ("retention.ms", "-2", false),
        ("retention.ms", "1s", false),
        ("segment.bytes", "4294967296", false),
        ("min.insync.replicas", "0", false),
        ("cleanup.policy", "compact,delete", true),
        ("cleanup.policy", "compact, delete", true),
        ("cleanup.policy", "", false),
        ("cleanup.policy", "burn", false),
        ("cleanup.policy", "delete_and_compact", true),
        ("cleanup.policy", "delete,delete_and_compact", false),
        ("unclean.leader.election.enable", "false", true),
        ("unclean.leader.election.enable", "true", false),
        ("compression.type", "zstd", true),
        ("compression.type", "rar", false),
        ("min.cleanable.dirty.ratio", "0.25", true),
        ("min.cleanable.dirty.ratio", "NaN", false),
        ("min.cleanable.dirty.ratio", "1.5", false),
        ("preallocate", "TRUE", true),
        ("preallocate", "yes", false),
        ("moon.phase", "full", false),
    ];
    for (name, value, good) in table {
        assert_eq!(
            check_topic_setting(name, value).is_ok(),
            good,
            "{name} = {value}"
        );
    }
}

#[test]
fn a_topics_own_value_beats_the_nodes_and_that_beats_the_default() {
    let own = BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]);
    let node = BTreeMap::from([
        ("retention.ms".to_owned(), "2".to_owned()),
        ("segment.ms".to_owned(), "3".to_owned()),
        ("cleanup.policy".to_owned(), "delete, compact".to_owned()),
    ]);
    let config = EffectiveConfig {
        topic: &own,
        node: &node,
    };
    assert_eq!(config.whole("retention.ms"), 1);
    assert_eq!(config.whole("segment.ms"), 3);
    assert_eq!(config.whole("segment.bytes"), 1 << 30);
    assert!(config.lists("cleanup.policy", "compact"));
    assert!(!config.flag("preallocate"));
}

#[test]
fn a_policy_in_another_spelling_counts_as_kafkas_list() {
    let own = BTreeMap::from([("cleanup.policy".to_owned(), "delete_and_compact".to_owned())]);
    let config = EffectiveConfig {
        topic: &own,
        node: &BTreeMap::new(),
    };
    assert_eq!(config.text("cleanup.policy"), "compact,delete");
    assert!(config.lists("cleanup.policy", "compact") && config.lists("cleanup.policy", "delete"));
}

#[test]
fn lags_that_contradict_each_other_are_refused_together() {
    let lags = |min: &str, max: &str| {
        let own = BTreeMap::from([
            ("min.compaction.lag.ms".to_owned(), min.to_owned()),
            ("max.compaction.lag.ms".to_owned(), max.to_owned()),
        ]);
        check_together(EffectiveConfig {
            topic: &own,
            node: &BTreeMap::new(),
        })
        .is_ok()
    };
    assert!(lags("5", "5"));
    assert!(!lags("6", "5"));
}

#[test]
fn hours_and_minutes_become_milliseconds() {
    assert_eq!(Unit::Hours.convert("168").as_deref(), Some("604800000"));
    assert_eq!(Unit::Minutes.convert("-1").as_deref(), Some("-1"));
    assert_eq!(Unit::Hours.convert("2147483648"), None);
    assert_eq!(Unit::Same.convert("7").as_deref(), Some("7"));
}
