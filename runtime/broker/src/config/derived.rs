//! What the node's parts follow, read from its settings.

use millstream_cluster::{TopicDefaults, metadata_log};
use millstream_log::{CleanerOptions, StoreOptions};

use super::{BrokerConfig, SettingError};
use crate::{
    group::{GroupLimits, GroupSettings},
    transaction::TransactionSettings,
};

/// How long a request waits for a transaction that is being finished, ms; then it is told CONCURRENT_TRANSACTIONS.
const TRANSACTION_WAIT_MS_MAX: u64 = 10_000;

impl BrokerConfig {
    /// What a topic gets that does not say.
    pub fn topic_creation_defaults(&self) -> TopicDefaults {
        TopicDefaults {
            partitions: self.num_partitions,
            replication_factor: self.default_replication_factor,
        }
    }

    /// The options of the store that these settings give, over those that they do not know.
    pub fn store_options(&self, options: StoreOptions) -> StoreOptions {
        let unsigned = |setting: i64| u64::try_from(setting).unwrap_or(0);
        StoreOptions {
            checkpoint_interval_ms: unsigned(self.log_flush_offset_checkpoint_interval_ms.into()),
            retention_check_interval_ms: unsigned(self.log_retention_check_interval_ms),
            producer_id_expiration_ms: self.producer_id_expiration_ms.into(),
            cleaner: self.cleaner_options(),
            scrub_interval_ms: unsigned(self.scrub_interval_ms),
            scrub_bytes_per_second: unsigned(self.scrub_bytes_per_second),
            metadata_log: Some(metadata_log()),
            ..options
        }
    }

    /// How logs are compacted.
    pub(crate) fn cleaner_options(&self) -> CleanerOptions {
        CleanerOptions {
            enabled: self.log_cleaner_enable,
            threads: usize::try_from(self.log_cleaner_threads).unwrap_or(1),
            dedupe_buffer_bytes: u64::try_from(self.log_cleaner_dedupe_buffer_size).unwrap_or(0),
            io_buffer_bytes: u64::try_from(self.log_cleaner_io_buffer_size).unwrap_or(0),
            io_buffer_load_factor: self.log_cleaner_io_buffer_load_factor,
            io_max_bytes_per_second: self.log_cleaner_io_max_bytes_per_second,
            backoff_ms: u64::try_from(self.log_cleaner_backoff_ms).unwrap_or(0),
        }
    }

    /// What the group coordinator follows.
    pub(crate) fn group_settings(&self) -> GroupSettings {
        GroupSettings {
            limits: GroupLimits {
                session_timeout_ms_min: self.group_min_session_timeout_ms,
                session_timeout_ms_max: self.group_max_session_timeout_ms,
                initial_rebalance_delay_ms: self.group_initial_rebalance_delay_ms,
                members_max: usize::try_from(self.group_max_size).unwrap_or(usize::MAX),
            },
            metadata_bytes_max: usize::try_from(self.offset_metadata_max_bytes).unwrap_or(0),
            commit_timeout_ms: u64::try_from(self.offsets_commit_timeout_ms).unwrap_or(0),
            retention_ms: i64::from(self.offsets_retention_minutes).saturating_mul(60_000),
            retention_check_ms: u64::try_from(self.offsets_retention_check_interval_ms)
                .unwrap_or(u64::MAX),
        }
    }

    /// What the transaction coordinator follows.
    pub(crate) fn transaction_settings(&self) -> TransactionSettings {
        let check_ms = self.transaction_remove_expired_transaction_cleanup_interval_ms;
        TransactionSettings {
            timeout_ms_max: self.transaction_max_timeout_ms,
            expiration_ms: i64::from(self.transactional_id_expiration_ms),
            expiration_check_ms: u64::try_from(check_ms).unwrap_or(u64::MAX),
            timeout_check_ms: i64::from(
                self.transaction_abort_timed_out_transaction_cleanup_interval_ms,
            ),
            wait_ms_max: TRANSACTION_WAIT_MS_MAX,
        }
    }

    /// Host and port of `advertised.listeners`, when one is set.
    pub fn advertised_address(&self) -> Result<Option<(String, u16)>, SettingError> {
        let first = self
            .advertised_listeners
            .split(',')
            .next()
            .unwrap_or_default()
            .trim();
        if first.is_empty() {
            return Ok(None);
        }
        let address = first
            .rsplit_once("://")
            .map_or(first, |(_, address)| address);
        let parsed = address
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        match parsed {
            Some((host, port)) if !host.is_empty() => {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                Ok(Some((host.to_owned(), port)))
            }
            _ => Err(SettingError::Invalid {
                name: "advertised.listeners".to_owned(),
                value: first.to_owned(),
                expected: "it must be PLAINTEXT://host:port".to_owned(),
            }),
        }
    }
}
