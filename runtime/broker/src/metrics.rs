//! Counters of the node's Kafka side; cheap enough to count every request.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use millstream_wire::ApiKey;

/// One more than the highest API key that is counted by itself.
const API_KEYS: usize = 64;

/// Counters since the start.
#[derive(Clone, Debug, Default)]
pub struct BrokerStats {
    pub connections_open: i64,
    pub connections_accepted: u64,
    /// Connections that were closed because of what they sent.
    pub connections_refused: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// Bytes of batches that clients appended and fetched.
    pub bytes_produced: u64,
    pub bytes_fetched: u64,
    pub records_produced: u64,
    /// One entry for each API that was called.
    pub apis: Vec<ApiStats>,
}

/// One API's counters.
#[derive(Clone, Copy, Debug)]
pub struct ApiStats {
    pub api: ApiKey,
    pub requests: u64,
}

#[derive(Default)]
pub(crate) struct Metrics {
    pub connections_open: AtomicI64,
    pub connections_accepted: AtomicU64,
    pub connections_refused: AtomicU64,
    pub bytes_received: AtomicU64,
    pub bytes_sent: AtomicU64,
    pub bytes_produced: AtomicU64,
    pub bytes_fetched: AtomicU64,
    pub records_produced: AtomicU64,
    requests: RequestCounters,
}

struct RequestCounters([AtomicU64; API_KEYS]);

impl Default for RequestCounters {
    fn default() -> RequestCounters {
        RequestCounters(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Metrics {
    pub fn count_request(&self, api: ApiKey) {
        if let Some(counter) = usize::try_from(api as i16)
            .ok()
            .and_then(|key| self.requests.0.get(key))
        {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub fn stats(&self) -> BrokerStats {
        let api_stats = |(key, counter): (usize, &AtomicU64)| {
            let requests = counter.load(Relaxed);
            let api = ApiKey::try_from(i16::try_from(key).ok()?).ok()?;
            (requests > 0).then_some(ApiStats { api, requests })
        };
        BrokerStats {
            connections_open: self.connections_open.load(Relaxed),
            connections_accepted: self.connections_accepted.load(Relaxed),
            connections_refused: self.connections_refused.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            bytes_produced: self.bytes_produced.load(Relaxed),
            bytes_fetched: self.bytes_fetched.load(Relaxed),
            records_produced: self.records_produced.load(Relaxed),
            apis: self
                .requests
                .0
                .iter()
                .enumerate()
                .filter_map(api_stats)
                .collect(),
        }
    }
}
