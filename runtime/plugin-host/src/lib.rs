//! The wasmtime embedding: compile, instantiate, limits, host capabilities.
