//! What a group decides: answers to parked requests, and records to be written.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_wire::ErrorCode;

use super::member::RequestId;

/// What a JoinGroup is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    pub error: ErrorCode,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: String,
    pub skip_assignment: bool,
    pub member_id: String,
    /// Filled for the leader only: member id, instance id, metadata.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

impl JoinAnswer {
    /// A refusal.
    pub fn refused(error: ErrorCode, member_id: &str) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }
}

/// What a SyncGroup is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAnswer {
    pub error: ErrorCode,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignment: Bytes,
}

impl SyncAnswer {
    /// A refusal.
    pub fn refused(error: ErrorCode) -> Self {
        Self {
            error,
            protocol_type: None,
            protocol: None,
            assignment: Bytes::new(),
        }
    }
}

/// An answer to one parked request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Join(RequestId, JoinAnswer),
    Sync(RequestId, SyncAnswer),
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Answer a parked request now.
    Reply(Reply),
    /// Write the group's record with these assignments and, once it is
    /// committed, call `Group::assignment_stored`.
    StoreAssignment {
        generation: i32,
        assignment: BTreeMap<String, Bytes>,
    },
    /// Write the group's record as it is and answer these once it is committed.
    Store { then: Vec<Reply> },
}
