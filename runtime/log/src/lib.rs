//! The log engine: segments, indexes, recovery, producer state, journal.
