//! The transaction coordinator (transactions v1, and KIP-890 part 1).
//!
//! Pure: `machine` decides for one transactional id, `state` is its table of
//! transitions, `stored` its records. Around them: `entry` is one id with its
//! lock and its log, `coordinator` finds, loads and times them, `requests` is
//! what clients and stages ask, `commit` the path from a decision to the last
//! marker, `after_loss` what comes of records that a repair has given up.

mod after_loss;
mod commit;
mod coordinator;
mod entry;
mod machine;
mod requests;
mod state;
mod stored;
#[cfg(test)]
mod tests;

pub(crate) use coordinator::{TransactionCoordinator, TransactionSettings};
pub(crate) use machine::Producer;
pub(crate) use requests::Durability;
