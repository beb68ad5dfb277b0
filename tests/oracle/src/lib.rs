//! The oracle: compares what a pipeline committed with what it should have.
