//! The group coordinator.
//!
//! Pure: `machine` (with `join` and `session`) is the membership of a classic
//! group, `offsets` its offsets, `held` a group that a stage holds, `stored`
//! the records of all three. Around them: `shard` is one partition of
//! `__consumer_offsets` with all its groups, `append` writes to it, `replay`
//! reads it back, `expiry` tidies it, `unread` says how far stages are;
//! `coordinator` is the asynchronous face, and `requests`, `commits`,
//! `describe` and `users` what it is asked.

mod append;
mod commits;
mod coordinator;
mod decision;
mod describe;
mod expiry;
mod held;
mod join;
mod machine;
mod member;
mod offsets;
mod read_positions;
mod replay;
mod requests;
mod session;
mod shard;
mod state;
mod stored;
#[cfg(test)]
mod tests;
mod unread;
mod users;

pub(crate) use commits::{OffsetToCommit, VerifiedProducer};
pub(crate) use coordinator::{GroupCoordinator, GroupSettings};
pub(crate) use join::JoinRequest;
pub(crate) use machine::GroupLimits;
pub(crate) use requests::held_member;
pub(crate) use session::{Committer, SyncRequest};
pub(crate) use state::GroupState;

pub use commits::FetchedOffset;
pub use held::HELD_PROTOCOL;
pub use offsets::CommittedOffset;
pub use read_positions::{ReadPositions, positions_in_user_data};
pub use users::GroupWithOffsets;
