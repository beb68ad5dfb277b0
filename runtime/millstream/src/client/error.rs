//! What can go wrong between a command and a node, and which exit code it means.

use std::io;

use millstream_wire::{ApiKey, DecodeError, EncodeError, ErrorCode};

use crate::outcome::{Failure, FailureKind};

/// Why a command that talks to a node did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "cannot connect to {address}: {cause}; start a node with `millstream serve`, or name another with --node"
    )]
    Connect { address: String, cause: io::Error },
    #[error("the connection to {address} broke while it was asked for {api}: {cause}")]
    Broken {
        address: String,
        api: ApiKey,
        cause: io::Error,
    },
    #[error("{address} did not answer {api} within {seconds} s")]
    Timeout {
        address: String,
        api: ApiKey,
        seconds: u64,
    },
    #[error("{address} sent a malformed answer to {api}: {cause}")]
    Malformed {
        address: String,
        api: ApiKey,
        cause: DecodeError,
    },
    #[error("{address} answered {api} with a frame of {length} bytes, which cannot be right")]
    FrameLength {
        address: String,
        api: ApiKey,
        length: i32,
    },
    #[error("{address} answered another request than {api}")]
    OutOfStep { address: String, api: ApiKey },
    #[error("{address} does not speak {api}, which this command needs")]
    NotSpoken { address: String, api: ApiKey },
    #[error(
        "{address} speaks {api} in versions {lowest} to {highest}, none of which this program knows"
    )]
    NoCommonVersion {
        address: String,
        api: ApiKey,
        lowest: i16,
        highest: i16,
    },
    #[error("node {node} is not part of the cluster any more")]
    UnknownNode { node: i32 },
    #[error("cannot write {api}: {cause}")]
    Unwritable { api: ApiKey, cause: EncodeError },
    /// The node said no.
    #[error("{what} was refused: {}", reason(*.code, .detail.as_deref()))]
    Refused {
        what: String,
        code: ErrorCode,
        detail: Option<String>,
    },
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// What came in on standard input, or from a partition, cannot be read.
    #[error("{0}")]
    Input(String),
    /// Standard input or output.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ClientError {
    /// The node refused `what`, with nothing but a code.
    pub fn refused(what: impl Into<String>, code: ErrorCode) -> ClientError {
        ClientError::Refused {
            what: what.into(),
            code,
            detail: None,
        }
    }

    /// There is no such topic.
    pub fn topic_not_found(name: &str) -> ClientError {
        ClientError::NotFound(format!(
            "there is no topic {name:?}; see `millstream topic list`, or make it with `millstream topic create {name}`"
        ))
    }

    /// True when the same request may succeed a moment later or on another connection.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            ClientError::Connect { .. }
                | ClientError::Broken { .. }
                | ClientError::Timeout { .. }
                | ClientError::UnknownNode { .. }
        )
    }

    /// The command's end, with the exit code that belongs to the error.
    pub fn into_failure(self) -> Failure {
        let kind = match &self {
            ClientError::Refused { .. } => FailureKind::Refused,
            ClientError::NotFound(_) => FailureKind::NotFound,
            _ => FailureKind::Failed,
        };
        Failure::new(kind, self)
    }
}

fn reason(code: ErrorCode, detail: Option<&str>) -> String {
    match detail {
        Some(detail) if !detail.is_empty() => format!("{} ({})", detail, code.name()),
        _ => code.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_the_reason_and_kafkas_code() {
        let error = ClientError::refused("topic \"a\"", ErrorCode::TopicAlreadyExists);
        assert_eq!(
            error.to_string(),
            "topic \"a\" was refused: TOPIC_ALREADY_EXISTS"
        );
        let error = ClientError::Refused {
            what: "topic \"a\"".to_owned(),
            code: ErrorCode::InvalidConfig,
            detail: Some("retention.ms must be a number".to_owned()),
        };
        assert_eq!(
            error.to_string(),
            "topic \"a\" was refused: retention.ms must be a number (INVALID_CONFIG)"
        );
        assert_eq!(error.into_failure().kind, FailureKind::Refused);
        let error = ClientError::topic_not_found("b");
        assert_eq!(error.into_failure().kind, FailureKind::NotFound);
    }
}
