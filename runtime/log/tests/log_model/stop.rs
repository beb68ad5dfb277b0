//! How a life ends, and what of the history may be gone after it.

use std::collections::BTreeMap;

use millstream_log::{FlushMode, Isolation, Lsn, RecoveryReport};

use super::check::read_all;
use super::model::{Entry, Operation};
use super::{Case, PARTITIONS, Stop};

/// What a log has after a start: its start, its end, and its batches by base offset.
type Found = (i64, i64, BTreeMap<i64, Vec<u8>>);

impl Case {
    /// Ends the life in some way, and notes what must be there at the next start.
    pub fn stop(&mut self) {
        let seed = self.random.next_u64();
        let way = self.random.below(3);
        let journaled = self.flush == FlushMode::Journal;
        if let Some(store) = self.store.take() {
            if journaled {
                self.note_visible(&store);
            }
            if way == 0 && store.close_blocking().is_ok() {
                self.note("closed".to_owned());
                self.model.checkpointed = self.model.operations.len();
                self.model.everything_is_durable();
            }
        }
        self.seen.crashes += u64::from(way != 0);
        self.fs = if way == 2 {
            self.note("power cut".to_owned());
            if !journaled {
                self.model.durable = self.model.checkpointed;
            }
            self.fs.power_cut(seed)
        } else {
            self.note("kill".to_owned());
            if !journaled && !self.model.in_doubt {
                self.model.durable = self.model.operations.len();
            }
            self.fs.kill(seed)
        };
        self.fs.set_capacity(None);
        self.forget_lsn();
    }

    /// What a reader may have seen must not vanish.
    fn note_visible(&mut self, store: &millstream_log::LogStore) {
        for partition in 0..PARTITIONS {
            let Some(log) = store.get(&uuid::Uuid::from_u128(7), partition) else {
                continue;
            };
            let visible = log.offsets().high_watermark;
            self.note(format!("partition {partition} is visible up to {visible}"));
            let is_seen = |operation: &Operation| {
                matches!(operation, Operation::Append(entry)
                    if entry.partition == partition && entry.next <= visible)
            };
            // A truncation waits for what came before it, so all operations before a visible append are durable.
            let count = self
                .model
                .operations
                .iter()
                .rposition(is_seen)
                .map_or(0, |at| at + 1);
            self.model.durable = self.model.durable.max(count);
        }
    }

    /// Finds out how much of the history is left, which must be possible, and goes on from there.
    pub fn after_start(&mut self, report: &RecoveryReport) -> Result<(), Stop> {
        if self.flush == FlushMode::Journal {
            for problem in &report.problems {
                let harmless = ["set aside", "left alone"];
                if !harmless.iter().any(|part| problem.reason.contains(part)) {
                    return Err(Stop::Wrong(format!("after the start: {problem}")));
                }
            }
        }
        let mut found = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let log = self.log(partition)?;
            log.set_config(self.config.clone());
            let offsets = log.offsets();
            let start = self.model.start(partition);
            let may_begin =
                offsets.log_start == start.durable || start.seen.contains(&offsets.log_start);
            if !may_begin || offsets.log_start < start.durable {
                return Err(Stop::Wrong(format!(
                    "partition {partition} begins at {}, expected {start:?}",
                    offsets.log_start
                )));
            }
            let content = match read_all(&log, offsets.log_start, 4000, Isolation::LogEnd) {
                Ok(content) => content,
                Err(_) if self.fs.is_off() => return Err(Stop::Over),
                Err(error) => return Err(Stop::Wrong(format!("partition {partition}: {error}"))),
            };
            if offsets.high_watermark != offsets.log_end {
                return Err(Stop::Wrong(format!(
                    "partition {partition} starts with {offsets:?}"
                )));
            }
            found.insert(partition, (offsets.log_start, offsets.log_end, content));
        }
        let counts = self.surviving(&found)?;
        let left: Vec<Operation> = self.rebased(&counts);
        self.note(format!(
            "started: {counts:?} of {} operations, {} batches",
            self.model.operations.len(),
            left.len()
        ));
        self.seen.kept += self.model.durable as u64;
        self.seen.lost +=
            (self.model.operations.len() - counts.values().max().copied().unwrap_or(0)) as u64;
        self.model.numbers = vec![Lsn::ZERO; left.len()];
        self.model.operations = left;
        self.model.in_doubt = false;
        for (partition, (log_start, ..)) in found {
            self.model.move_start(partition, log_start);
        }
        if self.flush == FlushMode::Journal {
            // What a start has found is durable, so the next one must find it too.
            self.model.everything_is_durable();
        } else {
            self.model.durable = 0;
        }
        self.model.checkpointed = 0;
        self.check()
    }

    /// How many operations each log has; over a journal it is one number for all.
    fn surviving(&self, found: &BTreeMap<i32, Found>) -> Result<BTreeMap<i32, usize>, String> {
        let total = self.model.operations.len();
        let fits = |partition: i32, count: usize| {
            let (start, end, content) = &found[&partition];
            let entries = self.model.entries_after(partition, count);
            let log_end = entries.last().map_or(0, |last| last.next);
            log_end == *end && self.passes.compare(content, &entries, *start).is_ok()
        };
        let ends: Vec<_> = found
            .iter()
            .map(|(partition, (start, end, _))| (partition, start, end))
            .collect();
        let wrong = || {
            format!(
                "partition, start and end are {ends:?} after the start; no part of the {total} operations, of which {} are durable, leaves that",
                self.model.durable
            )
        };
        let mut possible = (self.model.durable..=total).rev();
        if self.flush == FlushMode::Journal {
            let count = possible
                .find(|count| (0..PARTITIONS).all(|partition| fits(partition, *count)))
                .ok_or_else(wrong)?;
            return Ok((0..PARTITIONS)
                .map(|partition| (partition, count))
                .collect());
        }
        (0..PARTITIONS)
            .map(|partition| {
                let count = (self.model.durable..=total)
                    .rev()
                    .find(|count| fits(partition, *count))
                    .ok_or_else(wrong)?;
                Ok((partition, count))
            })
            .collect()
    }

    /// The batches that are left, in the order in which they were appended.
    fn rebased(&self, counts: &BTreeMap<i32, usize>) -> Vec<Operation> {
        let is_left = |entry: &Entry| {
            let entries = self
                .model
                .entries_after(entry.partition, counts[&entry.partition]);
            entries.iter().any(|left| std::ptr::eq(*left, entry))
        };
        let appends = self
            .model
            .operations
            .iter()
            .filter(|operation| match operation {
                Operation::Append(entry) => is_left(entry),
                Operation::Truncate { .. } => false,
            });
        appends.cloned().collect()
    }
}
