//! The topics in which the node keeps its own state.

use crate::config::BrokerConfig;
use millstream_cluster::TopicSpec;

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
            // As the offsets: it holds positions too, one small record for each source.
            InternalTopic::Sources => (
                config.offsets_topic_num_partitions,
                offsets_replicas,
                Vec::new(),
            ),
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
    fn names_lead_back_to_their_topics() {
        for topic in InternalTopic::ALL {
            assert_eq!(InternalTopic::named(topic.name()), Some(topic));
        }
        assert_eq!(InternalTopic::named("flights"), None);
    }
}
