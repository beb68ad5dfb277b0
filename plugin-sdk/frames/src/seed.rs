//! Seeds: where a plugin's randomness comes from. They depend on names and offsets alone, never on where a batch
//! happened to end, so that a replay computes the same again.

/// Hashes `parts`, each closed by its length, so that ("ab", "c") differs from ("a", "bc"). FNV-1a, then finished by
/// SplitMix64. Stable for ever: replays depend on it.
pub fn hash_parts(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.iter().chain(&(part.len() as u64).to_le_bytes()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    mix(hash)
}

/// The header's seed base of a stage.
pub fn stage_seed(pipeline: &str, stage: &str) -> u64 {
    hash_parts(&[pipeline.as_bytes(), stage.as_bytes()])
}

/// The seed of a run.
pub fn run_seed(topic: &str, partition: i32) -> u64 {
    hash_parts(&[topic.as_bytes(), &partition.to_le_bytes()])
}

/// The seed of one event: a function of pipeline, stage, topic, partition and offset.
pub fn event_seed(seed_base: u64, run_seed: u64, offset: u64) -> u64 {
    mix(mix(seed_base ^ run_seed.rotate_left(32)) ^ offset)
}

/// SplitMix64's finisher.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
