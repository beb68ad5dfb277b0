//! The log engine: one partition is one log of segment files, and one shared journal makes appends durable.
//! It knows files, record batches and offsets; it must not know connections, Kafka's messages, groups or pipelines.
//! Read `log/mod.rs` first (the life of one partition), then `journal/mod.rs` for how an append becomes durable.

pub mod checkpoint;
mod cleaner;
pub mod clock;
mod config;
mod epochs;
pub mod failpoint;
pub mod fs;
mod index;
pub mod inspect;
pub mod journal;
mod log;
mod producer_state;
pub mod repair;
mod segment;
mod store;
pub mod testing;

pub use cleaner::{
    CleanError, CleanerMetrics, CleanerOptions, DirtyLog, PassReport, UncleanableLog,
};
pub use config::{CleanupPolicy, FlushMode, LogConfig, StoreOptions, UnknownFlushMode, Writers};
pub use index::AbortedTxn;
pub use journal::Lsn;
pub use log::{
    AppendError, AppendOptions, AppendOrigin, Appended, DamagedRegion, DeleteRecordsError,
    DeletedRecords, Isolation, Log, LogId, LogOffsets, ReadError, ReadResult, TimestampOffset,
    WatchGuard,
};
pub use producer_state::{
    ProducerEntry, ProducerError, REMEMBERED_BATCHES, SnapshotError, StoredBatch, VerificationGuard,
};
pub use store::{
    Deletion, DirFault, FoundLogs, Health, LogStore, LostLog, MetadataFault, Problem,
    RecoveryReport, ScrubStats, StoreError,
};
