//! Retention: which of the oldest segments are wanted no more, and the log's start moved behind them.
//!
//! What is decided here only moves the start, by an entry of the journal. The files go when the node's checkpoint has
//! the new start ([`Log::drop_segments_below_start`]).

use std::io;
use std::sync::Arc;

use super::{AppendError, Life, Log};
use crate::LogConfig;
use crate::failpoint;
use crate::segment::Segment;

/// A segment as retention looks at it.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// The offset at which the next one begins; the log's end for the last one.
    end: i64,
    bytes: u64,
}

#[derive(Debug)]
struct Rules<'a> {
    config: &'a LogConfig,
    log_start: i64,
    high_watermark: i64,
    now_ms: i64,
}

/// How many of the segments, from the oldest on, are wanted no more. `newest_ms` is asked for the time of a segment's
/// newest record.
///
/// None that reaches above the high watermark, and not an empty last one. Those below the log's start go under every
/// policy. Of the rest, those go without which the log still has `retention.bytes`; then those whose newest record is
/// older than `retention.ms`.
fn count_unwanted(
    segments: &[Candidate],
    rules: &Rules<'_>,
    mut newest_ms: impl FnMut(usize) -> io::Result<i64>,
) -> io::Result<usize> {
    let may_go = |index: usize| {
        let is_last = index + 1 == segments.len();
        segments[index].end <= rules.high_watermark && !(is_last && segments[index].bytes == 0)
    };
    let mut count = 0;
    while count + 1 < segments.len() && may_go(count) && segments[count].end <= rules.log_start {
        count += 1;
    }
    if !rules.config.cleanup.delete {
        return Ok(count);
    }
    if let Ok(limit) = u64::try_from(rules.config.retention_bytes) {
        let mut bytes: u64 = segments[count..].iter().map(|one| one.bytes).sum();
        while count < segments.len()
            && may_go(count)
            && bytes.saturating_sub(limit) >= segments[count].bytes
            && bytes >= limit
        {
            bytes -= segments[count].bytes;
            count += 1;
        }
    }
    if rules.config.retention_ms >= 0 {
        while count < segments.len()
            && may_go(count)
            && rules.now_ms.saturating_sub(newest_ms(count)?) > rules.config.retention_ms
        {
            count += 1;
        }
    }
    Ok(count)
}

impl Log {
    /// Moves the log's start behind all segments that are wanted no more. When even the active one is among them, it
    /// is ended first. True when segments lie below the start, so that files can go after the next checkpoint.
    pub(crate) fn apply_retention(&self) -> Result<bool, AppendError> {
        let config = self.config();
        let now_ms = self.shared.clock.now_ms();
        self.roll_when_idle(&config, now_ms)?;
        let (segments, log_end) = {
            let appender = self.appender.lock();
            appender.check_open()?;
            (self.segments.read().clone(), appender.log_end)
        };
        let offsets = self.offsets();
        let ends = segments.iter().skip(1).map(|next| next.base_offset());
        let candidates: Vec<_> = segments
            .iter()
            .zip(ends.chain([log_end]))
            .map(|(segment, end)| Candidate {
                end,
                bytes: segment.size(),
            })
            .collect();
        let rules = Rules {
            config: &config,
            log_start: offsets.log_start,
            high_watermark: offsets.high_watermark,
            now_ms,
        };
        let newest_ms = |index: usize| self.newest_ms_from(&segments[index..]);
        let count = count_unwanted(&candidates, &rules, newest_ms)
            .map_err(|error| AppendError::write(self.dir.clone(), error))?;
        let Some(last) = count.checked_sub(1) else {
            return Ok(false);
        };
        let to = if count == segments.len() {
            self.end_unwanted(&segments, log_end)?
        } else {
            candidates[last].end
        };
        self.advance_log_start(to)?;
        failpoint::hit("retention.after_log_start");
        Ok(true)
    }

    /// Ends the active segment, which is wanted no more, unless something was appended meanwhile. Returns where the
    /// segments begin that stay.
    fn end_unwanted(&self, segments: &[Arc<Segment>], log_end: i64) -> Result<i64, AppendError> {
        let mut appender = self.appender.lock();
        appender.check_open()?;
        let last = &segments[segments.len() - 1];
        if !Arc::ptr_eq(&appender.active, last) || appender.log_end != log_end {
            return Ok(last.base_offset());
        }
        self.roll(&mut appender);
        Ok(log_end)
    }

    /// Ends the active segment, unless it is empty, so that the next checkpoint leaves all of it to compaction and
    /// retention.
    pub fn roll_active(&self) -> Result<(), AppendError> {
        let mut appender = self.appender.lock();
        appender.check_open()?;
        if appender.active.size() > 0 {
            appender.dirty = true;
            appender.touched = true;
            self.roll(&mut appender);
        }
        Ok(())
    }

    /// Ends the active segment of a log that nobody writes to, so that retention and compaction can have it. Kafka
    /// looks at `segment.ms` only when something is appended.
    fn roll_when_idle(&self, config: &LogConfig, now_ms: i64) -> Result<(), AppendError> {
        let mut appender = self.appender.lock();
        appender.check_open()?;
        let active = Arc::clone(&appender.active);
        if active.size() == 0 {
            return Ok(());
        }
        let limit = self.roll_after_ms(config, active.base_offset());
        let is_old = |then: i64| now_ms.saturating_sub(then) > limit;
        let is_idle = active
            .modified_ms(&*self.shared.fs)
            .and_then(|written| Ok(is_old(written) && active.first_timestamp()?.is_none_or(is_old)))
            .map_err(|error| AppendError::write(active.path(), error))?;
        if is_idle {
            appender.dirty = true;
            appender.touched = true;
            self.roll(&mut appender);
        }
        Ok(())
    }

