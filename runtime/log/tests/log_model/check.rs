//! Everything that can be asked of a log, compared with the model.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use millstream_log::{Isolation, Log, LogConfig, ReadError};
use millstream_records::{BatchHeader, BatchView, ControlRecord, Marker, batches};

use super::compaction::records_of;
use super::steps::PRODUCER_IDS;
use super::{Case, PARTITIONS, Stop};

/// Batches by base offset.
type Batches = BTreeMap<i64, Vec<u8>>;

/// A check ends with this when the disk cannot be read any more.
fn differs(what: impl Into<String>) -> Stop {
    Stop::Wrong(what.into())
}

impl Case {
    pub fn check(&mut self) -> Result<(), Stop> {
        for partition in 0..PARTITIONS {
            let log = self.log(partition)?;
            match self.check_log(&log, partition) {
                // What the power cut hides is looked at after the next start.
                Err(Stop::Wrong(_)) if self.fs.is_off() => return Err(Stop::Over),
                Err(Stop::Wrong(difference)) => {
                    return Err(differs(format!("partition {partition}: {difference}")));
                }
                result => result?,
            }
        }
        Ok(())
    }

    fn check_log(&mut self, log: &Log, partition: i32) -> Result<(), Stop> {
        let offsets = log.offsets();
        let (start, end) = (
            self.model.log_start(partition),
            self.model.log_end(partition),
        );
        let open = self.model.open_transactions(partition);
        let first_open = open.values().min().copied().unwrap_or(i64::MAX);
        let stable = end.min(first_open).max(start);
        if (
            offsets.log_start,
            offsets.log_end,
            offsets.appended_last_stable,
        ) != (start, end, stable)
        {
            return Err(differs(format!(
                "{offsets:?}, expected {start}..{end}, stable {stable}"
            )));
        }
        let in_order = start <= offsets.last_stable
            && offsets.last_stable <= offsets.high_watermark
            && offsets.high_watermark <= end
            && offsets.last_stable <= first_open.max(start);
        if !in_order {
            return Err(differs(format!("{offsets:?}, open are {open:?}")));
        }
        let content = self.check_content(log, partition)?;
        self.check_committed(log, partition, &content)?;
        self.check_producers(log, partition)?;
        self.check_epochs(log, partition)?;
        self.check_lookups(log, partition, &content)
    }

    /// The batches that a reader gets, by base offset.
    fn check_content(&mut self, log: &Log, partition: i32) -> Result<Batches, Stop> {
        let start = self.model.log_start(partition);
        let max_bytes = 1 + self.random.below(900) as usize;
        let found = read_all(log, start, max_bytes, Isolation::LogEnd).map_err(differs)?;
        let entries = self.model.entries(partition);
        let gone = self.passes.compare(&found, &entries, start);
        let gone = gone.map_err(|difference| {
            let bases: Vec<_> = entries.iter().map(|entry| entry.base).collect();
            differs(format!(
                "{difference}; batches {:?}, appended {bases:?} from {start} on",
                found.keys()
            ))
        })?;
        self.seen.dropped += gone;
        let end = self.model.log_end(partition);
        for outside in [start - 1, end + 1] {
            let read = log.read(outside, 100, Isolation::LogEnd, true);
            if !matches!(read, Err(ReadError::OffsetOutOfRange { .. })) {
                return Err(differs(format!(
                    "offset {outside} is not out of range: {read:?}"
                )));
            }
        }
        Ok(found)
    }

    /// As a consumer with `isolation.level=read_committed` sees it, from any offset on.
    fn check_committed(
        &mut self,
        log: &Log,
        partition: i32,
        content: &Batches,
    ) -> Result<(), Stop> {
        let (start, end) = (
            self.model.log_start(partition),
            self.model.log_end(partition),
        );
        let from = start + self.random.below((end - start + 1) as u64) as i64;
        let bound = log.offsets().appended_last_stable;
        let found = read_committed(log, from).map_err(differs)?;
        let aborted = self.model.aborted(partition);
        let entries = self.model.entries(partition);
        let expected: BTreeSet<_> = entries
            .iter()
            .filter(|entry| entry.next > from && entry.base < bound && entry.marker.is_none())
            .map(|entry| entry.base)
            .filter(|base| !aborted.contains(base) && has_records(content.get(base)))
            .collect();
        if found != expected && from < bound {
            return Err(differs(format!(
                "committed from {from}: {found:?}, expected {expected:?}"
            )));
        }
        Ok(())
    }

