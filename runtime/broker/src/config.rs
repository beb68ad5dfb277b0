//! The node's settings, with Kafka's names, defaults and meanings, in one table.

use std::collections::BTreeMap;

use millstream_cluster::{
    TopicDefaults,
    configs::{ConfigType, Rule, TOPIC_SETTINGS, topic_setting_of_broker},
};
use thiserror::Error;

use crate::{
    group::{GroupLimits, GroupSettings},
    transaction::TransactionSettings,
};

/// How long a request waits for a transaction that is being finished, ms; then it is told CONCURRENT_TRANSACTIONS.
const TRANSACTION_WAIT_MS_MAX: u64 = 10_000;

/// A setting that does not exist, or a value that it does not take.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SettingError {
    #[error("there is no setting {name}")]
    Unknown { name: String },
    #[error("setting {name} does not take {value:?}: {expected}")]
    Invalid {
        name: String,
        value: String,
        expected: String,
    },
}

/// One setting of the node as DescribeConfigs shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedSetting {
    pub name: &'static str,
    pub value: String,
    pub default: String,
    pub kind: ConfigType,
    pub doc: &'static str,
}

const I32_MAX: i64 = i32::MAX as i64;

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:literal $field:ident: $type:ty = $default:expr, $kind:ident, $rule:expr;)*) => {
        /// The node's settings. Fields are named like the settings, with underscores.
        #[derive(Clone, Debug)]
        pub struct BrokerConfig {
            $($(#[doc = $doc])+ pub $field: $type,)*
            /// Defaults for topics, by the topic setting's name; set through [`BrokerConfig::set`] by the name
            /// of the node's setting (`log.segment.bytes` for `segment.bytes`).
            pub topic_defaults: BTreeMap<String, String>,
        }

        impl Default for BrokerConfig {
            fn default() -> BrokerConfig {
                BrokerConfig { $($field: $default,)* topic_defaults: BTreeMap::new() }
            }
        }

        impl BrokerConfig {
            /// Sets one setting by Kafka's name.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
                let value = value.trim();
                match name {
                    $($name => self.$field = parse::<$type>(name, value, &$rule)?,)*
                    _ => self.set_topic_default(name, value)?,
                }
                Ok(())
            }

            /// Every setting with its present value, in order of name.
            pub fn describe(&self) -> Vec<DescribedSetting> {
                let default = BrokerConfig::default();
                let mut all = vec![$(DescribedSetting {
                    name: $name,
                    value: self.$field.to_string(),
                    default: default.$field.to_string(),
                    kind: ConfigType::$kind,
                    doc: concat!($($doc,)+).trim_ascii(),
                },)*];
                all.extend(self.describe_topic_defaults());
                all.sort_by_key(|setting| setting.name);
                all
            }
        }
    };
}

/// Accepts any text; the setting's user checks the rest.
const ANY: Rule = Rule::Text;

