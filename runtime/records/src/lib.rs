//! Kafka record batch v2: decode, validate, build, compress.