    fn check_producers(&self, log: &Log, partition: i32) -> Result<(), Stop> {
        let open = self.model.open_transactions(partition);
        let states = log.producer_states();
        for id in 0..PRODUCER_IDS {
            let known = states.iter().find(|state| state.producer_id == id);
            let next = known.map_or(0, |state| state.last_sequence() + 1);
            let expected = self.model.next_sequence(partition, id);
            if next != expected || log.has_ongoing_transaction(id, 0) != open.contains_key(&id) {
                return Err(differs(format!(
                    "producer {id} is {known:?}, expected sequence {expected}, open {open:?}"
                )));
            }
        }
        Ok(())
    }

    fn check_epochs(&self, log: &Log, partition: i32) -> Result<(), Stop> {
        let start = self.model.log_start(partition);
        let end = self.model.log_end(partition);
        let mut begun: Vec<(i32, i64)> = Vec::new();
        for entry in self.model.entries(partition) {
            if begun
                .last()
                .is_none_or(|(epoch, _)| *epoch != entry.leader_epoch)
            {
                begun.push((entry.leader_epoch, entry.base));
            }
        }
        for (index, (epoch, _)) in begun.iter().enumerate() {
            let ends = begun.get(index + 1).map_or(end, |(_, next)| *next);
            let expected = (ends > start || index + 1 == begun.len()).then_some((*epoch, ends));
            let found = log.epoch_end_offset(*epoch);
            // An epoch of which no record is left is forgotten by a restart.
            let is_forgotten = found.is_none() && ends <= start;
            if found != expected && !is_forgotten {
                return Err(differs(format!(
                    "epoch {epoch} ends at {found:?}, expected {expected:?}"
                )));
            }
        }
        Ok(())
    }

    fn check_lookups(&mut self, log: &Log, partition: i32, content: &Batches) -> Result<(), Stop> {
        let (start, end) = (
            self.model.log_start(partition),
            self.model.log_end(partition),
        );
        let asked = self.now_ms() - self.random.below(200_000) as i64;
        let found = log
            .offset_for_timestamp(asked, Isolation::LogEnd)
            .map_err(|error| differs(error.to_string()))?
            .map(|found| (found.offset, found.timestamp));
        let records = content.values().flat_map(|batch| records_of(batch));
        let expected = records
            .map(|(offset, _, _, at)| (offset, at))
            .find(|(offset, at)| *offset >= start && *at >= asked);
        if found != expected {
            return Err(differs(format!(
                "the first record from {asked} on is {found:?}, expected {expected:?}"
            )));
        }
        if start < end {
            let offset = start + self.random.below((end - start) as u64) as i64;
            let read = log.read(offset, 1, Isolation::LogEnd, true);
            let read = read.map_err(|error| differs(format!("offset {offset}: {error}")))?;
            let is_behind = |batch: &&Vec<u8>| {
                let header = BatchHeader::parse(batch).expect("a whole batch");
                header.next_offset() > offset
            };
            let expected = content.values().find(is_behind);
            if Some(&read.bytes[..]) != expected.map(|batch| &batch[..]) {
                return Err(differs(format!(
                    "offset {offset} is not in the batch that is read for it"
                )));
            }
        }
        Ok(())
    }

    /// What retention took may go by its rules.
    pub fn check_retention(
        &self,
        partition: i32,
        start: i64,
        config: &LogConfig,
        log: &Log,
    ) -> Result<(), Stop> {
        if start > log.offsets().high_watermark || start < self.model.log_start(partition) {
            return Err(differs(format!(
                "retention moved the start to {start}: {:?}",
                log.offsets()
            )));
        }
        if self.compacts {
            // What was young in a segment may have been dropped by a pass.
            return Ok(());
        }
        let entries = self.model.entries(partition);
        let former = self.model.log_start(partition);
        let gone = entries
            .iter()
            .filter(|entry| entry.next > former && entry.base < start);
        // Records without a time are as old as their file, which the model does not know.
        let is_young = |at: &i64| *at >= 0 && self.now_ms() - at <= config.retention_ms;
        let mut young =
            gone.filter(|entry| config.retention_ms < 0 || entry.times.iter().any(is_young));
        let Some(newest) = young.next_back() else {
            return Ok(());
        };
        let has_no_time = newest.times.iter().any(|at| *at < 0);
        let behind: usize = entries
            .iter()
            .filter(|entry| entry.base > newest.base)
            .map(|entry| entry.bytes.len())
            .sum();
        let by_size = config.retention_bytes >= 0 && behind as i64 >= config.retention_bytes;
        if by_size || (has_no_time && config.retention_ms >= 0) {
            Ok(())
        } else {
            Err(differs(format!(
                "partition {partition}: retention took {} ({:?}), with {behind} bytes behind it",
                newest.base, newest.times
            )))
        }
    }

