//! Kafka's error codes, with Kafka's names (<https://kafka.apache.org/protocol#protocol_error_codes>).

use std::fmt;

/// A number that is no error code of Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a Kafka error code")]
pub struct UnknownErrorCode(pub i16);

macro_rules! error_codes {
    ($($(#[$meta:meta])* $name:ident = $code:literal, $kafka:literal, $kind:ident;)*) => {
        /// Every error code of the protocol, up to Kafka 4.1.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$meta])* #[doc = $kafka] $name = $code,)*
        }

        impl ErrorCode {
            /// Every code in rising order.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];

            /// Kafka's name, such as `NOT_LEADER_OR_FOLLOWER`.
            pub const fn name(self) -> &'static str {
                match self { $(ErrorCode::$name => $kafka,)* }
            }

            /// True when Kafka's clients retry the request by themselves.
            pub const fn is_retriable(self) -> bool {
                match self { $(ErrorCode::$name => error_codes!(@ $kind),)* }
            }
        }

        impl TryFrom<i16> for ErrorCode {
            type Error = UnknownErrorCode;

            fn try_from(code: i16) -> Result<Self, UnknownErrorCode> {
                match code {
                    $($code => Ok(ErrorCode::$name),)*
                    other => Err(UnknownErrorCode(other)),
                }
            }
        }
    };
    (@ retriable) => { true };
    (@ last) => { false };
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The code of a number from the wire; one that we do not know is
    /// `UnknownServerError`, as Kafka's own clients read it.
    pub fn from_code(code: i16) -> ErrorCode {
        ErrorCode::try_from(code).unwrap_or(ErrorCode::UnknownServerError)
    }

    /// `Ok` when the number says "no error".
    pub fn check(code: i16) -> Result<(), ErrorCode> {
        match ErrorCode::from_code(code) {
            ErrorCode::None => Ok(()),
            error => Err(error),
        }
    }

    /// True for anything but `None`.
    pub const fn is_error(self) -> bool {
        !matches!(self, ErrorCode::None)
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> i16 {
        code.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl std::error::Error for ErrorCode {}

error_codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", last;
    #[default]
    None = 0, "NONE", last;
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", last;
    CorruptMessage = 2, "CORRUPT_MESSAGE", retriable;
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", retriable;
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", last;
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", retriable;
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", retriable;
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", retriable;
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", last;
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", retriable;
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", last;
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", last;
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", last;
    NetworkException = 13, "NETWORK_EXCEPTION", retriable;
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", retriable;
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", retriable;
    NotCoordinator = 16, "NOT_COORDINATOR", retriable;
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", last;
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", last;
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", retriable;
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", retriable;
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", last;
    IllegalGeneration = 22, "ILLEGAL_GENERATION", last;
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", last;
    InvalidGroupId = 24, "INVALID_GROUP_ID", last;
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", last;
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", last;
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", last;
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", last;
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", last;
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", last;
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", last;
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", last;
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", last;
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", last;
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", last;
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", last;
    InvalidPartitions = 37, "INVALID_PARTITIONS", last;
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", last;
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", last;
    InvalidConfig = 40, "INVALID_CONFIG", last;
    NotController = 41, "NOT_CONTROLLER", retriable;
    InvalidRequest = 42, "INVALID_REQUEST", last;
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", last;
    PolicyViolation = 44, "POLICY_VIOLATION", last;
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", last;
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", last;
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", last;
    InvalidTxnState = 48, "INVALID_TXN_STATE", last;
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", last;
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", last;
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", last;
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", last;
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", last;
    SecurityDisabled = 54, "SECURITY_DISABLED", last;
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", last;
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", retriable;
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", last;
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", last;
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", last;
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", last;
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", last;
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", last;
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", last;
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", last;
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", last;
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", last;
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", last;
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", last;
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", last;
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", retriable;
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", retriable;
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", retriable;
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", last;
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", retriable;
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", retriable;
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", last;
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", last;
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", retriable;
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", last;
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", retriable;
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", last;
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", last;
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", retriable;
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", retriable;
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", last;
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", last;
    InvalidRecord = 87, "INVALID_RECORD", last;
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", retriable;
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", retriable;
    ProducerFenced = 90, "PRODUCER_FENCED", last;
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", last;
    DuplicateResource = 92, "DUPLICATE_RESOURCE", last;
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", last;
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", last;
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", last;
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", last;
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", last;
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", last;
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", last;
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", retriable;
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", last;
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", last;
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", retriable;
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", last;
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", last;
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", retriable;
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", last;
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", last;
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", last;
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", last;
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", last;
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", last;
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", last;
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", last;
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", last;
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", last;
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", last;
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", last;
    InvalidRegistration = 119, "INVALID_REGISTRATION", last;
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", last;
    InvalidRecordState = 121, "INVALID_RECORD_STATE", last;
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", retriable;
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", retriable;
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", last;
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", last;
    DuplicateVoter = 126, "DUPLICATE_VOTER", last;
    VoterNotFound = 127, "VOTER_NOT_FOUND", last;
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", last;
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", last;
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", last;
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", last;
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", last;
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", retriable;
}

#[cfg(test)]
mod tests {
    use kafka_protocol::ResponseError;

    use super::*;

    #[test]
    fn every_code_has_kafkas_number_and_name() {
        assert_eq!(ErrorCode::ALL.len(), 135);
        for (code, expected) in ErrorCode::ALL.iter().zip(-1i16..) {
            assert_eq!(code.code(), expected);
            assert_eq!(ErrorCode::try_from(expected), Ok(*code));
            let Some(theirs) = ResponseError::try_from_code(expected) else {
                assert_eq!(*code, ErrorCode::None);
                continue;
            };
            assert_eq!(format!("{code:?}"), format!("{theirs:?}"));
            assert_eq!(code.is_retriable(), theirs.is_retriable(), "{code:?}");
        }
    }

    #[test]
    fn an_unknown_number_reads_as_an_unknown_server_error() {
        assert_eq!(ErrorCode::try_from(999), Err(UnknownErrorCode(999)));
        assert_eq!(ErrorCode::from_code(999), ErrorCode::UnknownServerError);
        assert_eq!(ErrorCode::check(0), Ok(()));
        assert_eq!(ErrorCode::check(88), Err(ErrorCode::UnstableOffsetCommit));
    }

    #[test]
    fn an_error_is_shown_by_kafkas_name() {
        assert_eq!(
            ErrorCode::UnknownTopicOrPartition.to_string(),
            "UNKNOWN_TOPIC_OR_PARTITION"
        );
    }
}
