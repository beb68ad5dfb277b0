//! Kafka semantics: connections, APIs, partitions, coordinators.
