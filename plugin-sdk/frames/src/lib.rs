//! The byte layout of events and effects frames: encoders and checked decoders, shared by the host and the Rust SDK.
//! It must not know wasmtime, WIT or Kafka; it is compiled for the host and for `wasm32-unknown-unknown` alike.
//! Read `layout.rs` first (both frames are drawn there), then `events.rs` and `effects.rs`.

mod bytes;
pub mod effects;
pub mod effects_writer;
pub mod error;
pub mod events;
pub mod events_builder;
pub mod layout;
pub mod seed;

pub use effects::{Effect, EffectsReader, EventsExtent, FieldAt, HeadersAt};
pub use effects_writer::EffectsWriter;
pub use error::FrameError;
pub use events::{Event, EventKind, EventsView, Header, Headers, Run};
pub use events_builder::{EventsBuilder, EventsFrame, EventsOptions, RunOptions};
pub use layout::{CODE_FATAL, CODE_REJECTED, CODE_UNAVAILABLE, FRAME_VERSION};

#[cfg(test)]
mod tests;
