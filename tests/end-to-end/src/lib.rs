//! End to end: real clients, crashes, hostile input.
