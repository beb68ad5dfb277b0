//! Which partition an output goes to: as Kafka's default partitioner does.

/// Kafka's partition for a key: `toPositive(murmur2(key)) % partitions`.
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    debug_assert!(partitions > 0);
    (murmur2(key) & 0x7fff_ffff) as i32 % partitions
}

/// MurmurHash2 with Kafka's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            // Kafka's bytes are signed, but it masks them before they are shifted.
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of records without a key: one for as long as a transaction lasts, another for the
/// next, so that batches stay large and all partitions get their share.
#[derive(Debug, Clone)]
pub struct Sticky {
    counter: u32,
}

impl Sticky {
    /// Tasks begin at different partitions.
    pub fn new(seed: u32) -> Self {
        Sticky { counter: seed }
    }

    pub fn partition(&self, partitions: i32) -> i32 {
        (self.counter % partitions.max(1).unsigned_abs()) as i32
    }

    /// A new transaction begins.
    pub fn turn(&mut self) {
        self.counter = self.counter.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_kafkas() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_negative_hash_still_names_a_partition() {
        assert_eq!(
            partition_for_key(b"21", 4),
            (-973_932_308_i32 & i32::MAX) % 4
        );
        for key in 0..1000_u32 {
            let partition = partition_for_key(&key.to_be_bytes(), 7);
            assert!((0..7).contains(&partition));
        }
    }

    #[test]
    fn keyless_records_stay_together_for_a_transaction() {
        let mut sticky = Sticky::new(3);
        let first = sticky.partition(4);
        assert_eq!(sticky.partition(4), first);
        sticky.turn();
        assert_ne!(sticky.partition(4), first);
    }
}