settings! {
    /// Addresses that clients are told, as `PLAINTEXT://host:port`; empty: the address that they connected to.
    "advertised.listeners" advertised_listeners: String = String::new(), String, ANY;
    /// Whether a topic is created when a client asks for its metadata.
    "auto.create.topics.enable" auto_create_topics_enable: bool = true, Boolean, Rule::Boolean;
    /// Partitions of a topic that does not say.
    "num.partitions" num_partitions: i32 = 1, Int, Rule::Whole(1, I32_MAX);
    /// Replicas of a topic that does not say.
    "default.replication.factor" default_replication_factor: i16 = 1, Int, Rule::Whole(1, i16::MAX as i64);
    /// Whether topics may be deleted.
    "delete.topic.enable" delete_topic_enable: bool = true, Boolean, Rule::Boolean;

    /// Largest request, bytes.
    "socket.request.max.bytes" socket_request_max_bytes: i32 = 104_857_600, Int, Rule::Whole(1, I32_MAX);
    /// SO_SNDBUF of a connection, bytes; -1: the system's.
    "socket.send.buffer.bytes" socket_send_buffer_bytes: i32 = 102_400, Int, Rule::Whole(-1, I32_MAX);
    /// SO_RCVBUF of a connection, bytes; -1: the system's.
    "socket.receive.buffer.bytes" socket_receive_buffer_bytes: i32 = 102_400, Int, Rule::Whole(-1, I32_MAX);
    /// Time after which a silent connection is closed, ms.
    "connections.max.idle.ms" connections_max_idle_ms: i64 = 600_000, Long, Rule::Whole(1, i64::MAX);
    /// Connections that are open at once; more are closed as they come.
    "max.connections" max_connections: i32 = i32::MAX, Int, Rule::Whole(0, I32_MAX);
    /// Time that a request has to arrive after its first byte, ms, besides a second for each 64 KiB.
    "millstream.partial.request.timeout.ms" partial_request_timeout_ms: i64 = 30_000, Long, Rule::Whole(1, i64::MAX);
    /// Requests of one connection that may wait for their flush while the next one is taken.
    "millstream.max.in.flight.per.connection" max_in_flight_per_connection: i32 = 64, Int, Rule::Whole(1, 10_000);

    /// Most bytes in one Fetch response.
    "fetch.max.bytes" fetch_max_bytes: i32 = 57_671_680, Int, Rule::Whole(1024, I32_MAX);

    /// Partitions of __consumer_offsets.
    "offsets.topic.num.partitions" offsets_topic_num_partitions: i32 = 50, Int, Rule::Whole(1, 10_000);
    /// Replicas of __consumer_offsets, as far as there are nodes.
    "offsets.topic.replication.factor" offsets_topic_replication_factor: i16 = 3, Short, Rule::Whole(1, i16::MAX as i64);
    /// Segment size of __consumer_offsets, bytes.
    "offsets.topic.segment.bytes" offsets_topic_segment_bytes: i32 = 104_857_600, Int, Rule::Whole(1024, I32_MAX);
    /// How long the offsets of an empty group are kept, minutes.
    "offsets.retention.minutes" offsets_retention_minutes: i32 = 10_080, Int, Rule::Whole(1, I32_MAX);
    /// How often expired offsets are looked for, ms.
    "offsets.retention.check.interval.ms" offsets_retention_check_interval_ms: i64 = 600_000, Long, Rule::Whole(1, i64::MAX);
    /// Largest metadata string of an offset commit, bytes.
    "offset.metadata.max.bytes" offset_metadata_max_bytes: i32 = 4_096, Int, Rule::Whole(0, I32_MAX);
    /// How long an offset commit may wait for its flush, ms.
    "offsets.commit.timeout.ms" offsets_commit_timeout_ms: i32 = 5_000, Int, Rule::Whole(1, I32_MAX);

    /// How long the first rebalance of a new group waits for more members, ms.
    "group.initial.rebalance.delay.ms" group_initial_rebalance_delay_ms: i32 = 3_000, Int, Rule::Whole(0, I32_MAX);
    /// Shortest session time-out that a member may ask for, ms.
    "group.min.session.timeout.ms" group_min_session_timeout_ms: i32 = 6_000, Int, Rule::Whole(1, I32_MAX);
    /// Longest session time-out that a member may ask for, ms.
    "group.max.session.timeout.ms" group_max_session_timeout_ms: i32 = 1_800_000, Int, Rule::Whole(1, I32_MAX);
    /// Most members of a group.
    "group.max.size" group_max_size: i32 = i32::MAX, Int, Rule::Whole(1, I32_MAX);

    /// Partitions of __transaction_state.
    "transaction.state.log.num.partitions" transaction_state_log_num_partitions: i32 = 50, Int, Rule::Whole(1, 10_000);
    /// Replicas of __transaction_state, as far as there are nodes.
    "transaction.state.log.replication.factor" transaction_state_log_replication_factor: i16 = 3, Short, Rule::Whole(1, i16::MAX as i64);
    /// In-sync replicas that __transaction_state needs, as far as it has replicas.
    "transaction.state.log.min.isr" transaction_state_log_min_isr: i32 = 2, Int, Rule::Whole(1, I32_MAX);
    /// Segment size of __transaction_state, bytes.
    "transaction.state.log.segment.bytes" transaction_state_log_segment_bytes: i32 = 104_857_600, Int, Rule::Whole(1024, I32_MAX);
    /// Longest transaction time-out that a producer may ask for, ms.
    "transaction.max.timeout.ms" transaction_max_timeout_ms: i32 = 900_000, Int, Rule::Whole(1, I32_MAX);
    /// How long an idle transactional id is kept, ms.
    "transactional.id.expiration.ms" transactional_id_expiration_ms: i32 = 604_800_000, Int, Rule::Whole(1, I32_MAX);
    /// How often transactions that have timed out are looked for, ms.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms" transaction_abort_timed_out_transaction_cleanup_interval_ms: i32 = 10_000, Int, Rule::Whole(1, I32_MAX);
    /// How often expired transactional ids are looked for, ms.
    "transaction.remove.expired.transaction.cleanup.interval.ms" transaction_remove_expired_transaction_cleanup_interval_ms: i32 = 3_600_000, Int, Rule::Whole(1, I32_MAX);
    /// Whether a partition asks the coordinator before a transaction's first batch is written.
    "transaction.partition.verification.enable" transaction_partition_verification_enable: bool = true, Boolean, Rule::Boolean;
}

