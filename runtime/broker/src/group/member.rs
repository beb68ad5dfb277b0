//! One member of a classic group.

use bytes::Bytes;

/// Names a parked JoinGroup or SyncGroup; the shell keeps who waits for it.
pub type RequestId = u64;

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// The assignment protocols that the member speaks, best first, each with
    /// the member's own metadata (its subscription).
    pub protocols: Vec<(String, Bytes)>,
    /// What the leader assigned to it in the present generation.
    pub assignment: Bytes,
    /// The parked JoinGroup of the rebalance under way.
    pub awaiting_join: Option<RequestId>,
    /// The parked SyncGroup of the present generation.
    pub awaiting_sync: Option<RequestId>,
    /// It has not completed a join yet.
    pub is_new: bool,
    /// When it is thought dead, unless it is waiting for us.
    pub session_deadline_ms: i64,
}

impl Member {
    /// The metadata that belongs to `protocol`; empty when it does not speak it.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    /// Whether it speaks `protocol`.
    pub fn speaks(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// Whether its silence counts against it: not while it waits for us,
    /// except before its first join is through, when nobody else may know it.
    pub fn is_watched(&self) -> bool {
        self.is_new || (self.awaiting_join.is_none() && self.awaiting_sync.is_none())
    }

    /// Its session goes on for another `session_timeout_ms`.
    pub fn touch(&mut self, now_ms: i64) {
        self.session_deadline_ms = now_ms.saturating_add(i64::from(self.session_timeout_ms));
    }
}
