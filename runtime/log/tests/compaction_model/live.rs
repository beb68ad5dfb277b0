//! Random appends, clock jumps, passes and crashes.

use std::sync::Arc;
use std::time::Duration;

use millstream_log::testing::Random;
use millstream_log::{AppendOptions, Log, LogStore, failpoint};
use millstream_records::{BatchHeader, Marker, ProducerStamp};

use super::batch::{self, Wish};
use super::{BatchPlace, Model, Outcome};

/// Producers of transactions.
const TRANSACTIONAL: [i64; 2] = [70, 71];
/// A producer without transactions.
pub const IDEMPOTENT: i64 = 9;

/// Where a pass can be hit, stage by stage, and where the files go that it has replaced.
pub const FAIL_POINTS: [&str; 12] = [
    "cleaner.after_map",
    "cleaner.after_segment",
    "cleaner.before_sync",
    "cleaner.before_swap_name",
    "cleaner.after_swap_name",
    "segments.after_swap",
    "segments.between_files",
    "segments.between_renames",
    "segments.before_own_name",
    "cleaner.before_checkpoint",
    "checkpoint.before_rename",
    "segments.before_delete",
];

/// What is open at the moment.
#[derive(Debug, Default)]
pub struct Producers {
    /// The number of each producer's open transaction.
    open: [Option<usize>; 2],
    /// The next ones; the last is of the producer without transactions.
    pub sequences: [i32; 3],
}

impl Model {
    /// Lives through `steps` random steps; ends with all transactions ended.
    pub fn live(&mut self, random: &mut Random, steps: u64) {
        let mut producers = Producers::default();
        let (mut store, mut log) = self.open();
        for _ in 0..steps {
            match random.below(100) {
                0..32 => self.append_plain(&store, &log, &mut producers, random),
                32..66 => self.append_data(&store, &log, &mut producers, random),
                66..78 => {
                    let which = random.below(2) as usize;
                    self.end(&store, &log, &mut producers, which, random.chance(50));
                }
                78..81 => self.jump(random.below(40_000)),
                81..84 => store.checkpoint().unwrap(),
                84..89 => {
                    store.checkpoint().unwrap();
                    self.pass(&store);
                    store.remove_deleted_files();
                    self.compare(&log);
                }
                89..98 => {
                    store.checkpoint().unwrap();
                    self.crash_within_a_pass(store, log, random);
                    (store, log) = self.open();
                    self.compare(&log);
                }
                _ => {
                    store.close_blocking().unwrap();
                    drop((store, log));
                    (store, log) = self.open();
                    self.compare(&log);
                }
            }
        }
        for which in 0..2 {
            self.end(&store, &log, &mut producers, which, random.chance(50));
        }
        self.come_to_rest(&store, &log, &mut producers, random);
    }

    /// Passes until nothing is left to be dropped, and what is left then.
    pub fn come_to_rest(
        &mut self,
        store: &LogStore,
        log: &Log,
        producers: &mut Producers,
        random: &mut Random,
    ) {
        let end = self.log_end;
        // The first passes give tombstones their horizon, the second ones come when it has passed.
        for _ in 0..2 {
            // Something new, so that the log is due once more, and the active segment is another one.
            let until = log.offsets().log_end + 120;
            while log.offsets().log_end < until {
                self.append_filler(store, log, producers, random);
            }
            store.checkpoint().unwrap();
            while self.pass(store) {}
            self.compare(log);
            self.jump(u64::try_from(super::DELETE_RETENTION_MS).unwrap());
        }
        let seed = self.seed;
        assert!(
            self.cleaned_to > end,
            "seed {seed}: {} of {end}",
            self.cleaned_to
        );
        for (offset, key, value, _) in super::read_committed(log) {
            let is_old = offset < end;
            assert!(
                !is_old || value.is_some(),
                "seed {seed}: the tombstone of {key} stays"
            );
        }
        self.seen.aborted += self.count(Marker::Abort);
        self.seen.committed += self.count(Marker::Commit);
    }

