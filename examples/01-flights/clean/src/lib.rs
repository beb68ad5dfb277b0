//! Types the fields of a flight.
