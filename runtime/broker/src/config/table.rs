//! The table of the node's own settings. Topics' defaults stand in the table of topic settings.

use std::collections::BTreeMap;

use millstream_cluster::configs::{ConfigType, NodeName, Rule};

use super::{
    layers::Layers,
    setting::{OwnSetting, UpdateMode},
};

const I32_MAX: i64 = i32::MAX as i64;

/// One line of documentation, then: name, further spellings, field and type, default, Kafka's type, rule, update
/// mode, how its effect is observed.
macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:literal $(| $spelling:literal)* $field:ident: $type:ty = $default:expr,
        $kind:ident, $rule:expr, $mode:ident, $observed:literal;)*) => {
        /// The node's settings. Fields are named like the settings, with underscores.
        #[derive(Clone, Debug)]
        pub struct BrokerConfig {
            $($(#[doc = $doc])+ pub $field: $type,)*
            /// Defaults for topics that the node's settings give, by the topic setting's name.
            pub topic_defaults: BTreeMap<String, String>,
            pub(super) layers: Layers,
        }

        impl Default for BrokerConfig {
            fn default() -> BrokerConfig {
                BrokerConfig {
                    $($field: $default,)*
                    topic_defaults: BTreeMap::new(),
                    layers: Layers::default(),
                }
            }
        }

        pub(super) static OWN_SETTINGS: &[OwnSetting] = &[$(OwnSetting {
            names: &[NodeName::new($name), $(NodeName::new($spelling),)*],
            kind: ConfigType::$kind,
            rule: $rule,
            mode: UpdateMode::$mode,
            doc: concat!($($doc,)+),
            observed: $observed,
        },)*];

        impl BrokerConfig {
            /// The text of one of the node's own settings.
            pub(super) fn own_text(&self, name: &str) -> Option<String> {
                match name {
                    $($name => Some(self.$field.shown()),)*
                    _ => None,
                }
            }

            /// Sets a field to a value in its canonical form; false when there is none or its type does not take it.
            pub(super) fn assign(&mut self, name: &str, value: &str) -> bool {
                match name {
                    $($name => value.parse().map(|value| self.$field = value).is_ok(),)*
                    _ => false,
                }
            }
        }
    };
}

/// A value as DescribeConfigs shows it.
trait Shown {
    fn shown(&self) -> String;
}

macro_rules! shown_as_displayed {
    ($($type:ty)*) => {
        $(impl Shown for $type {
            fn shown(&self) -> String {
                self.to_string()
            }
        })*
    };
}
shown_as_displayed!(bool i16 i32 i64 String);

impl Shown for f64 {
    /// The greatest has 309 digits without an exponent.
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

/// Accepts any text; the setting's user checks the rest.
const ANY: Rule = Rule::Text;

settings! {
    /// Addresses that clients are told, as `PLAINTEXT://host:port`; empty: the address that they connected to.
    "advertised.listeners" advertised_listeners: String = String::new(), String, ANY, PerBroker,
        "The address of the node in Metadata.";
    /// Whether a topic is created when a client asks for its metadata.
    "auto.create.topics.enable" auto_create_topics_enable: bool = true, Boolean, Rule::Boolean, ReadOnly,
        "Whether asking for an unknown topic's metadata makes it.";
    /// Partitions of a topic that does not say.
    "num.partitions" num_partitions: i32 = 1, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "The number of partitions of a topic that is created without one.";
    /// Replicas of a topic that does not say.
    "default.replication.factor" default_replication_factor: i16 = 1, Short, Rule::Whole(1, i16::MAX as i64), ReadOnly,
        "The number of replicas of a topic that is created without one.";
    /// Whether topics may be deleted.
    "delete.topic.enable" delete_topic_enable: bool = true, Boolean, Rule::Boolean, ReadOnly,
        "Whether DeleteTopics is refused with TOPIC_DELETION_DISABLED.";

    /// Largest request, bytes.
    "socket.request.max.bytes" socket_request_max_bytes: i32 = 104_857_600, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "The connection of a larger request is closed.";
    /// SO_SNDBUF of a connection, bytes; -1: the system's.
    "socket.send.buffer.bytes" socket_send_buffer_bytes: i32 = 102_400, Int, Rule::Whole(-1, I32_MAX), ReadOnly,
        "The size that the listener reports.";
    /// SO_RCVBUF of a connection, bytes; -1: the system's.
    "socket.receive.buffer.bytes" socket_receive_buffer_bytes: i32 = 102_400, Int, Rule::Whole(-1, I32_MAX), ReadOnly,
        "The size that the listener reports.";
    /// Time after which a silent connection is closed, ms.
    "connections.max.idle.ms" connections_max_idle_ms: i64 = 600_000, Long, Rule::Whole(1, i64::MAX), ReadOnly,
        "A silent connection is closed.";
    /// Connections that are open at once; more are closed as they come.
    "max.connections" max_connections: i32 = i32::MAX, Int, Rule::Whole(0, I32_MAX), ClusterWide,
        "A connection too many is closed.";
    /// Time that a request has to arrive after its first byte, ms, besides a second for each 64 KiB.
    "millstream.partial.request.timeout.ms" partial_request_timeout_ms: i64 = 30_000, Long, Rule::Whole(1, i64::MAX), ReadOnly,
        "The connection of an unfinished request is closed.";
    /// Requests of one connection that may wait for their flush while the next one is taken.
    "millstream.max.in.flight.per.connection" max_in_flight_per_connection: i32 = 64, Int, Rule::Whole(1, 10_000), ReadOnly,
        "How many requests of one connection are appended before the first is flushed.";

    /// Most bytes in one Fetch response.
    "fetch.max.bytes" fetch_max_bytes: i32 = 57_671_680, Int, Rule::Whole(1024, I32_MAX), ReadOnly,
        "The size of a Fetch response.";

    /// How often retention looks at all logs, ms.
    "log.retention.check.interval.ms" log_retention_check_interval_ms: i64 = 300_000, Long, Rule::Whole(1, i64::MAX), ReadOnly,
        "How soon a log start offset moves.";
    /// How often logs are synced in the background and their recovery points written, ms.
    "log.flush.offset.checkpoint.interval.ms" log_flush_offset_checkpoint_interval_ms: i32 = 60_000, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "How soon the files are synced after a write.";
    /// How long a producer is remembered that writes nothing, ms.
    "producer.id.expiration.ms" producer_id_expiration_ms: i32 = 86_400_000, Int, Rule::Whole(1, I32_MAX), ClusterWide,
        "The log forgets the producer.";

    /// Whether logs are compacted.
    "log.cleaner.enable" | "log.cleaner.enabled" log_cleaner_enable: bool = true, Boolean, Rule::Boolean, ReadOnly,
        "Whether passes run.";
    /// Threads that compact logs.
    "log.cleaner.threads" log_cleaner_threads: i32 = 1, Int, Rule::Whole(1, 64), ClusterWide,
        "The number of threads in the cleaner's figures.";
    /// Memory for the offset maps of all cleaner threads together, bytes; each key takes 24.
    "log.cleaner.dedupe.buffer.size" | "log.cleaner.dedicated.max.memory" log_cleaner_dedupe_buffer_size: i64 = 134_217_728, Long, Rule::Whole(1_024, i64::MAX), ClusterWide,
        "A pass over a segment whose keys do not fit fails and says what it needs.";
    /// How full an offset map may become.
    "log.cleaner.io.buffer.load.factor" log_cleaner_io_buffer_load_factor: f64 = 0.9, Double, Rule::Real(0.01, 1.0), ClusterWide,
        "How many keys fit into the map.";
    /// Memory for the buffers of all cleaner threads together, bytes.
    "log.cleaner.io.buffer.size" log_cleaner_io_buffer_size: i32 = 524_288, Int, Rule::Whole(0, I32_MAX), ClusterWide,
        "The size of a pass's reads.";
    /// Most bytes that all cleaner threads together read and write in a second.
    "log.cleaner.io.max.bytes.per.second" log_cleaner_io_max_bytes_per_second: f64 = f64::MAX, Double, Rule::Real(1.0, f64::MAX), ClusterWide,
        "How long a pass takes.";
    /// How long a cleaner thread sleeps when no log is due, ms.
    "log.cleaner.backoff.ms" log_cleaner_backoff_ms: i64 = 15_000, Long, Rule::Whole(0, i64::MAX), ClusterWide,
        "How soon a log is compacted after it became due.";

    /// How often the background reads all ended segments again and checks them, ms; 0: never.
    "millstream.scrub.interval.ms" scrub_interval_ms: i64 = 604_800_000, Long, Rule::Whole(0, i64::MAX), ReadOnly,
        "How soon a pass of the scrub ends.";
    /// Most bytes that this reads in a second.
    "millstream.scrub.bytes.per.second" scrub_bytes_per_second: i64 = 16_777_216, Long, Rule::Whole(1, i64::MAX), ReadOnly,
        "How long a pass of the scrub takes.";

    /// Partitions of __consumer_offsets.
    "offsets.topic.num.partitions" offsets_topic_num_partitions: i32 = 50, Int, Rule::Whole(1, 10_000), ReadOnly,
        "The number of partitions of __consumer_offsets.";
    /// Replicas of __consumer_offsets, as far as there are nodes.
    "offsets.topic.replication.factor" offsets_topic_replication_factor: i16 = 3, Short, Rule::Whole(1, i16::MAX as i64), ReadOnly,
        "The number of replicas of __consumer_offsets.";
    /// Segment size of __consumer_offsets, bytes.
    "offsets.topic.segment.bytes" offsets_topic_segment_bytes: i32 = 104_857_600, Int, Rule::Whole(1024, I32_MAX), ReadOnly,
        "segment.bytes of __consumer_offsets.";
    /// How long the offsets of an empty group are kept, minutes.
    "offsets.retention.minutes" offsets_retention_minutes: i32 = 10_080, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "Offsets of an empty group are gone after it.";
    /// How often expired offsets are looked for, ms.
    "offsets.retention.check.interval.ms" offsets_retention_check_interval_ms: i64 = 600_000, Long, Rule::Whole(1, i64::MAX), ReadOnly,
        "How soon expired offsets are gone.";
    /// Largest metadata string of an offset commit, bytes.
    "offset.metadata.max.bytes" offset_metadata_max_bytes: i32 = 4_096, Int, Rule::Whole(0, I32_MAX), ReadOnly,
        "A longer string is refused with OFFSET_METADATA_TOO_LARGE.";
    /// How long an offset commit may wait for its flush, ms.
    "offsets.commit.timeout.ms" offsets_commit_timeout_ms: i32 = 5_000, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "A commit whose flush hangs is refused.";

    /// How long the first rebalance of a new group waits for more members, ms.
    "group.initial.rebalance.delay.ms" group_initial_rebalance_delay_ms: i32 = 3_000, Int, Rule::Whole(0, I32_MAX), ReadOnly,
        "How long the first member of a group waits.";
    /// Shortest session time-out that a member may ask for, ms.
    "group.min.session.timeout.ms" group_min_session_timeout_ms: i32 = 6_000, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "A shorter one is refused with INVALID_SESSION_TIMEOUT.";
    /// Longest session time-out that a member may ask for, ms.
    "group.max.session.timeout.ms" group_max_session_timeout_ms: i32 = 1_800_000, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "A longer one is refused with INVALID_SESSION_TIMEOUT.";
    /// Most members of a group.
    "group.max.size" group_max_size: i32 = i32::MAX, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "A member too many is refused with GROUP_MAX_SIZE_REACHED.";

    /// Partitions of __transaction_state.
    "transaction.state.log.num.partitions" transaction_state_log_num_partitions: i32 = 50, Int, Rule::Whole(1, 10_000), ReadOnly,
        "The number of partitions of __transaction_state.";
    /// Replicas of __transaction_state, as far as there are nodes.
    "transaction.state.log.replication.factor" transaction_state_log_replication_factor: i16 = 3, Short, Rule::Whole(1, i16::MAX as i64), ReadOnly,
        "The number of replicas of __transaction_state.";
    /// In-sync replicas that __transaction_state needs, as far as it has replicas.
    "transaction.state.log.min.isr" transaction_state_log_min_isr: i32 = 2, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "min.insync.replicas of __transaction_state.";
    /// Segment size of __transaction_state, bytes.
    "transaction.state.log.segment.bytes" transaction_state_log_segment_bytes: i32 = 104_857_600, Int, Rule::Whole(1024, I32_MAX), ReadOnly,
        "segment.bytes of __transaction_state.";
    /// Longest transaction time-out that a producer may ask for, ms.
    "transaction.max.timeout.ms" transaction_max_timeout_ms: i32 = 900_000, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "A longer one is refused with INVALID_TRANSACTION_TIMEOUT.";
    /// How long an idle transactional id is kept, ms.
    "transactional.id.expiration.ms" transactional_id_expiration_ms: i32 = 604_800_000, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "The id is forgotten after it: its producer id is a new one.";
    /// How often transactions that have timed out are looked for, ms.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms" transaction_abort_timed_out_transaction_cleanup_interval_ms: i32 = 10_000, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "How long after its time-out a transaction is aborted at the latest.";
    /// How often expired transactional ids are looked for, ms.
    "transaction.remove.expired.transaction.cleanup.interval.ms" transaction_remove_expired_transaction_cleanup_interval_ms: i32 = 3_600_000, Int, Rule::Whole(1, I32_MAX), ReadOnly,
        "How soon an expired id is forgotten.";
    /// Whether a partition asks the coordinator before a transaction's first batch is written.
    "transaction.partition.verification.enable" transaction_partition_verification_enable: bool = true, Boolean, Rule::Boolean, ClusterWide,
        "Whether a batch of a transaction that the coordinator does not know is refused with INVALID_TXN_STATE.";
}
