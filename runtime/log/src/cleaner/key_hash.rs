//! The keyed hash of a record's key: SipHash-1-3 with 16 bytes of output.
//!
//! Two keys with one hash would cost one of them its record, so the hash is wide, and keyed by random numbers of each
//! pass: nobody can prepare keys that collide.

/// What the offset map keeps instead of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyHash(pub(super) [u64; 2]);

/// Hashes with one secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyHasher {
    secret: [u64; 2],
}

impl KeyHasher {
    /// A hasher that nobody can foresee.
    pub(super) fn random() -> Self {
        // A version 4 UUID has 122 random bits.
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        Self {
            secret: [high, low],
        }
    }

    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        sip128::<1, 3>(self.secret, key)
    }
}

struct Sip([u64; 4]);

impl Sip {
    #[inline]
    fn round(&mut self) {
        let [a, b, c, d] = &mut self.0;
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }

    #[inline]
    fn rounds<const N: usize>(&mut self) {
        for _ in 0..N {
            self.round();
        }
    }

    #[inline]
    fn take<const ROUNDS: usize>(&mut self, word: u64) {
        self.0[3] ^= word;
        self.rounds::<ROUNDS>();
        self.0[0] ^= word;
    }

    #[inline]
    fn sum(&self) -> u64 {
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }
}

/// SipHash-C-D-128 (Aumasson and Bernstein, 2012).
#[inline]
fn sip128<const C: usize, const D: usize>(secret: [u64; 2], bytes: &[u8]) -> KeyHash {
    let mut state = Sip([
        secret[0] ^ 0x736f_6d65_7073_6575,
        secret[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        secret[0] ^ 0x6c79_6765_6e65_7261,
        secret[1] ^ 0x7465_6462_7974_6573,
    ]);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        state.take::<C>(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    last[7] = (bytes.len() & 0xff) as u8;
    state.take::<C>(u64::from_le_bytes(last));
    state.0[2] ^= 0xee;
    state.rounds::<D>();
    let first = state.sum();
    state.0[1] ^= 0xdd;
    state.rounds::<D>();
    KeyHash([first, state.sum()])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors that come with the definition: secret 00..0f, messages of no byte, 00, 00 01, and so on.
    #[test]
    fn the_published_vectors_come_out() {
        let secret = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let expected: [[u8; 16]; 2] = [
            [
                0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55,
                0x02, 0x93,
            ],
            [
                0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22,
                0xfc, 0x45,
            ],
        ];
        for (len, expected) in expected.iter().enumerate() {
            let message: Vec<u8> = (0..len as u8).collect();
            let KeyHash([first, second]) = sip128::<2, 4>(secret, &message);
            let found = [first.to_le_bytes(), second.to_le_bytes()].concat();
            assert_eq!(found, expected, "{len} bytes");
        }
    }

    #[test]
    fn keys_of_all_lengths_differ_and_so_do_secrets() {
        let hasher = KeyHasher::random();
        let zeros = [0; 40];
        let mut seen = std::collections::BTreeSet::new();
        for len in 0..=zeros.len() {
            assert!(seen.insert(hasher.hash(&zeros[..len]).0), "{len} bytes");
        }
        assert_ne!(hasher.hash(b"key"), KeyHasher::random().hash(b"key"));
    }
}
