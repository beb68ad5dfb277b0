//! The processor attribute.
