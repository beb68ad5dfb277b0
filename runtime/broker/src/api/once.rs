//! Requests that name one thing again and again. Where the answer to a few bytes is long, each thing is answered once:
//! then no answer is longer than all that there is to tell.

use std::{collections::HashSet, hash::Hash};

/// The first of all that have the same key, in their order.
pub(super) fn once<T, K: Eq + Hash>(things: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = HashSet::new();
    let mut things = things;
    things.retain(|thing| seen.insert(key(thing)));
    things
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_stays_in_its_place() {
        let things = vec![("b", 1), ("a", 2), ("b", 3), ("c", 4), ("a", 5)];
        let kept = once(things, |(name, _)| *name);
        assert_eq!(kept, [("b", 1), ("a", 2), ("c", 4)]);
    }
}
