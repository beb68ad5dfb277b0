//! A queue of deadlines by key: the timers of a coordinator, without a clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

/// At most one live deadline per key. An entry that was overtaken by an
/// earlier one stays in the heap until it is popped, and is then ignored.
///
/// Bound: setting a deadline that is not earlier than the known one adds
/// nothing, so a heartbeat (which only moves deadlines back) costs no memory.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(i64, K)>>,
    live: HashMap<K, i64>,
}

impl<K: Clone + Ord + Hash> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            live: HashMap::new(),
        }
    }
}

impl<K: Clone + Ord + Hash> Deadlines<K> {
    /// Makes sure that `key` comes due at `at_ms` or before. Returns whether
    /// it is now the earliest deadline of all, so that a sleeper must wake.
    pub fn set(&mut self, key: K, at_ms: i64) -> bool {
        if self.live.get(&key).is_some_and(|&known| known <= at_ms) {
            return false;
        }
        let earliest = self.next().is_none_or(|next| at_ms < next);
        self.live.insert(key.clone(), at_ms);
        self.heap.push(Reverse((at_ms, key)));
        earliest
    }

    /// The earliest deadline, live or overtaken: never later than the true one.
    pub fn next(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    /// Takes one key whose deadline has passed. The key must be set again by
    /// whoever handles it, when it has another deadline.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<K> {
        while self.next().is_some_and(|at_ms| at_ms <= now_ms) {
            let Some(Reverse((at_ms, key))) = self.heap.pop() else {
                break;
            };
            if self.live.get(&key) == Some(&at_ms) {
                self.live.remove(&key);
                return Some(key);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_due_in_order_and_once() {
        let mut deadlines = Deadlines::default();
        assert!(deadlines.set("b", 20));
        assert!(deadlines.set("a", 10));
        assert!(!deadlines.set("c", 30));
        assert_eq!(deadlines.pop_due(9), None);
        assert_eq!(deadlines.pop_due(25), Some("a"));
        assert_eq!(deadlines.pop_due(25), Some("b"));
        assert_eq!(deadlines.pop_due(25), None);
        assert_eq!(deadlines.next(), Some(30));
    }

    #[test]
    fn an_earlier_deadline_overtakes_a_later_one() {
        let mut deadlines = Deadlines::default();
        deadlines.set("a", 20);
        assert!(deadlines.set("a", 10));
        assert_eq!(deadlines.pop_due(10), Some("a"));
        assert_eq!(deadlines.pop_due(20), None);
    }

    #[test]
    fn moving_a_deadline_back_adds_nothing() {
        let mut deadlines = Deadlines::default();
        deadlines.set("a", 10);
        for at in 11..1_000 {
            deadlines.set("a", at);
        }
        assert_eq!(deadlines.heap.len(), 1);
    }
}
