//! Which partition of an internal topic keeps a group or a transactional id.

/// Kafka's placement: Java's `String.hashCode` (over UTF-16 units), its
/// absolute value (zero for `Integer.MIN_VALUE`), modulo the partition count.
///
/// `partitions` must be positive.
pub fn partition_for(key: &str, partitions: i32) -> i32 {
    assert!(
        partitions > 0,
        "an internal topic has at least one partition"
    );
    java_hash(key).checked_abs().unwrap_or(0) % partitions
}

fn java_hash(key: &str) -> i32 {
    key.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_agree_with_java() {
        // Values of java.lang.String.hashCode, which its documentation fixes.
        let cases = [
            ("", 0),
            ("a", 97),
            ("ab", 3105),
            ("hello", 99_162_322),
            ("polygenelubricants", i32::MIN),
        ];
        for (key, hash) in cases {
            assert_eq!(java_hash(key), hash, "{key}");
        }
    }

    #[test]
    fn the_smallest_hash_goes_to_partition_zero() {
        assert_eq!(partition_for("polygenelubricants", 50), 0);
    }

    #[test]
    fn negative_hashes_use_their_absolute_value() {
        let key = "millstream.flights.clean";
        let hash = java_hash(key);
        assert_eq!(
            partition_for(key, 50),
            i32::try_from(i64::from(hash).abs() % 50).unwrap()
        );
    }
}
