//! The present time, on both clocks.

use millstream_log::clock::Clock;

/// One reading of a node's clock. What runs out while the node runs (sessions, rebalances, transactions) counts by
/// the monotonic clock; what stands in records, and what is kept for days, by the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since some moment of this process; an administrator cannot move it.
    pub monotonic_ms: i64,
    /// Since 1970.
    pub wall_ms: i64,
}

impl Now {
    /// Reads both.
    pub fn read(clock: &dyn Clock) -> Self {
        Self {
            monotonic_ms: clock.monotonic_ms(),
            wall_ms: clock.now_ms(),
        }
    }
}
