//! The limit on open files: read, raised as far as allowed, and judged against what the node needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections, journal, checkpoints and other files beside the partitions' own.
const DESCRIPTORS_BESIDE_PARTITIONS: u64 = 512;

/// The soft limit after raising it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// `None`: without limit.
    pub soft: Option<u64>,
}

/// Raises the soft limit to the hard one. A refusal leaves it as it was.
pub fn raise_limit() -> DescriptorLimit {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return DescriptorLimit {
            soft: limit.current,
        };
    }
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => DescriptorLimit {
            soft: limit.maximum,
        },
        Err(_) => DescriptorLimit {
            soft: limit.current,
        },
    }
}

impl DescriptorLimit {
    /// How many segment files may be open at once: half of what is left beside connections.
    pub fn open_segments_max(self) -> usize {
        let available = self
            .soft
            .unwrap_or(u64::MAX)
            .saturating_sub(DESCRIPTORS_BESIDE_PARTITIONS);
        usize::try_from(available / 2)
            .unwrap_or(usize::MAX)
            .clamp(64, 8_192)
    }

    /// A sentence when the limit is too low to keep the active segments of so many partitions open.
    pub fn complaint(self, partitions: usize) -> Option<String> {
        let soft = self.soft?;
        let needed = partitions as u64 + DESCRIPTORS_BESIDE_PARTITIONS;
        (soft < needed).then(|| {
            format!(
                "the limit on open files is {soft}, and {partitions} partitions work best with {needed} or more: \
                 files will be closed and opened again all the time; raise it with `ulimit -n {needed}`"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_never_lowers() {
        let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(raise_limit().soft.unwrap_or(u64::MAX) >= before);
    }

    #[test]
    fn a_limit_below_the_partitions_is_complained_of() {
        let limit = DescriptorLimit { soft: Some(1_024) };
        assert_eq!(limit.complaint(100), None);
        let complaint = limit.complaint(5_000).unwrap();
        assert!(complaint.contains("ulimit -n 5512"), "{complaint}");
        assert_eq!(DescriptorLimit { soft: None }.complaint(1_000_000), None);
    }
}
