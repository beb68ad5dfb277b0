//! Write Millstream plugins in Rust.