    pub fn jump(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    /// The power goes off, or the process dies, at a random operation or at a fail point of a pass.
    fn crash_within_a_pass(&mut self, store: Arc<LogStore>, log: Arc<Log>, random: &mut Random) {
        let began_ms = self.now_ms();
        let mut point = None;
        if random.chance(50) {
            self.fs.cut_power_after(random.below(90));
        } else {
            let name = FAIL_POINTS[random.below(FAIL_POINTS.len() as u64) as usize];
            let fs = self.fs.clone();
            let nth = 1 + random.below(3);
            failpoint::arm_call(name, nth, move || fs.cut_power_after(0));
            point = Some(name);
        }
        let cleaned = store.clean_dirtiest();
        let is_within = self.fs.is_off();
        store.remove_deleted_files();
        failpoint::disarm_all();
        match point {
            Some(name) if is_within => *self.seen.crashes.entry(name).or_default() += 1,
            _ => self.seen.cuts += u64::from(self.fs.is_off()),
        }
        match cleaned {
            Ok(Some(report)) => self.pass_ended(began_ms, report.cleaned_to),
            Ok(None) => {}
            Err(_) => self.was_met(began_ms, i64::MAX),
        }
        drop((store, log));
        self.restart_machine(random);
    }

    fn append_plain(
        &mut self,
        store: &LogStore,
        log: &Log,
        producers: &mut Producers,
        random: &mut Random,
    ) {
        let producer = random.chance(50).then(|| ProducerStamp {
            id: IDEMPOTENT,
            epoch: 0,
            base_sequence: producers.sequences[2],
        });
        let count = self.append(store, log, producer, None, "key", random);
        if producer.is_some() {
            producers.sequences[2] += count;
        }
    }

    /// Values of keys that are used nowhere else.
    fn append_filler(
        &mut self,
        store: &LogStore,
        log: &Log,
        producers: &mut Producers,
        random: &mut Random,
    ) {
        let producer = ProducerStamp {
            id: IDEMPOTENT,
            epoch: 0,
            base_sequence: producers.sequences[2],
        };
        let count = self.append(store, log, Some(producer), None, "filler", random);
        producers.sequences[2] += count;
    }

    fn append_data(
        &mut self,
        store: &LogStore,
        log: &Log,
        producers: &mut Producers,
        random: &mut Random,
    ) {
        let which = random.below(2) as usize;
        let number = *producers.open[which].get_or_insert_with(|| {
            self.transactions.push(Outcome::Open);
            self.transactions.len() - 1
        });
        let producer = ProducerStamp {
            id: TRANSACTIONAL[which],
            epoch: 0,
            base_sequence: producers.sequences[which],
        };
        let count = self.append(store, log, Some(producer), Some(number), "key", random);
        producers.sequences[which] += count;
    }

    fn end(
        &mut self,
        store: &LogStore,
        log: &Log,
        producers: &mut Producers,
        which: usize,
        commits: bool,
    ) {
        let Some(number) = producers.open[which].take() else {
            return;
        };
        let marker = match commits {
            true => Marker::Commit,
            false => Marker::Abort,
        };
        let appended = log
            .append_marker(marker, TRANSACTIONAL[which], 0, 0, 0)
            .unwrap();
        store.flushed_blocking(appended.lsn).unwrap();
        self.transactions[number] = Outcome::Ended(marker);
        let place = BatchPlace::of_marker(appended.base_offset, TRANSACTIONAL[which]);
        self.batches.insert(appended.base_offset, place);
        self.log_end = appended.last_offset + 1;
    }

    /// Appends a random batch and returns how many records it has. Filler holds no tombstones.
    fn append(
        &mut self,
        store: &LogStore,
        log: &Log,
        producer: Option<ProducerStamp>,
        transaction: Option<usize>,
        keys: &str,
        random: &mut Random,
    ) -> i32 {
        let wish = Wish {
            producer,
            transaction,
            keys,
            values: &format!("value {}", self.log_end),
            has_tombstones: keys != "filler",
            now_ms: self.now_ms(),
        };
        let (mut bytes, records) = batch::build(&wish, random);
        let guard = match (producer, transaction) {
            (Some(producer), Some(_)) => {
                log.verification_guard(producer.id, producer.epoch, producer.base_sequence)
            }
            _ => None,
        };
        let options = AppendOptions::client(0).verified_by(guard);
        let appended = log.append(&mut bytes, options).unwrap();
        store.flushed_blocking(appended.lsn).unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        self.batches
            .insert(appended.base_offset, BatchPlace::of(&header));
        let count = records.len();
        for (offset, record) in (appended.base_offset..).zip(records) {
            self.records.insert(offset, record);
        }
        self.log_end = appended.last_offset + 1;
        i32::try_from(count).unwrap()
    }
}
