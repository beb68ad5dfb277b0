//! Transactions and held groups through the in-process surface, over a real store in a temporary directory, with
//! restarts and crashes.

mod compaction;
mod crash;
mod deleted_topics;
mod deployment;
mod held_groups;
mod power_cut;
mod repair;
mod restart;
mod support;
mod transactions;
