//! Cluster metadata: records, the metadata log, the immutable image.
