//! Which part of a log is clean, which is dirty, whether it is due, and which segments become one. Pure: no file, no
//! clock.
//!
//! ```text
//! | clean: compacted before | cleanable: whole segments    | waits: younger, unsynced, unstable, active |
//! 0                         first dirty                    first uncleanable
//! ```

/// What planning needs to know of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentFacts {
    pub(super) base_offset: i64,
    pub(super) bytes: u64,
    /// Bytes of its offset index.
    pub(super) index_bytes: u64,
    /// Of its first batch; none in a segment without batches.
    pub(super) first_timestamp: Option<i64>,
    pub(super) largest_timestamp: Option<i64>,
}

/// What planning needs to know of a log. The last segment is the active one.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogFacts<'a> {
    pub(super) segments: &'a [SegmentFacts],
    /// Up to where the log was compacted before; none when it never was.
    pub(super) checkpoint: Option<i64>,
    pub(super) log_start: i64,
    /// No record at or behind this offset may be touched: it is unstable or not known to be synced.
    pub(super) bound: i64,
    pub(super) now_ms: i64,
    pub(super) min_compaction_lag_ms: i64,
    pub(super) max_compaction_lag_ms: i64,
    pub(super) min_cleanable_dirty_ratio: f64,
}

/// The portions of a log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Portions {
    pub(super) first_dirty: i64,
    pub(super) first_uncleanable: i64,
    pub(super) clean_bytes: u64,
    pub(super) cleanable_bytes: u64,
    /// A dirty record is older than `max.compaction.lag.ms`.
    pub(super) is_overdue: bool,
    pub(super) is_due: bool,
}

impl Portions {
    /// The dirty part of what a pass would read, 0 to 1.
    pub(super) fn dirty_ratio(&self) -> f64 {
        match self.clean_bytes + self.cleanable_bytes {
            0 => 0.0,
            total => self.cleanable_bytes as f64 / total as f64,
        }
    }
}

/// Divides a log into its portions.
pub(super) fn portions(log: &LogFacts<'_>) -> Portions {
    let active_base = log.segments.last().map_or(0, |active| active.base_offset);
    let first_base = log.segments.first().map_or(0, |first| first.base_offset);
    // A checkpoint that does not fit the log is not of this log: it is compacted from its start.
    let first_dirty = log
        .checkpoint
        .filter(|offset| *offset >= log.log_start && *offset <= active_base)
        .unwrap_or(log.log_start)
        .clamp(first_base, active_base.max(first_base));
    let first_uncleanable = first_uncleanable(log, first_dirty);
    let (mut clean_bytes, mut cleanable_bytes) = (0, 0);
    for (segment, end) in with_ends(log.segments) {
        if end <= first_dirty {
            clean_bytes += segment.bytes;
        } else if end <= first_uncleanable {
            cleanable_bytes += segment.bytes;
        }
    }
    let mut portions = Portions {
        first_dirty,
        first_uncleanable,
        clean_bytes,
        cleanable_bytes,
        is_overdue: is_overdue(log, first_dirty),
        is_due: false,
    };
    portions.is_due = cleanable_bytes > 0
        && (portions.is_overdue || portions.dirty_ratio() > log.min_cleanable_dirty_ratio);
    portions
}

/// The base offset of the first segment behind `first_dirty` that a pass must leave alone.
fn first_uncleanable(log: &LogFacts<'_>, first_dirty: i64) -> i64 {
    let youngest_ms = log.now_ms.saturating_sub(log.min_compaction_lag_ms);
    let mut cleanable_to = first_dirty;
    for (segment, end) in with_ends(log.segments) {
        if end <= first_dirty {
            continue;
        }
        let is_too_young = log.min_compaction_lag_ms > 0
            && segment
                .largest_timestamp
                .is_some_and(|largest| largest > youngest_ms);
        if end > log.bound || is_too_young {
            break;
        }
        cleanable_to = end;
    }
    cleanable_to
}

fn is_overdue(log: &LogFacts<'_>, first_dirty: i64) -> bool {
    let oldest_ms = log.now_ms.saturating_sub(log.max_compaction_lag_ms.max(0));
    log.max_compaction_lag_ms < i64::MAX
        && with_ends(log.segments)
            .filter(|(_, end)| *end > first_dirty)
            .filter_map(|(segment, _)| segment.first_timestamp)
            .any(|first| first > 0 && first < oldest_ms)
}

/// All segments but the active one, each with the offset at which the next begins.
fn with_ends(segments: &[SegmentFacts]) -> impl Iterator<Item = (&SegmentFacts, i64)> {
    segments
        .windows(2)
        .map(|pair| (&pair[0], pair[1].base_offset))
}

/// How large what comes of several segments may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupLimits {
    pub(super) segment_bytes: u64,
    pub(super) index_bytes: u64,
}

