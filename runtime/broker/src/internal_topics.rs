//! The topics in which the node keeps its own state, and the names that are the node's.

use millstream_cluster::{METADATA_TOPIC, TopicSpec};
use millstream_log::Writers;
use millstream_wire::ErrorCode;

use crate::{config::BrokerConfig, topics::TopicFailure};

/// What the names of topics begin with that are the node's alone: no client has one made.
const OWN_PREFIX: &str = "__millstream_";

/// A topic of the node itself: made when it is first needed, hidden from subscriptions by pattern, not deletable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalTopic {
    /// Groups and their committed offsets.
    ConsumerOffsets,
    /// Transactions.
    TransactionState,
    /// How far file sources have been read.
    Sources,
}

impl InternalTopic {
    pub const ALL: [InternalTopic; 3] = [
        InternalTopic::ConsumerOffsets,
        InternalTopic::TransactionState,
        InternalTopic::Sources,
    ];

    /// The topic's name.
    pub fn name(self) -> &'static str {
        match self {
            InternalTopic::ConsumerOffsets => "__consumer_offsets",
            InternalTopic::TransactionState => "__transaction_state",
            InternalTopic::Sources => "__millstream_sources",
        }
    }

    /// The internal topic of that name.
    pub fn named(name: &str) -> Option<InternalTopic> {
        InternalTopic::ALL
            .into_iter()
            .find(|topic| topic.name() == name)
    }

    /// How a client has the topic made: with its own settings, whatever else was asked for.
    fn made_as(self, asked: TopicSpec, config: &BrokerConfig, nodes: usize) -> TopicSpec {
        let own = self.spec(config, nodes);
        let partitions = match asked.partitions {
            -1 if asked.assignments.is_empty() => own.partitions,
            partitions => partitions,
        };
        let replication_factor = match asked.replication_factor {
            -1 if asked.assignments.is_empty() => own.replication_factor,
            replicas => replicas,
        };
        TopicSpec {
            partitions,
            replication_factor,
            configs: own.configs,
            ..asked
        }
    }

    /// How the topic is created in a cluster of `nodes` nodes: with as many of the wanted replicas as there are nodes.
    pub(crate) fn spec(self, config: &BrokerConfig, nodes: usize) -> TopicSpec {
        let nodes = i16::try_from(nodes).unwrap_or(i16::MAX);
        let offsets_replicas = config.offsets_topic_replication_factor.min(nodes);
        let transaction_replicas = config.transaction_state_log_replication_factor.min(nodes);
        let min_isr = config
            .transaction_state_log_min_isr
            .min(i32::from(transaction_replicas));
        let setting = |name: &str, value: String| (name.to_owned(), Some(value));
        let (partitions, replication_factor, configs) = match self {
            InternalTopic::ConsumerOffsets => {
                let size = config.offsets_topic_segment_bytes.to_string();
                (
                    config.offsets_topic_num_partitions,
                    offsets_replicas,
                    vec![setting("segment.bytes", size)],
                )
            }
            InternalTopic::TransactionState => {
                let size = config.transaction_state_log_segment_bytes.to_string();
                let configs = vec![
                    setting("segment.bytes", size),
                    setting("min.insync.replicas", min_isr.to_string()),
                    setting("unclean.leader.election.enable", "false".to_owned()),
                ];
                (
                    config.transaction_state_log_num_partitions,
                    transaction_replicas,
                    configs,
                )
            }
            // One small record for each source.
            InternalTopic::Sources => (1, offsets_replicas, Vec::new()),
        };
        let mut spec = TopicSpec {
            partitions,
            replication_factor,
            configs,
            ..TopicSpec::named(self.name())
        };
        spec.configs
            .push(setting("cleanup.policy", "compact".to_owned()));
        spec.configs
            .push(setting("compression.type", "producer".to_owned()));
        spec
    }
}

/// Whether the topic of that name is the node's: clients read it at the most.
pub(crate) fn is_internal(name: &str) -> bool {
    InternalTopic::named(name).is_some() || name.starts_with(OWN_PREFIX)
}

/// Whether no client has a topic of that name made, on whatever road.
pub(crate) fn is_reserved(name: &str) -> bool {
    // Topics whose names differ in '.' and '_' alone cannot be there together: one would keep the node's own away.
    let flat = name.replace('.', "_");
    let is_twin = InternalTopic::named(name).is_none() && InternalTopic::named(&flat).is_some();
    name == METADATA_TOPIC || flat.starts_with(OWN_PREFIX) || is_twin
}

