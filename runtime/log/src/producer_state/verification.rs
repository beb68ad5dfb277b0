//! Proof that the transaction coordinator knows of a transaction before its first batch is written (KIP-890).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names one attempt to verify one transaction. A guard that was handed out before a marker was written is worth
/// nothing after it, even for the same producer and epoch: that is what its uniqueness is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerificationGuard(u64);

impl VerificationGuard {
    fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Debug, Clone, Copy)]
struct Verification {
    guard: VerificationGuard,
    epoch: i16,
    /// The lowest first sequence that asked: a later batch of the producer may not overtake it.
    lowest_sequence: i32,
    /// By the monotonic clock.
    created_ms: i64,
}

/// The verifications under way, by producer id.
#[derive(Debug, Clone, Default)]
pub(super) struct Verifications {
    entries: HashMap<i64, Verification>,
}

impl Verifications {
    pub(super) fn guard(
        &mut self,
        producer_id: i64,
        epoch: i16,
        base_sequence: i32,
        monotonic_ms: i64,
    ) -> VerificationGuard {
        let entry = self
            .entries
            .entry(producer_id)
            .or_insert_with(|| Verification {
                guard: VerificationGuard::unique(),
                epoch,
                lowest_sequence: base_sequence,
                created_ms: monotonic_ms,
            });
        if epoch > entry.epoch {
            entry.epoch = epoch;
            entry.lowest_sequence = base_sequence;
        } else if epoch == entry.epoch {
            entry.lowest_sequence = entry.lowest_sequence.min(base_sequence);
        }
        entry.guard
    }

    pub(super) fn holds(&self, producer_id: i64, guard: Option<VerificationGuard>) -> bool {
        let expected = self.entries.get(&producer_id).map(|entry| entry.guard);
        guard.is_some() && guard == expected
    }

    pub(super) fn lowest_sequence(&self, producer_id: i64) -> Option<i32> {
        self.entries
            .get(&producer_id)
            .map(|entry| entry.lowest_sequence)
    }

    pub(super) fn clear(&mut self, producer_id: i64) {
        self.entries.remove(&producer_id);
    }

    pub(super) fn retain(&mut self, is_fresh: impl Fn(i64) -> bool) {
        self.entries.retain(|_, entry| is_fresh(entry.created_ms));
    }
}
