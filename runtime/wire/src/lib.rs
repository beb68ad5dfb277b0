//! Kafka protocol messages, one declarative codec per API.
