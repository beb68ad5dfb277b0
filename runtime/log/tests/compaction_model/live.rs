//! Random appends, clock jumps, passes and crashes.

use std::sync::Arc;
use std::time::Duration;

use millstream_log::testing::Random;
use millstream_log::{AppendOptions, Log, LogStore, failpoint};
use millstream_records::{
    BatchBuilder, BatchHeader, BatchOptions, Compression, Marker, ProducerStamp,
};

use super::{BatchPlace, Model, Outcome, Stored};

const KEYS: u64 = 14;
/// Producers of transactions.
const TRANSACTIONAL: [i64; 2] = [70, 71];
/// A producer without transactions.
const IDEMPOTENT: i64 = 9;

/// Where a pass can be hit.
pub const FAIL_POINTS: [&str; 9] = [
    "cleaner.after_map",
    "cleaner.after_segment",
    "cleaner.before_sync",
    "cleaner.before_swap_name",
    "cleaner.after_swap_name",
    "segments.after_swap",
    "segments.between_renames",
    "cleaner.before_checkpoint",
    "segments.before_delete",
];

/// What is open at the moment.
#[derive(Debug, Default)]
pub struct Producers {
    /// The number of each producer's open transaction.
    open: [Option<usize>; 2],
    sequences: [i32; 3],
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
    fn come_to_rest(
        &mut self,
        store: &LogStore,
        log: &Log,
        producers: &mut Producers,
        random: &mut Random,
    ) {
        let end = self.log_end;
        for _ in 0..4 {
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

    fn count(&self, marker: Marker) -> u64 {
        let is_such = |outcome: &&Outcome| **outcome == Outcome::Ended(marker);
        self.transactions.iter().filter(is_such).count() as u64
    }

    fn jump(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    /// One pass over the log, if it is due. True when there was one.
    fn pass(&mut self, store: &LogStore) -> bool {
        self.note_pass();
        let report = store.clean_dirtiest();
        let report = report.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        if let Some(report) = report {
            self.seen.passes += 1;
            self.cleaned_to = self.cleaned_to.max(report.cleaned_to);
        }
        report.is_some()
    }

    fn note_pass(&mut self) {
        let now_ms = self.now_ms();
        for record in self.records.values_mut() {
            record.first_pass_ms.get_or_insert(now_ms);
        }
    }

    /// The power goes off, or the process dies, at a random operation or at a fail point of a pass.
    fn crash_within_a_pass(&mut self, store: Arc<LogStore>, log: Arc<Log>, random: &mut Random) {
        self.note_pass();
        if random.chance(50) {
            self.fs.cut_power_after(random.below(90));
        } else {
            let name = FAIL_POINTS[random.below(FAIL_POINTS.len() as u64) as usize];
            let fs = self.fs.clone();
            let nth = 1 + random.below(3);
            failpoint::arm_call(name, nth, move || fs.cut_power_after(0));
        }
        let cleaned = store.clean_dirtiest();
        store.remove_deleted_files();
        failpoint::disarm_all();
        if self.fs.is_off() {
            self.seen.crashes += 1;
        }
        if let Ok(Some(report)) = cleaned {
            self.cleaned_to = self.cleaned_to.max(report.cleaned_to);
        }
        drop((store, log));
        self.fs = match random.chance(40) {
            true => self.fs.kill(random.next_u64()),
            false => self.fs.power_cut(random.next_u64()),
        };
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
        let place = BatchPlace {
            last_offset: appended.last_offset,
            producer_id: TRANSACTIONAL[which],
            producer_epoch: 0,
            base_sequence: -1,
            leader_epoch: 0,
            codec: Compression::None,
            is_control: true,
        };
        self.batches.insert(appended.base_offset, place);
        self.log_end = appended.last_offset + 1;
    }

    /// Appends one batch of one to five records and returns how many. Of those that are no filler a third are tombstones.
    fn append(
        &mut self,
        store: &LogStore,
        log: &Log,
        producer: Option<ProducerStamp>,
        transaction: Option<usize>,
        keys: &str,
        random: &mut Random,
    ) -> i32 {
        let compression = Compression::ALL[random.below(5) as usize];
        let mut builder = BatchBuilder::new(BatchOptions {
            producer,
            transactional: transaction.is_some(),
            compression,
            ..BatchOptions::default()
        });
        let count = 1 + random.below(5);
        let mut records = Vec::new();
        for index in 0..count {
            let record = Stored {
                key: format!("{keys}-{}", random.below(KEYS)),
                value: (keys == "filler" || random.chance(67))
                    .then(|| format!("value {} of {}", self.log_end, index)),
                timestamp: self.now_ms() - random.below(1000) as i64,
                transaction,
                first_pass_ms: None,
            };
            let header: (&[u8], Option<&[u8]>) = (b"header", Some(b"x"));
            let value = record.value.as_deref().map(str::as_bytes);
            builder
                .append(
                    record.timestamp,
                    Some(record.key.as_bytes()),
                    value,
                    [header],
                )
                .unwrap();
            records.push(record);
        }
        let mut bytes = builder.build().unwrap();
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
        for (offset, record) in (appended.base_offset..).zip(records) {
            self.records.insert(offset, record);
        }
        self.log_end = appended.last_offset + 1;
        i32::try_from(count).unwrap()
    }
}
