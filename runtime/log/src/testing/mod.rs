//! For tests of this crate and of those above it: a disk that loses power and a clock that stands.

mod manual_clock;
mod random;
mod sim_fs;

pub use manual_clock::ManualClock;
pub use random::Random;
pub use sim_fs::{Fault, FaultyCall, HeldSyncs, Reads, SimFs};
