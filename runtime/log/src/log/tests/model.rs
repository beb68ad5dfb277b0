//! Logs against a plain model, through random appends, transactions, checkpoints, clean stops, kills and power cuts.
//!
//! The model is one list of everything that was appended to any log, in order. After a crash the logs must hold a
//! prefix of it: in journal mode one prefix for all logs together (what a commit with one flush relies on), never shorter
//! than what was acknowledged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use millstream_records::{BatchView, ControlRecord, Marker, batches};

use super::support::*;
use crate::testing::Random;
use crate::{AppendError, FlushMode, Isolation, Log, LogConfig, Lsn};

const PARTITIONS: i32 = 3;
const PRODUCERS: i64 = 3;

/// One batch of one record, or a marker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    partition: i32,
    offset: i64,
    /// Producer, epoch, sequence.
    producer: Option<(i64, i16, i32)>,
    transactional: bool,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Value(String),
    Marker(Marker),
}

#[derive(Debug, Default)]
struct Model {
    entries: Vec<Entry>,
    /// So many of the entries are acknowledged.
    acknowledged: usize,
    /// So many entries are in a checkpoint, for what `flush = "os"` keeps over a power cut.
    checkpointed: usize,
    last_lsn: Lsn,
}

impl Model {
    fn log_end(&self, partition: i32) -> i64 {
        self.of(partition).count() as i64
    }

    fn of(&self, partition: i32) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.partition == partition)
    }

    /// The first offset of each producer's open transaction.
    fn open(&self, partition: i32) -> BTreeMap<i64, i64> {
        let mut open = BTreeMap::new();
        for entry in self.of(partition) {
            let Some((id, ..)) = entry.producer else {
                continue;
            };
            match entry.what {
                What::Marker(_) => {
                    open.remove(&id);
                }
                What::Value(_) if entry.transactional => {
                    open.entry(id).or_insert(entry.offset);
                }

                What::Value(_) => {}
            }
        }
        open
    }

    fn next_sequence(&self, partition: i32, id: i64) -> i32 {
        let data = |entry: &&Entry| {
            entry
                .producer
                .is_some_and(|found| found.0 == id && found.2 >= 0)
        };
        self.of(partition).filter(data).count() as i32
    }

    /// What a committed reader may see below `bound`.
    fn committed(&self, partition: i32, bound: i64) -> Vec<(i64, String)> {
        let entries: Vec<_> = self.of(partition).collect();
        let is_aborted = |entry: &Entry| {
            entry.transactional
                && entries
                    .iter()
                    .filter(|other| {
                        other.offset > entry.offset && matches!(other.what, What::Marker(_))
                    })
                    .find(|other| other.producer.map(|p| p.0) == entry.producer.map(|p| p.0))
                    .is_some_and(|marker| marker.what == What::Marker(Marker::Abort))
        };
        entries
            .iter()
            .filter(|entry| entry.offset < bound && !is_aborted(entry))
            .filter_map(|entry| match &entry.what {
                What::Value(value) => Some((entry.offset, value.clone())),
                What::Marker(_) => None,
            })
            .collect()
    }
}

struct Run {
    rig: Rig,
    model: Model,
    random: Random,
    seed: u64,
    written: u64,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 900,
        index_interval_bytes: 150,
        ..LogConfig::default()
    }
}

impl Run {
    fn new(flush: FlushMode, seed: u64) -> Self {
        Self {
            rig: Rig::new(flush),
            model: Model::default(),
            random: Random::new(seed),
            seed,
            written: 0,
        }
    }

    fn log(&self, partition: i32) -> Arc<Log> {
        self.rig.log_with(partition, config())
    }

