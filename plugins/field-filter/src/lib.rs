//! Routes JSON records by the value of a field.