    /// A log all of whose records are too old is empty after retention.
    pub fn check_nothing_is_left_over(
        &self,
        partition: i32,
        config: &LogConfig,
        high_watermark: i64,
    ) -> Result<(), Stop> {
        let (start, end) = (
            self.model.log_start(partition),
            self.model.log_end(partition),
        );
        let entries = self.model.entries(partition);
        // Those below the start may lie in the same segment.
        let is_old = |at: &i64| *at >= 0 && self.now_ms() - at > config.retention_ms;
        let all_old = entries.iter().all(|entry| entry.times.iter().all(is_old));
        let deletes = config.cleanup.delete && config.retention_ms >= 0;
        if deletes && start < end && high_watermark == end && all_old {
            return Err(differs(format!(
                "partition {partition}: {start}..{end} are too old and stay"
            )));
        }
        Ok(())
    }
}

/// Batches by base offset.
pub fn read_all(
    log: &Log,
    from: i64,
    max_bytes: usize,
    isolation: Isolation,
) -> Result<Batches, String> {
    let mut content = BTreeMap::new();
    let mut next = from;
    loop {
        let read = log
            .read(next, max_bytes, isolation, true)
            .map_err(|error| format!("reading {next}: {error}"))?;
        if read.bytes.is_empty() {
            return Ok(content);
        }
        for batch in batches(&read.bytes) {
            let batch = batch.map_err(|error| error.to_string())?;
            batch.validate(1 << 20).map_err(|error| error.to_string())?;
            next = batch.header().next_offset();
            content.insert(batch.header().base_offset, batch.bytes().to_vec());
        }
    }
}

/// Base offsets of the data batches that a committed reader takes.
fn read_committed(log: &Log, from: i64) -> Result<BTreeSet<i64>, String> {
    let mut taken = BTreeSet::new();
    let mut next = from;
    loop {
        let read = log
            .read(next, 500, Isolation::CommittedUnflushed, true)
            .map_err(|error| format!("reading {next}: {error}"))?;
        if read.bytes.is_empty() {
            return Ok(taken);
        }
        let mut starts = read.aborted.clone();
        starts.sort_by_key(|txn| txn.first_offset);
        let mut starts = starts.into_iter().peekable();
        let mut aborting = HashSet::new();
        for batch in batches(&read.bytes) {
            let batch: BatchView<'_> = batch.map_err(|error| error.to_string())?;
            let header = *batch.header();
            next = header.next_offset();
            while let Some(txn) = starts.next_if(|txn| txn.first_offset <= header.last_offset()) {
                aborting.insert(txn.producer_id);
            }
            if header.is_control() {
                if marker_of(&batch)? == Some(Marker::Abort) {
                    aborting.remove(&header.producer_id);
                }
            } else if header.record_count > 0
                && !(header.is_transactional() && aborting.contains(&header.producer_id))
            {
                taken.insert(header.base_offset);
            }
        }
    }
}

fn has_records(batch: Option<&Vec<u8>>) -> bool {
    batch.is_some_and(|batch| !records_of(batch).is_empty())
}

fn marker_of(batch: &BatchView<'_>) -> Result<Option<Marker>, String> {
    let records = batch.records(1 << 20).map_err(|error| error.to_string())?;
    let record = records.iter().next().ok_or("a marker without a record")?;
    let record = record.map_err(|error| error.to_string())?;
    let control = ControlRecord::parse(&record).map_err(|error| error.to_string())?;
    Ok(control.marker())
}
