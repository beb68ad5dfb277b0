//! Which log is compacted next.

use std::sync::Arc;

use super::plan::{LogFacts, Portions, SegmentFacts, portions};
use crate::log::{CompactionView, Log};

/// A log as planning sees it now.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) log: Arc<Log>,
    pub(super) view: CompactionView,
    pub(super) facts: Vec<SegmentFacts>,
    pub(super) portions: Portions,
    /// It is not due, and would be if all of it were synced.
    pub(super) waits_for_checkpoint: bool,
}

impl Candidate {
    /// None when the log is not to be compacted at all.
    pub(super) fn of(log: &Arc<Log>, now_ms: i64) -> std::io::Result<Option<Self>> {
        let config = log.config();
        if !config.cleanup.compact {
            return Ok(None);
        }
        let view = log.compaction_view();
        let wants_first = config.max_compaction_lag_ms < i64::MAX;
        let wants_largest = config.min_compaction_lag_ms > 0;
        let mut facts = Vec::with_capacity(view.segments.len());
        for segment in &view.segments {
            let mut found = SegmentFacts {
                base_offset: segment.base_offset(),
                bytes: segment.size(),
                index_bytes: segment.offset_index_bytes(),
                first_timestamp: None,
                largest_timestamp: None,
            };
            if wants_first {
                found.first_timestamp = segment.first_timestamp()?;
            }
            if wants_largest {
                log.check_indexes_of(segment)?;
                let largest = segment.largest_timestamp()?;
                found.largest_timestamp = largest.map(|largest| largest.timestamp);
            }
            facts.push(found);
        }
        let known = LogFacts {
            segments: &facts,
            checkpoint: view.cleaned_to,
            log_start: view.log_start,
            bound: view.bound,
            now_ms,
            min_compaction_lag_ms: config.min_compaction_lag_ms,
            max_compaction_lag_ms: config.max_compaction_lag_ms,
            min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
        };
        let found = portions(&known);
        let when_synced = LogFacts {
            bound: view.last_stable,
            ..known
        };
        let waits_for_checkpoint =
            !found.is_due && log.has_unsynced() && portions(&when_synced).is_due;
        Ok(Some(Self {
            log: Arc::clone(log),
            view,
            facts,
            portions: found,
            waits_for_checkpoint,
        }))
    }
}

/// The dirtiest of those that are due.
pub(super) fn dirtiest(due: Vec<Candidate>) -> Option<Candidate> {
    due.into_iter().max_by(|one, other| {
        let ratio = |candidate: &Candidate| candidate.portions.dirty_ratio();
        ratio(one).total_cmp(&ratio(other))
    })
}