    /// One random step; an error when the power has gone.
    fn step(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..=29 => self.append_plain(),
            30..=49 => self.append_produced(false),
            50..=69 => self.append_produced(true),
            70..=84 => self.mark(),
            85..=92 => self.acknowledge(),
            _ => {
                self.rig
                    .store
                    .checkpoint()
                    .map_err(|error| error.to_string())?;
                self.model.checkpointed = self.model.entries.len();
                Ok(())
            }
        }
    }

    fn partition(&mut self) -> i32 {
        self.random.below(PARTITIONS as u64) as i32
    }

    fn value(&mut self) -> String {
        self.written += 1;
        let pad = self.random.below(60) as usize;
        format!("{}{}", self.written, "-".repeat(pad))
    }

    fn append_plain(&mut self) -> Result<(), String> {
        let (partition, value) = (self.partition(), self.value());
        let result = try_append(&*self.try_log(partition)?, &[&value]);
        self.note(partition, None, false, What::Value(value), result)
    }

    fn append_produced(&mut self, transactional: bool) -> Result<(), String> {
        let (partition, value) = (self.partition(), self.value());
        // Odd producers are transactional, so that no log mixes both for one producer.
        let id = 2 * self.random.below(PRODUCERS as u64) as i64 + i64::from(transactional);
        let producer = (id, 0, self.model.next_sequence(partition, id));
        let result = produce(
            &*self.try_log(partition)?,
            &[&value],
            producer,
            transactional,
        );
        self.note(
            partition,
            Some(producer),
            transactional,
            What::Value(value),
            result,
        )
    }

    fn mark(&mut self) -> Result<(), String> {
        let partition = self.partition();
        let Some((&id, _)) = self.model.open(partition).iter().next() else {
            return Ok(());
        };
        let marker = if self.random.chance(50) {
            Marker::Abort
        } else {
            Marker::Commit
        };
        let result = self.try_log(partition)?.append_marker(marker, id, 0, 0, 0);
        self.note(
            partition,
            Some((id, 0, -1)),
            true,
            What::Marker(marker),
            result,
        )
    }

    fn try_log(&self, partition: i32) -> Result<Arc<Log>, String> {
        self.rig
            .store
            .create_log(id(partition), config())
            .map_err(|error| error.to_string())
    }

    fn note(
        &mut self,
        partition: i32,
        producer: Option<(i64, i16, i32)>,
        transactional: bool,
        what: What,
        result: Result<crate::Appended, AppendError>,
    ) -> Result<(), String> {
        let appended = result.map_err(|error| error.to_string())?;
        let offset = self.model.log_end(partition);
        assert_eq!(
            (appended.base_offset, appended.duplicate),
            (offset, false),
            "seed {}",
            self.seed
        );
        self.model.last_lsn = appended.lsn;
        self.model.entries.push(Entry {
            partition,
            offset,
            producer,
            transactional,
            what,
        });
        Ok(())
    }

    fn acknowledge(&mut self) -> Result<(), String> {
        self.rig
            .store
            .flushed_blocking(self.model.last_lsn)
            .map_err(|error| error.to_string())?;
        self.model.acknowledged = self.model.entries.len();
        Ok(())
    }

    /// Stops and starts in some way and lets the model forget what the stop may have taken.
    fn restart(self) -> Self {
        let Self {
            rig,
            mut model,
            mut random,
            seed,
            written,
        } = self;
        let mode = rig.flush;
        let crash_seed = random.next_u64();
        let way = random.below(3);
        let rig = match way {
            0 => match rig.store.close_blocking() {
                Ok(()) => {
                    model.acknowledged = model.entries.len();
                    rig.reopen()
                }
                Err(_) => rig.cut_power_and_reopen(crash_seed),
            },
            1 if mode == FlushMode::Os => {
                model.acknowledged = model.entries.len();
                rig.kill_and_reopen(crash_seed)
            }
            1 => rig.kill_and_reopen(crash_seed),
            _ => rig.cut_power_and_reopen(crash_seed),
        };
        let mut run = Self {
            rig,
            model,
            random,
            seed,
            written,
        };
        run.forget(way == 2);
        run
    }

    /// Cuts the model to what the logs have, and checks that they may.
    fn forget(&mut self, power_was_cut: bool) {
        let ends: HashMap<i32, i64> = (0..PARTITIONS)
            .map(|partition| (partition, self.log(partition).offsets().log_end))
            .collect();
        let survives = |entry: &Entry| entry.offset < ends[&entry.partition];
        let (seed, mode) = (self.seed, self.rig.flush);
        let first_lost = self.model.entries.iter().position(|entry| !survives(entry));
        let first_lost = first_lost.unwrap_or(self.model.entries.len());
        if mode == FlushMode::Journal {
            assert!(
                first_lost >= self.model.acknowledged,
                "seed {seed}: entry {first_lost} was acknowledged"
            );
            let later = self.model.entries[first_lost..]
                .iter()
                .find(|entry| survives(entry));
            assert_eq!(
                later, None,
                "seed {seed}: it survived entry {first_lost}, which came before it"
            );
        } else {
            let kept = if power_was_cut {
                self.model.checkpointed
            } else {
                self.model.acknowledged
            };
            assert!(
                first_lost >= kept.min(self.model.acknowledged),
                "seed {seed}: entry {first_lost} was synced (power cut: {power_was_cut}): {:?}",
                self.rig.report
            );
        }
        self.model.entries.retain(survives);
        self.model.acknowledged = self.model.entries.len();
        self.model.checkpointed = 0;
        self.model.last_lsn = Lsn::ZERO;
    }

    /// Compares everything that can be asked.
    fn check(&self) {
        for partition in 0..PARTITIONS {
            let log = self.log(partition);
            let case = format!(
                "seed {} partition {partition}: {:?}",
                self.seed, self.rig.report
            );
            let offsets = log.offsets();
            let model = &self.model;
            assert_eq!(offsets.log_end, model.log_end(partition), "{case}");
            let open = model.open(partition);
            let first_open = open.values().min().copied().unwrap_or(i64::MAX);
            assert_eq!(
                offsets.appended_last_stable,
                offsets.log_end.min(first_open),
                "{case}"
            );
            assert!(
                offsets.last_stable <= offsets.high_watermark
                    && offsets.high_watermark <= offsets.log_end
            );
            assert!(offsets.last_stable <= first_open, "{case}");
            let all: Vec<_> = model
                .of(partition)
                .filter_map(|entry| match &entry.what {
                    What::Value(value) => Some((entry.offset, value.clone())),
                    What::Marker(_) => None,
                })
                .collect();
            assert_eq!(values_from(&log, 0, Isolation::LogEnd), all, "{case}");
            for (isolation, bound) in [
                (Isolation::Committed, offsets.last_stable),
                (Isolation::CommittedUnflushed, offsets.appended_last_stable),
            ] {
                let mut found = read_committed(&log, isolation);
                // The flusher may have moved the bound meanwhile.
                found.retain(|(offset, _)| *offset < bound);
                assert_eq!(found, model.committed(partition, bound), "{case}");
            }
            for (id, first) in open {
                assert!(
                    log.has_ongoing_transaction(id, 0),
                    "{case}: producer {id} since {first}"
                );
            }
            for id in 0..2 * PRODUCERS {
                let known = log
                    .producer_states()
                    .into_iter()
                    .find(|state| state.producer_id == id);
                let sequences = model.next_sequence(partition, id);
                assert_eq!(
                    known.map_or(0, |state| state.last_sequence() + 1),
                    sequences,
                    "{case}: producer {id}"
                );
            }
        }
    }
}