impl BrokerConfig {
    /// What a topic gets that does not say.
    pub fn topic_creation_defaults(&self) -> TopicDefaults {
        TopicDefaults {
            partitions: self.num_partitions,
            replication_factor: self.default_replication_factor,
        }
    }

    /// What the group coordinator follows.
    pub(crate) fn group_settings(&self) -> GroupSettings {
        GroupSettings {
            limits: GroupLimits {
                session_timeout_ms_min: self.group_min_session_timeout_ms,
                session_timeout_ms_max: self.group_max_session_timeout_ms,
                initial_rebalance_delay_ms: self.group_initial_rebalance_delay_ms,
                members_max: usize::try_from(self.group_max_size).unwrap_or(usize::MAX),
            },
            metadata_bytes_max: usize::try_from(self.offset_metadata_max_bytes).unwrap_or(0),
            commit_timeout_ms: u64::try_from(self.offsets_commit_timeout_ms).unwrap_or(0),
            retention_ms: i64::from(self.offsets_retention_minutes).saturating_mul(60_000),
            retention_check_ms: u64::try_from(self.offsets_retention_check_interval_ms)
                .unwrap_or(u64::MAX),
        }
    }

    /// What the transaction coordinator follows.
    pub(crate) fn transaction_settings(&self) -> TransactionSettings {
        let check_ms = self.transaction_remove_expired_transaction_cleanup_interval_ms;
        TransactionSettings {
            timeout_ms_max: self.transaction_max_timeout_ms,
            expiration_ms: i64::from(self.transactional_id_expiration_ms),
            expiration_check_ms: u64::try_from(check_ms).unwrap_or(u64::MAX),
            timeout_check_ms: i64::from(
                self.transaction_abort_timed_out_transaction_cleanup_interval_ms,
            ),
            wait_ms_max: TRANSACTION_WAIT_MS_MAX,
        }
    }

    /// Host and port of `advertised.listeners`, when one is set.
    pub fn advertised_address(&self) -> Result<Option<(String, u16)>, SettingError> {
        let first = self
            .advertised_listeners
            .split(',')
            .next()
            .unwrap_or_default()
            .trim();
        if first.is_empty() {
            return Ok(None);
        }
        let address = first
            .rsplit_once("://")
            .map_or(first, |(_, address)| address);
        let parsed = address
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        match parsed {
            Some((host, port)) if !host.is_empty() => {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                Ok(Some((host.to_owned(), port)))
            }
            _ => Err(SettingError::Invalid {
                name: "advertised.listeners".to_owned(),
                value: first.to_owned(),
                expected: "it must be PLAINTEXT://host:port".to_owned(),
            }),
        }
    }

    fn set_topic_default(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let setting = topic_setting_of_broker(name).ok_or_else(|| SettingError::Unknown {
            name: name.to_owned(),
        })?;
        check(name, value, &setting.rule)?;
        self.topic_defaults
            .insert(setting.name.to_owned(), value.to_owned());
        Ok(())
    }

    fn describe_topic_defaults(&self) -> impl Iterator<Item = DescribedSetting> + '_ {
        TOPIC_SETTINGS.iter().map(|setting| DescribedSetting {
            name: setting.broker_name,
            value: self
                .topic_defaults
                .get(setting.name)
                .map_or(setting.default, String::as_str)
                .to_owned(),
            default: setting.default.to_owned(),
            kind: setting.kind,
            doc: setting.doc,
        })
    }
}

fn check(name: &str, value: &str, rule: &Rule) -> Result<(), SettingError> {
    rule.check(value).map_err(|expected| SettingError::Invalid {
        name: name.to_owned(),
        value: value.to_owned(),
        expected,
    })
}

fn parse<T: std::str::FromStr>(name: &str, value: &str, rule: &Rule) -> Result<T, SettingError> {
    check(name, value, rule)?;
    // The rule has checked range and form; only the case of a flag may still differ.
    let lower = value.to_ascii_lowercase();
    let text = if matches!(rule, Rule::Boolean) {
        lower.as_str()
    } else {
        value
    };
    text.parse().map_err(|_| SettingError::Invalid {
        name: name.to_owned(),
        value: value.to_owned(),
        expected: "it is out of range".to_owned(),
    })
}

#[cfg(test)]
mod tests {
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
        for setting in all {
            assert_eq!(setting.value, setting.default);
            assert_eq!(config.set(setting.name, &setting.default), Ok(()));
            assert!(!setting.doc.is_empty(), "{}", setting.name);
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
}
