//! The byte layout of events and effects frames.
