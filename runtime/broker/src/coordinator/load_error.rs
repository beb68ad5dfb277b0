//! Why a coordinator could not read a partition of its topic.

use millstream_log::{Log, ReadError};
use millstream_wire::ErrorCode;

use crate::error_codes::read_error;

/// What clients are told, and what the node's own log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadError {
    pub(crate) code: ErrorCode,
    pub(crate) reason: String,
}

impl LoadError {
    /// The log could not be read. Where it is damaged, the reason says how that can be given up.
    pub(crate) fn unreadable(log: &Log, error: &ReadError) -> Self {
        let mut reason = error.to_string();
        if matches!(error, ReadError::Corrupt { .. }) {
            reason += &format!("; put a copy of the file back, or {}", log.repair_advice());
        }
        Self {
            code: read_error(error),
            reason,
        }
    }

    /// Bytes that are as they were written, and yet say nothing that this node understands.
    pub(crate) fn corrupt(reason: impl std::fmt::Display) -> Self {
        Self {
            code: ErrorCode::CorruptMessage,
            reason: reason.to_string(),
        }
    }
}

impl From<ErrorCode> for LoadError {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            reason: code.to_string(),
        }
    }
}
