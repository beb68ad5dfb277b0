//! Random messages for tests, seeded so that a failure can be repeated.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::At;

/// A message that can be made up.
pub(crate) trait RandomMessage: Sized {
    fn random(random: &mut Random, version: i16) -> Self;
}

/// The source of made-up values: mostly small, sometimes extreme.
#[derive(Debug)]
pub(crate) struct Random(StdRng);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(StdRng::seed_from_u64(seed))
    }

    pub fn number(&mut self) -> i64 {
        match self.0.random_range(0..6) {
            0 => -1,
            1 => 0,
            2 => self.0.random_range(0..1000),
            3 => i64::MAX,
            _ => self.0.random(),
        }
    }

    /// How many elements an array gets.
    pub fn count(&mut self) -> usize {
        match self.0.random_range(0..20) {
            0..4 => 0,
            4..12 => 1,
            12..19 => 2,
            _ => 5,
        }
    }

    pub fn text(&mut self) -> String {
        let length = self.length();
        let alphabet: Vec<char> = "abcXYZ019._-é漢".chars().collect();
        (0..length)
            .map(|_| alphabet[self.0.random_range(0..alphabet.len())])
            .collect()
    }

    pub fn bytes(&mut self) -> Bytes {
        let length = self.length();
        (0..length).map(|_| self.0.random::<u8>()).collect()
    }

    pub fn option<T>(&mut self, at: At, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
        match at.nullable && self.0.random_range(0..4) == 0 {
            true => None,
            false => Some(value(self)),
        }
    }

    /// Lengths on both sides of where a compact length takes a second byte.
    fn length(&mut self) -> usize {
        match self.0.random_range(0..20) {
            0 => 0,
            1 => 126,
            2 => 127,
            3 => 300,
            _ => self.0.random_range(1..12),
        }
    }
}
