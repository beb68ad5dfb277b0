//! Write Millstream plugins in Rust: a function or a type that gets records and emits records.
//! It must not know the host or Kafka: everything crosses as frames through the contract in `plugin-sdk/wit`.
//! Read `processor.rs` first (what a plugin is), then `record.rs` and `context.rs` (what it works with).
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! #[millstream::processor(outputs = ["late", "ontime"])]
//! fn route(record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject> {
//!     let minutes: i64 = record.text()?.trim().parse()?;
//!     ctx.forward(if minutes > 60 { "late" } else { "ontime" }, &record);
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! With `crate-type = ["cdylib", "rlib"]`, `cargo build --release --target wasm32-unknown-unknown` makes the plugin,
//! and `cargo test` tests it natively, with [`testing`].

// As wit-bindgen writes it.
#[rustfmt::skip]
pub mod bindings;
mod config;
mod context;
mod diagnostics;
mod field;
pub mod guest;
mod open;
mod processor;
mod record;
mod reject;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use config::{Config, ConfigError, ConfigFields, NoConfig};
pub use context::{Context, Emitted, Output, OutputName};
pub use diagnostics::Level;
pub use field::{Field, NULL};
pub use millstream_macros::processor;
pub use open::Open;
pub use processor::{Describe, Processor};
pub use record::{Record, RecordHeaders};
pub use reject::Reject;

/// What [`Record::json`] and the testing harness work with.
pub use serde_json;

/// What `#[millstream::processor]` and `millstream::testing` mean.
pub mod millstream {
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::testing;
    pub use millstream_macros::processor;
}

/// Everything that a plugin usually names.
pub mod prelude {
    pub use crate::millstream;
    pub use crate::reject;
    pub use crate::{
        ConfigError, Context, Field, Level, NULL, NoConfig, Open, Output, Processor, Record, Reject,
    };
}
