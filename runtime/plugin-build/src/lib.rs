//! From a plugin's crate to its wasm file: finds or installs a wasm toolchain, runs cargo, scaffolds new plugins, and
//! holds the SDK's sources.
//! It must not know what a plugin does nor load one: it knows cargo, rustup and Debian's packages.
//! Read `toolchain.rs` first, then `build.rs`; `scaffold.rs` and `sdk.rs` stand alone.

mod build;
mod command;
mod fresh;
pub mod lock;
mod scaffold;
pub mod sdk;
mod setup;
mod toolchain;

pub use build::{BuildError, Builder, Built};
pub use command::CommandError;
pub use scaffold::{ScaffoldError, new};
pub use sdk::{Sdk, SdkError};
pub use setup::{SetupError, setup};
pub use toolchain::{Toolchain, WASM_TARGET};