    /// The time of the first segment's newest record. One whose batches are gone is as old as the one behind it.
    fn newest_ms_from(&self, segments: &[Arc<Segment>]) -> io::Result<i64> {
        let mut result = Err(io::ErrorKind::NotFound.into());
        for segment in segments {
            result = self.newest_ms(segment);
            match &result {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ => break,
            }
        }
        result
    }

    /// The time of a segment's newest record; when no record has one, of the last write to its file.
    fn newest_ms(&self, segment: &Arc<Segment>) -> io::Result<i64> {
        self.check_indexes(segment)?;
        match segment.largest_timestamp()? {
            Some(largest) if largest.timestamp >= 0 => Ok(largest.timestamp),
            _ => segment.modified_ms(&*self.shared.fs),
        }
    }

    /// Whether the log was deleted. Whoever watches it is notified when it is.
    pub fn is_deleted(&self) -> bool {
        self.appender.lock().life == Life::Deleted
    }

    /// Whether the log takes no changes any more.
    pub(crate) fn is_over(&self) -> bool {
        self.appender.lock().life != Life::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CleanupPolicy;

    const DELETE: CleanupPolicy = CleanupPolicy {
        delete: true,
        compact: false,
    };
    const COMPACT: CleanupPolicy = CleanupPolicy {
        delete: false,
        compact: true,
    };

    /// Segments of ten offsets and 100 bytes, the last one of `last_bytes`; their newest records are of the times 0,
    /// 1000, 2000 …
    fn unwanted(
        (count, last_bytes): (i64, u64),
        cleanup: CleanupPolicy,
        (retention_ms, retention_bytes): (i64, i64),
        (log_start, high_watermark): (i64, i64),
    ) -> usize {
        let segments: Vec<_> = (1..=count)
            .map(|number| Candidate {
                end: 10 * number,
                bytes: if number == count { last_bytes } else { 100 },
            })
            .collect();
        let config = LogConfig {
            cleanup,
            retention_ms,
            retention_bytes,
            ..LogConfig::default()
        };
        let rules = Rules {
            config: &config,
            log_start,
            high_watermark,
            now_ms: 10_000,
        };
        count_unwanted(&segments, &rules, |index| Ok(1000 * index as i64)).unwrap()
    }

    #[test]
    fn segments_go_by_start_then_size_then_age() {
        let all = (0, 50);
        for (limits, at, expected) in [
            ((-1, -1), all, 0),
            ((-1, -1), (19, 50), 1),
            ((-1, -1), (20, 50), 2),
            ((-1, -1), (50, 50), 4),
            ((-1, 400), all, 1),
            ((-1, 401), all, 0),
            ((-1, 399), all, 1),
            ((-1, 300), all, 2),
            ((-1, 0), all, 5),
            ((9000, -1), all, 1),
            ((8999, -1), all, 2),
            ((10_000, -1), all, 0),
            ((0, -1), all, 5),
            ((8999, 400), all, 2),
            ((8999, 200), all, 3),
            // What was deleted by the start does not count for the size.
            ((-1, 400), (10, 50), 1),
        ] {
            let found = unwanted((5, 100), DELETE, limits, at);
            assert_eq!(found, expected, "{limits:?} {at:?}");
        }
    }

    #[test]
    fn nothing_at_or_above_the_high_watermark_goes() {
        for (high_watermark, expected) in [(0, 0), (9, 0), (10, 1), (35, 3), (49, 4), (50, 5)] {
            let at = (0, high_watermark);
            assert_eq!(unwanted((5, 100), DELETE, (0, 0), at), expected);
        }
    }

    #[test]
    fn an_empty_last_segment_stays() {
        assert_eq!(unwanted((5, 0), DELETE, (0, 0), (0, 50)), 4);
        assert_eq!(unwanted((1, 0), DELETE, (0, 0), (0, 10)), 0);
    }

    #[test]
    fn a_compacted_log_loses_only_what_lies_below_its_start() {
        assert_eq!(unwanted((5, 100), COMPACT, (0, 0), (0, 50)), 0);
        assert_eq!(unwanted((5, 100), COMPACT, (0, 0), (20, 50)), 2);
        let both = CleanupPolicy {
            compact: true,
            ..DELETE
        };
        assert_eq!(unwanted((5, 100), both, (8000, -1), (0, 50)), 2);
    }

    #[test]
    fn a_clock_that_was_put_back_deletes_nothing() {
        let config = LogConfig {
            retention_ms: 5,
            ..LogConfig::default()
        };
        let rules = Rules {
            config: &config,
            log_start: 0,
            high_watermark: 10,
            now_ms: -5,
        };
        let segments = [Candidate { end: 10, bytes: 1 }];
        assert_eq!(count_unwanted(&segments, &rules, |_| Ok(0)).unwrap(), 0);
        assert_eq!(
            count_unwanted(&segments, &rules, |_| Ok(i64::MAX)).unwrap(),
            0
        );
    }
}
