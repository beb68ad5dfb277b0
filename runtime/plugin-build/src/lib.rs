//! From a plugin's crate to its wasm file: finds or installs a wasm toolchain, runs cargo, scaffolds new plugins, and
//! holds what of plugins is part of this program: the SDK's sources, and the ready-made modules.
//! It must not know what a plugin does nor load one: it knows cargo, rustup and Debian's packages.
//! Read `toolchain.rs` first, then `build.rs`; `scaffold.rs`, `sdk.rs` and `ready_made.rs` stand alone.

mod build;
mod command;
mod fresh;
pub mod lock;
mod metadata;
pub mod ready_made;
mod recipe;
mod scaffold;
pub mod sdk;
mod setup;
mod shared;
mod toolchain;

pub use build::{BuildError, Builder, Built};
pub use command::CommandError;
pub use recipe::SETTINGS;
pub use scaffold::{ScaffoldError, new};
pub use sdk::{Sdk, SdkError};
pub use setup::{SetupError, setup};
pub use toolchain::{Toolchain, WASM_TARGET};
