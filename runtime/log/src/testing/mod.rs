//! For tests of this crate and of those above it: a clock that tests hold.

mod manual_clock;

pub use manual_clock::ManualClock;
