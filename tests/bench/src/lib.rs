//! The bench: every figure, with Kafka beside it.
