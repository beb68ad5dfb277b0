//! The page of all settings, `docs/settings.md`, written from the tables.

use std::fmt::Write;

use millstream_cluster::configs::{ConfigType, Rule, TOPIC_SETTINGS};

use super::{NodeSetting, UpdateMode, node_settings};

const HEADER: &str = "\
# Settings

Written by `cargo xtask docs` from the tables in `runtime/cluster/src/configs/topic.rs` and
`runtime/broker/src/config/table.rs`; change those, not this page.

Names, units, defaults and meanings are Kafka's where Kafka has the setting; ours begin with `millstream.`. A test
(`runtime/broker/tests/sockets/settings`) sets every setting of this page, sees it in DescribeConfigs and observes its effect,
without a restart wherever the page says that it may change at run time.

- **A topic's settings** are given when it is created and changed at any time: `millstream topic create NAME --config
  KEY=VALUE`, `millstream topic alter NAME --set KEY=VALUE`, or any Kafka client's IncrementalAlterConfigs.
- **A node's settings** come from `[broker]` in `millstream.toml`, from `MILLSTREAM_BROKER_…` (`num.partitions` is
  `MILLSTREAM_BROKER_NUM_PARTITIONS`) and from `--set KEY=VALUE`, the last one being the strongest. What may change at
  run time is changed with IncrementalAlterConfigs, which is stronger than all three: `millstream config alter`.
- Of several names of one setting that are given in the same place, the one that stands first counts.
";

/// Which clock a setting goes by.
const CLOCKS: &str = "
## Which clock

Time-outs, sessions, rebalances, waits and intervals count by the monotonic clock: nobody is expelled, and no transaction
is aborted, because the machine's clock was set. Kafka's record of a transaction has only wall times, so a transaction
that is open over a restart of the node has its whole time-out again.

By the wall clock goes what is kept by its age, since it outlives the process: a clock that is set forward makes these old,
one that is set back keeps them longer.

- `retention.ms`, `segment.ms` and `segment.jitter.ms`, measured from records' timestamps (`segment.ms` of a segment without
  any from when it was begun);
- `min.compaction.lag.ms`, `max.compaction.lag.ms`, `delete.retention.ms`;
- `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`, which compare a record with the clock;
- `offsets.retention.minutes`, `transactional.id.expiration.ms`, `producer.id.expiration.ms`.
";

/// Settings of Kafka that users may miss, and why they are not here.
const ABSENT: &str = "
## Settings of Kafka that do not exist here

A setting without an effect would be a promise that nobody keeps, so these are refused.

- `flush.messages`, `flush.ms` and their node's names: with `flush = \"journal\"`, the default, every write is on the disk
  before it is acknowledged, so there is nothing to ask for; with `flush = \"os\"` the background syncs every
  `log.flush.offset.checkpoint.interval.ms`.
- `message.downconversion.enable`: no record has an old format.
- `remote.storage.enable`: there is no tiered storage.
";

/// The page as Markdown.
pub fn settings_page() -> String {
    let mut page = String::from(HEADER);
    page.push_str("\n## Topics\n\nEach has a default that the node's setting gives. The node's settings of this table may change at run time (cluster-wide or\nfor one node), except in hours and minutes.\n\n");
    page.push_str(
        "| topic | node | type | default | values | meaning | seen in |\n|--|--|--|--|--|--|--|\n",
    );
    for setting in &TOPIC_SETTINGS {
        let names: Vec<String> = setting
            .node_names
            .iter()
            .map(|name| code(name.name))
            .collect();
        row(
            &mut page,
            &[
                &code(setting.name),
                &names.join(", "),
                kind(setting.kind),
                &code(setting.default),
                &values(&setting.rule),
                setting.doc,
                setting.observed,
            ],
        );
    }
    page.push_str("\n## Nodes\n\n| node | changes | type | default | values | meaning | seen in |\n|--|--|--|--|--|--|--|\n");
    for setting in node_settings()
        .iter()
        .filter(|setting| setting.topic.is_none())
    {
        let names: Vec<String> = setting.names.iter().map(|name| code(name.name)).collect();
        row(
            &mut page,
            &[
                &names.join(", "),
                changes(setting),
                kind(setting.kind),
                &if setting.default.is_empty() {
                    String::new()
                } else {
                    code(&setting.default)
                },
                &values(&setting.rule),
                setting.doc,
                setting.observed,
            ],
        );
    }
    page.push_str(CLOCKS);
    page.push_str(ABSENT);
    page
}

fn row(page: &mut String, cells: &[&str]) {
    for cell in cells {
        // Writing to a string does not fail.
        let _ = write!(page, "| {} ", cell.replace('|', "\\|"));
    }
    page.push_str("|\n");
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn kind(kind: ConfigType) -> &'static str {
    match kind {
        ConfigType::Boolean => "boolean",
        ConfigType::String => "string",
        ConfigType::Int => "int",
        ConfigType::Short => "short",
        ConfigType::Long => "long",
        ConfigType::Double => "double",
        ConfigType::List => "list",
        ConfigType::Class => "class",
        ConfigType::Password => "password",
    }
}

fn changes(setting: &NodeSetting) -> &'static str {
    match setting.mode {
        UpdateMode::ReadOnly => "read-only",
        UpdateMode::PerBroker => "per-broker",
        UpdateMode::ClusterWide => "cluster-wide",
    }
}

fn values(rule: &Rule) -> String {
    match rule {
        Rule::Text => String::new(),
        Rule::Boolean => "true, false".to_owned(),
        Rule::Whole(min, max) => match *max {
            i64::MAX => format!("from {min}"),
            max if max == i64::from(i32::MAX) => format!("from {min}"),
            max => format!("{min} to {max}"),
        },
        Rule::Real(min, max) if *max == f64::MAX => format!("from {min:?}"),
        Rule::Real(min, max) => format!("{min:?} to {max:?}"),
        Rule::OneOf(words) => words.join(", "),
        Rule::ListOf { words, spellings } => {
            let spelled = spellings.iter().map(|(spelling, _)| *spelling);
            let all: Vec<&str> = words.iter().copied().chain(spelled).collect();
            all.join(", ")
        }
    }
}
