//! No code: this crate's manifest pins the features of the libraries that wasmtime shares with the rest of the workspace.
//! It must not grow an API. Without it, `cargo run`, `cargo test -p …` and `cargo test --workspace` would each ask for
//! other features and build wasmtime (minutes) anew. Read `Cargo.toml`.