/// Reads as a consumer with `isolation.level=read_committed` does.
fn read_committed(log: &Log, isolation: Isolation) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    let mut next = 0;
    loop {
        let result = log.read(next, 300, isolation, true).unwrap();
        if result.bytes.is_empty() {
            return found;
        }
        let mut starts = result.aborted.clone();
        starts.sort_by_key(|txn| txn.first_offset);
        let mut aborting = HashSet::new();
        for batch in batches(&result.bytes) {
            let batch: BatchView<'_> = batch.unwrap();
            let header = *batch.header();
            next = header.next_offset();
            let records = batch.records(1 << 20).unwrap();
            while starts
                .first()
                .is_some_and(|txn| txn.first_offset <= header.last_offset())
            {
                aborting.insert(starts.remove(0).producer_id);
            }
            if header.is_control() {
                let control =
                    ControlRecord::parse(&records.iter().next().unwrap().unwrap()).unwrap();
                if control.marker() == Some(Marker::Abort) {
                    aborting.remove(&header.producer_id);
                }
            } else if !(header.is_transactional() && aborting.contains(&header.producer_id)) {
                for record in records.iter() {
                    let record = record.unwrap();
                    let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                    found.push((record.offset, value));
                }
            }
        }
    }
}

fn run(mode: FlushMode, seed: u64, cuts_within: bool) {
    let mut run = Run::new(mode, seed);
    for _ in 0..5 {
        if cuts_within {
            // The power goes in the middle of whatever happens then.
            let operations = run.random.below(150);
            run.rig.fs.cut_power_after(operations);
        }
        let mut alive = true;
        for _ in 0..run.random.below(60) {
            if run.step().is_err() {
                assert!(cuts_within, "seed {seed}: a step failed with the power on");
                alive = false;
                break;
            }
        }
        if alive && !cuts_within {
            run.check();
        }
        run = if alive && !cuts_within {
            run.restart()
        } else {
            run.cut()
        };
        run.check();
    }
}

impl Run {
    fn cut(mut self) -> Self {
        let crash_seed = self.random.next_u64();
        self.rig = self.rig.cut_power_and_reopen(crash_seed);
        self.forget(true);
        self
    }
}

#[test]
fn a_journaled_node_keeps_a_prefix_of_all_that_was_appended() {
    for seed in 0..60 {
        run(FlushMode::Journal, seed, false);
    }
}

#[test]
fn a_journaled_node_survives_a_power_cut_at_any_moment() {
    for seed in 0..120 {
        run(FlushMode::Journal, 1000 + seed, true);
    }
}

#[test]
fn an_unjournaled_node_keeps_everything_over_kills_and_what_was_synced_over_power_cuts() {
    for seed in 0..60 {
        run(FlushMode::Os, 2000 + seed, false);
    }
}
