//! Replaces digits in values.
