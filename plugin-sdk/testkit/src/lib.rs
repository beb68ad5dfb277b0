//! Runs a plugin against fixtures with the real host, in three ways that must give the same bytes.
//! It must not know the broker or pipelines: fixtures come as JSON lines, outcomes leave as JSON lines.
//! Read `fixture.rs` for what a line says, then `run.rs` for the three ways.

mod diff;
mod fixture;
mod outcome;
mod run;

pub use diff::Difference;
pub use fixture::{Fixture, FixtureError, parse_fixtures};
pub use outcome::{EmittedRecord, RecordOutcome};
pub use run::{Mode, TestError, TestOptions, run};
