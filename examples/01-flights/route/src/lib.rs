//! Routes late and on-time flights.
