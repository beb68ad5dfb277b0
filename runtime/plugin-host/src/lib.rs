//! The wasmtime embedding: loads plugins (compile, cache, describe), instantiates them and runs them under limits.
//! It must not know topics, transactions or the broker: it sees guests, frames, and the host capabilities of the contract.
//! Read `engine.rs` first, then `plugin.rs` (what was loaded), `instance.rs` (what runs) and `failure.rs` (what goes wrong).

mod artifact;
mod bindings;
mod collector;
mod compiler;
mod componentize;
mod context;
mod descriptor;
mod diagnostics;
mod effects;
mod engine;
mod failure;
mod guest_state;
mod instance;
mod limits;
mod meter;
mod plugin;
mod thread_cpu;
mod ticker;
mod world;

pub use compiler::{ChildCompiler, CompileLimit, CompileLimits, MODULE_REFUSED, compile_limited};
pub use context::{InputBinding, OpenContext};
pub use descriptor::{Descriptor, DescriptorError};
pub use diagnostics::{Diagnostics, LogLevel, Silent};
pub use effects::{Effects, Outcome, OutcomeKind, Output, OutputHeaders, Outputs};
pub use engine::{Engine, EngineError, EngineOptions};
pub use failure::{
    ConfigIssue, HostFailure, InstantiateError, LoadError, Panic, PluginFailure, ProcessError,
};
pub use instance::{Instance, Processed};
pub use limits::{Limits, MODULE_BYTES_MAX};
pub use plugin::{Digest, Plugin};

/// The frames that cross into the guest and back.
pub use millstream_frames as frames;
