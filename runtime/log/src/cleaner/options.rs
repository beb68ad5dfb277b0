//! The cleaner's settings, with Kafka's names and defaults.

/// Settings of the threads that compact logs. All of them can change while the store runs
/// ([`crate::LogStore::set_cleaner_options`]).
#[derive(Debug, Clone, PartialEq)]
pub struct CleanerOptions {
    /// `log.cleaner.enable`: without it no log is compacted.
    pub enabled: bool,
    /// `log.cleaner.threads`
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`: bytes of the offset maps of all threads together.
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.size`: bytes of the buffers that all threads together read and write with.
    pub io_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: how full an offset map may become, above 0 and at most 1.
    pub io_buffer_load_factor: f64,
    /// `log.cleaner.io.max.bytes.per.second`: bytes that all threads together may read and write in a second.
    pub io_max_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`: how long a thread sleeps when no log is due.
    pub backoff_ms: u64,
}

impl CleanerOptions {
    /// The most that `threads` is taken for.
    pub const THREADS_MAX: usize = 64;

    /// Bytes of one thread's offset map.
    pub fn map_bytes_per_thread(&self) -> u64 {
        self.dedupe_buffer_bytes / self.thread_count() as u64
    }

    /// How many threads run when the cleaner is enabled.
    pub(crate) fn thread_count(&self) -> usize {
        self.threads.clamp(1, Self::THREADS_MAX)
    }
}

impl Default for CleanerOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            threads: 1,
            dedupe_buffer_bytes: 128 << 20,
            io_buffer_bytes: 512 << 10,
            io_buffer_load_factor: 0.9,
            io_max_bytes_per_second: f64::MAX,
            backoff_ms: 15_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dedupe_buffer_is_divided_over_the_threads() {
        let options = CleanerOptions {
            threads: 5,
            dedupe_buffer_bytes: 1_000_000_000,
            ..CleanerOptions::default()
        };
        assert_eq!(options.map_bytes_per_thread(), 200_000_000);
    }

    #[test]
    fn no_number_of_threads_divides_by_zero() {
        let options = CleanerOptions {
            threads: 0,
            ..CleanerOptions::default()
        };
        assert_eq!(options.map_bytes_per_thread(), 128 << 20);
    }
}
