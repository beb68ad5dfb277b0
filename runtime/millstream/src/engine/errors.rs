//! From the broker's error codes to what a port may answer.

use millstream_pipeline::ports::PortError;
use millstream_wire::ErrorCode;

/// What was asked for when the code came: names for the error message.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    Partition { topic: &'a str, partition: i32 },
    Transaction { transactional_id: &'a str },
    Group { group: &'a str, member: &'a str },
}

impl<'a> Asked<'a> {
    pub fn partition(topic: &'a str, partition: i32) -> Asked<'a> {
        Asked::Partition { topic, partition }
    }

    pub fn transaction(transactional_id: &'a str) -> Asked<'a> {
        Asked::Transaction { transactional_id }
    }

    pub fn group(group: &'a str, member: &'a str) -> Asked<'a> {
        Asked::Group { group, member }
    }

    fn owner(self) -> String {
        match self {
            Asked::Partition { topic, partition } => format!("{topic}-{partition}"),
            Asked::Transaction { transactional_id } => transactional_id.to_owned(),
            Asked::Group { member, .. } => member.to_owned(),
        }
    }

    /// The partition that leads, or stands for the coordinator that should.
    fn led(self) -> (String, i32) {
        match self {
            Asked::Partition { topic, partition } => (topic.to_owned(), partition),
            Asked::Transaction { transactional_id } => (transactional_id.to_owned(), 0),
            Asked::Group { group, .. } => (group.to_owned(), 0),
        }
    }
}

pub fn port_error(code: ErrorCode, asked: Asked<'_>) -> PortError {
    match code {
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::LeaderNotAvailable
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::ConcurrentTransactions
        | ErrorCode::NotEnoughReplicas => {
            let (topic, partition) = asked.led();
            PortError::NotLeader { topic, partition }
        }
        ErrorCode::ProducerFenced
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::InvalidProducerIdMapping
        | ErrorCode::FencedInstanceId
        | ErrorCode::IllegalGeneration
        | ErrorCode::UnknownMemberId => PortError::Fenced {
            owner: asked.owner(),
        },
        ErrorCode::RequestTimedOut | ErrorCode::NotEnoughReplicasAfterAppend => {
            PortError::Unknown {
                operation: asked.owner(),
            }
        }
        ErrorCode::UnstableOffsetCommit => PortError::UnstableOffsets {
            group: asked.owner(),
        },
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => PortError::NotFound {
            topic: asked.owner(),
        },
        ErrorCode::KafkaStorageError => PortError::Storage {
            reason: format!(
                "the log of {} cannot be written or read: the node's own log says why",
                asked.owner()
            ),
        },
        other => PortError::Refused {
            reason: format!("{}: {other}", asked.owner()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_producer_is_fenced_and_not_refused() {
        let asked = Asked::transaction("p/s/0");
        for code in [ErrorCode::ProducerFenced, ErrorCode::InvalidProducerEpoch] {
            let owner = "p/s/0".to_owned();
            assert_eq!(port_error(code, asked), PortError::Fenced { owner });
        }
    }

    #[test]
    fn what_has_no_meaning_of_its_own_is_refused_by_its_name() {
        let error = port_error(ErrorCode::InvalidRecord, Asked::partition("t", 3));
        let PortError::Refused { reason } = error else {
            panic!("{error:?}");
        };
        assert!(reason.contains("t-3"), "{reason}");
    }
}