/// Lengths of the runs of neighbours that become one segment each. `ends` are the offsets at which the segments end.
pub(super) fn groups(segments: &[SegmentFacts], ends: &[i64], limits: GroupLimits) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut first = 0;
    while first < segments.len() {
        let base = segments[first].base_offset;
        let (mut bytes, mut index_bytes) = (segments[first].bytes, segments[first].index_bytes);
        let mut next = first + 1;
        while next < segments.len() {
            bytes += segments[next].bytes;
            index_bytes += segments[next].index_bytes;
            let fits = bytes <= limits.segment_bytes
                && index_bytes <= limits.index_bytes
                && ends[next] - base <= i64::from(i32::MAX);
            if !fits {
                break;
            }
            next += 1;
        }
        lengths.push(next - first);
        first = next;
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;

    fn segment(base_offset: i64, bytes: u64) -> SegmentFacts {
        SegmentFacts {
            base_offset,
            bytes,
            index_bytes: 8,
            first_timestamp: Some(NOW_MS - 1000 + base_offset),
            largest_timestamp: Some(NOW_MS - 1000 + base_offset),
        }
    }

    fn facts(segments: &[SegmentFacts]) -> LogFacts<'_> {
        LogFacts {
            segments,
            checkpoint: None,
            log_start: 0,
            bound: i64::MAX,
            now_ms: NOW_MS,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
        }
    }

    /// Ten offsets and a hundred bytes a segment; the last one is active.
    fn four() -> [SegmentFacts; 4] {
        [
            segment(0, 100),
            segment(10, 100),
            segment(20, 100),
            segment(30, 50),
        ]
    }

    #[test]
    fn a_log_that_was_never_compacted_is_dirty_up_to_its_active_segment() {
        let found = portions(&facts(&four()));
        assert_eq!((found.first_dirty, found.first_uncleanable), (0, 30));
        assert_eq!((found.clean_bytes, found.cleanable_bytes), (0, 300));
        assert!(found.is_due && !found.is_overdue);
        let one = [segment(0, 100)];
        let found = portions(&facts(&one));
        assert_eq!((found.cleanable_bytes, found.is_due), (0, false));
    }

    #[test]
    fn the_ratio_decides_and_must_be_exceeded() {
        let segments = four();
        let mut log = LogFacts {
            checkpoint: Some(20),
            ..facts(&segments)
        };
        let found = portions(&log);
        assert_eq!((found.clean_bytes, found.cleanable_bytes), (200, 100));
        assert!(!found.is_due, "{}", found.dirty_ratio());
        log.checkpoint = Some(10);
        log.min_cleanable_dirty_ratio = 2.0 / 3.0;
        assert!(!portions(&log).is_due, "exactly the ratio is not above it");
        log.min_cleanable_dirty_ratio = 0.66;
        assert!(portions(&log).is_due);
        log.checkpoint = Some(30);
        log.min_cleanable_dirty_ratio = 0.0;
        assert!(!portions(&log).is_due, "nothing is dirty");
    }

    #[test]
    fn a_checkpoint_that_is_not_of_this_log_is_not_believed() {
        let segments = four();
        for (checkpoint, log_start, expected) in [(31, 0, 0), (5, 20, 20), (20, 5, 20), (30, 0, 30)]
        {
            let log = LogFacts {
                checkpoint: Some(checkpoint),
                log_start,
                ..facts(&segments)
            };
            assert_eq!(portions(&log).first_dirty, expected, "{checkpoint}");
        }
    }

    #[test]
    fn what_is_unstable_or_unsynced_stays_with_its_whole_segment() {
        let segments = four();
        for (bound, expected) in [(9, 0), (10, 10), (19, 10), (20, 20), (35, 30)] {
            let log = LogFacts {
                bound,
                ..facts(&segments)
            };
            assert_eq!(portions(&log).first_uncleanable, expected, "bound {bound}");
        }
    }

    #[test]
    fn young_records_stay_dirty_and_so_does_all_behind_them() {
        let mut segments = four();
        segments[1].largest_timestamp = Some(NOW_MS - 100);
        let log = LogFacts {
            min_compaction_lag_ms: 101,
            ..facts(&segments)
        };
        assert_eq!(portions(&log).first_uncleanable, 10);
        let log = LogFacts {
            min_compaction_lag_ms: 100,
            ..log
        };
        assert_eq!(portions(&log).first_uncleanable, 30);
    }

    #[test]
    fn an_old_dirty_record_makes_the_log_due_at_any_ratio() {
        let segments = four();
        let mut log = LogFacts {
            checkpoint: Some(20),
            max_compaction_lag_ms: 979,
            ..facts(&segments)
        };
        assert!(portions(&log).is_due);
        log.max_compaction_lag_ms = 980;
        assert!(!portions(&log).is_due);
        log.checkpoint = Some(30);
        log.max_compaction_lag_ms = 0;
        assert!(!portions(&log).is_due, "what is clean is not overdue");
    }

    #[test]
    fn neighbours_become_one_as_long_as_the_limits_allow() {
        let limits = GroupLimits {
            segment_bytes: 250,
            index_bytes: 100,
        };
        let segments: Vec<_> = (0..5).map(|index| segment(index * 10, 100)).collect();
        let ends: Vec<_> = (1..=5).map(|index| index * 10).collect();
        assert_eq!(groups(&segments, &ends, limits), [2, 2, 1]);
        let small_index = GroupLimits {
            index_bytes: 8,
            ..limits
        };
        assert_eq!(groups(&segments, &ends, small_index), [1; 5]);
        assert_eq!(groups(&[], &[], limits), [0; 0]);
        let large = [segment(0, 1000), segment(10, 10), segment(20, 10)];
        assert_eq!(
            groups(&large, &[10, 20, 30], limits),
            [1, 2],
            "one is always a group"
        );
    }

    #[test]
    fn no_group_spans_more_offsets_than_an_index_can_tell() {
        let far = i64::from(i32::MAX);
        let segments = [segment(0, 1), segment(10, 1), segment(far, 1)];
        let limits = GroupLimits {
            segment_bytes: 250,
            index_bytes: 100,
        };
        assert_eq!(groups(&segments, &[10, far, far + 1], limits), [2, 1]);
    }
}