/// Who may append to the topic of that name.
pub(crate) fn writers_of(name: &str) -> Writers {
    match InternalTopic::named(name) {
        Some(InternalTopic::ConsumerOffsets | InternalTopic::TransactionState) => {
            Writers::Coordinators
        }
        Some(InternalTopic::Sources) => Writers::Node,
        None if is_internal(name) => Writers::Node,
        None => Writers::Anyone,
    }
}

/// The topic that a client's wish makes.
pub(crate) fn made_for_client(
    asked: TopicSpec,
    config: &BrokerConfig,
    nodes: usize,
) -> Result<TopicSpec, TopicFailure> {
    let name = &asked.name;
    if is_reserved(name) {
        // For the metadata Kafka has a code of its own.
        let code = match name == METADATA_TOPIC {
            true => ErrorCode::InvalidRequest,
            false => ErrorCode::InvalidTopicException,
        };
        let message = format!("topic {name} cannot be created: such names are the node's own");
        return Err(TopicFailure { code, message });
    }
    match InternalTopic::named(name) {
        None => Ok(asked),
        Some(_) if !asked.configs.is_empty() => Err(TopicFailure {
            code: ErrorCode::InvalidConfig,
            message: format!(
                "topic {name} is the node's own and made with the node's settings: leave the settings out"
            ),
        }),
        Some(topic) => Ok(topic.made_as(asked, config, nodes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_and_in_sync_replicas_shrink_to_the_nodes_that_exist() {
        let config = BrokerConfig::default();
        let min_isr = |spec: &TopicSpec| {
            let found = spec
                .configs
                .iter()
                .find(|(name, _)| name == "min.insync.replicas");
            found.and_then(|(_, value)| value.clone())
        };
        let one = InternalTopic::TransactionState.spec(&config, 1);
        assert_eq!((one.partitions, one.replication_factor), (50, 1));
        assert_eq!(min_isr(&one).as_deref(), Some("1"));
        let five = InternalTopic::TransactionState.spec(&config, 5);
        assert_eq!(five.replication_factor, 3);
        assert_eq!(min_isr(&five).as_deref(), Some("2"));
    }

    #[test]
    fn every_internal_topic_is_compacted_and_never_deleted_from() {
        for topic in InternalTopic::ALL {
            let spec = topic.spec(&BrokerConfig::default(), 1);
            let policy = spec
                .configs
                .iter()
                .find(|(name, _)| name == "cleanup.policy");
            let policy = policy.and_then(|(_, value)| value.as_deref());
            assert_eq!(policy, Some("compact"), "{}", topic.name());
        }
    }

    #[test]
    fn names_are_the_nodes_or_anybodys() {
        use Writers::{Anyone, Coordinators, Node};
        for (name, internal, reserved, writers) in [
            ("flights", false, false, Anyone),
            ("__flights", false, false, Anyone),
            ("__consumer_offsets", true, false, Coordinators),
            ("__transaction_state", true, false, Coordinators),
            ("__millstream_sources", true, true, Node),
            ("__millstream_", true, true, Node),
            ("__millstream", false, false, Anyone),
            ("__cluster_metadata", false, true, Anyone),
            ("__consumer.offsets", false, true, Anyone),
            ("__millstream.sources", false, true, Anyone),
        ] {
            assert_eq!(is_internal(name), internal, "{name}");
            assert_eq!(is_reserved(name), reserved, "{name}");
            assert_eq!(writers_of(name), writers, "{name}");
        }
    }

    #[test]
    fn a_client_chooses_the_partitions_of_an_internal_topic_and_nothing_else() {
        let config = BrokerConfig::default();
        let made = |asked| made_for_client(asked, &config, 1);
        let offsets = TopicSpec::named("__consumer_offsets");
        let own = InternalTopic::ConsumerOffsets.spec(&config, 1);
        assert_eq!(made(offsets.clone()), Ok(own.clone()));
        let few = TopicSpec {
            partitions: 3,
            ..offsets.clone()
        };
        assert_eq!(
            made(few),
            Ok(TopicSpec {
                partitions: 3,
                ..own
            })
        );
        let with_settings = TopicSpec {
            configs: vec![("segment.ms".to_owned(), None)],
            ..offsets
        };
        let refused = made(with_settings).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidConfig);
        for (name, code) in [
            ("__cluster_metadata", ErrorCode::InvalidRequest),
            ("__millstream_sources", ErrorCode::InvalidTopicException),
            ("__transaction.state", ErrorCode::InvalidTopicException),
        ] {
            let refused = made(TopicSpec::named(name)).unwrap_err();
            assert_eq!(refused.code, code, "{name}");
        }
    }

    #[test]
    fn names_lead_back_to_their_topics() {
        for topic in InternalTopic::ALL {
            assert_eq!(InternalTopic::named(topic.name()), Some(topic));
        }
        assert_eq!(InternalTopic::named("flights"), None);
    }
}
