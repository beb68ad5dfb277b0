//! One life of a store: a plain producer, transactions and checkpoints, until the power is off.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_log::testing::Random;
use millstream_log::{AppendOptions, Appended, Log, LogStore};
use millstream_records::{BatchBuilder, BatchOptions, Marker, ProducerStamp, build_marker, patch};

use super::{DATA_LOGS, DECISIONS, Entry, Kind, Model, NOW_MS, PLAIN, TRANSACTIONAL, log_of};

/// The append failed, or the power is off.
struct Over;

/// Appends of one thread.
struct Writer<'a> {
    logs: &'a [Arc<Log>],
    store: &'a LogStore,
    leader_epoch: i32,
    random: Random,
    /// Next sequence of each partition.
    sequences: Vec<i32>,
    entries: Vec<(u64, Entry)>,
}

impl Model {
    /// Appends until all is done or the power is off, and takes in what the store took.
    pub fn live(&mut self, store: &LogStore, random: &mut Random, leader_epoch: i32) {
        let logs: Result<Vec<_>, _> = (0..=DECISIONS)
            .map(|partition| log_of(store, partition))
            .collect();
        let Ok(logs) = logs else {
            return;
        };
        let writer = |model: &Model, seed, producer_of: fn(i32) -> i64| Writer {
            logs: &logs,
            store,
            leader_epoch,
            random: Random::new(seed),
            sequences: (0..=DECISIONS)
                .map(|partition| model.next_sequence(partition, producer_of(partition)))
                .collect(),
            entries: Vec::new(),
        };
        let mut plain = writer(self, random.next_u64(), |partition| {
            PLAIN + i64::from(partition)
        });
        let mut transactional = writer(self, random.next_u64(), |_| TRANSACTIONAL);
        let open: Vec<_> = (0..=DECISIONS)
            .map(|partition| self.open_transaction(partition))
            .collect();
        let first = self.next_transaction;
        self.next_transaction += 1000;
        std::thread::scope(|scope| {
            scope.spawn(|| plain.produce());
            scope.spawn(|| transactional.transactions(&open, first));
        });
        let taken = plain.entries.into_iter().chain(transactional.entries);
        for (lsn, entry) in taken {
            let before = self.entries.insert(lsn, entry);
            assert!(
                before.is_none(),
                "seed {}: number {lsn} was given twice",
                self.seed
            );
        }
        // What a reader may have seen must not vanish.
        for (partition, log) in (0..).zip(&logs) {
            let visible = log.offsets().high_watermark;
            let of_log = self
                .entries
                .values_mut()
                .filter(|entry| entry.partition == partition);
            for entry in of_log.filter(|entry| entry.base_offset < visible) {
                entry.acknowledged = true;
            }
        }
    }
}

impl Writer<'_> {
    /// Idempotent batches to any partition, some acknowledged, and a checkpoint now and then.
    fn produce(&mut self) {
        let checkpoints_in_100 = self.random.below(50);
        for _ in 0..60 {
            if self.produce_one(checkpoints_in_100).is_err() {
                return;
            }
        }
    }

    fn produce_one(&mut self, checkpoints_in_100: u64) -> Result<(), Over> {
        let partition = self.random.below(DATA_LOGS as u64) as i32;
        let bytes = self.batch(partition, PLAIN + i64::from(partition), false);
        let options = AppendOptions::client(self.leader_epoch);
        let lsn = self.append(partition, bytes, options, Kind::Plain)?;
        if self.random.chance(40) {
            self.acknowledge(lsn)?;
        }
        if self.random.chance(checkpoints_in_100) {
            self.store.checkpoint().map_err(|_| Over)?;
        }
        Ok(())
    }

    /// Transactions, each written as one run of appends with one flush at its end.
    fn transactions(&mut self, open: &[Option<(i64, u64)>], first: u64) {
        let settled = open
            .iter()
            .enumerate()
            .try_for_each(|(partition, open)| match open {
                Some((_, number)) => self
                    .end(partition as i32, *number, Marker::Abort)
                    .map(|_| ()),
                None => Ok(()),
            });
        if settled.is_err() {
            return;
        }
        for number in first..first + 12 {
            if self.transaction(number).is_err() {
                return;
            }
        }
    }

    fn transaction(&mut self, number: u64) -> Result<(), Over> {
        let mut partitions = BTreeSet::from([DECISIONS]);
        for _ in 0..=self.random.below(4) {
            let partition = self.random.below(DATA_LOGS as u64) as i32;
            partitions.insert(partition);
            self.transactional_data(partition, number)?;
        }
        self.transactional_data(DECISIONS, number)?;
        let marker = match self.random.chance(70) {
            true => Marker::Commit,
            false => Marker::Abort,
        };
        let mut last = 0;
        for partition in partitions {
            last = self.end(partition, number, marker)?;
        }
        match self.random.chance(60) {
            true => self.acknowledge(last),
            false => Ok(()),
        }
    }

    fn transactional_data(&mut self, partition: i32, number: u64) -> Result<u64, Over> {
        let log = &self.logs[partition as usize];
        let guard = log.verification_guard(TRANSACTIONAL, 0, self.sequences[partition as usize]);
        let options = self.patient(AppendOptions::client(self.leader_epoch).verified_by(guard));
        let bytes = self.batch(partition, TRANSACTIONAL, true);
        self.append(partition, bytes, options, Kind::Data(number))
    }

    fn end(&mut self, partition: i32, number: u64, marker: Marker) -> Result<u64, Over> {
        let options = self.patient(AppendOptions::coordinator(self.leader_epoch));
        let log = &self.logs[partition as usize];
        let appended = log
            .append_marker_with(marker, TRANSACTIONAL, 0, 0, options)
            .map_err(|_| Over)?;
        let mut bytes = build_marker(marker, TRANSACTIONAL, 0, 0, NOW_MS);
        patch::set_base_offset(&mut bytes, appended.base_offset);
        patch::set_leader_epoch(&mut bytes, self.leader_epoch);
        Ok(self.note(partition, appended, bytes, Kind::Ended(number, marker)))
    }

    /// Most appends of a transaction need not start a flush.
    fn patient(&mut self, options: AppendOptions) -> AppendOptions {
        match self.random.chance(60) {
            true => options.flush_within(Duration::from_millis(2)),
            false => options,
        }
    }

    fn batch(&mut self, partition: i32, id: i64, transactional: bool) -> Vec<u8> {
        let base_sequence = self.sequences[partition as usize];
        let producer = Some(ProducerStamp {
            id,
            epoch: 0,
            base_sequence,
        });
        let mut builder = BatchBuilder::new(BatchOptions {
            producer,
            transactional,
            ..BatchOptions::default()
        });
        let records = 1 + self.random.below(4);
        for _ in 0..records {
            let value: Vec<u8> = (0..self.random.below(300))
                .map(|_| self.random.next_u64() as u8)
                .collect();
            builder
                .append(NOW_MS, None, Some(&value), [])
                .expect("a small record");
        }
        self.sequences[partition as usize] += records as i32;
        builder.build().expect("a small batch")
    }

    fn append(
        &mut self,
        partition: i32,
        mut bytes: Vec<u8>,
        options: AppendOptions,
        kind: Kind,
    ) -> Result<u64, Over> {
        let appended = self.logs[partition as usize]
            .append(&mut bytes, options)
            .map_err(|_| Over)?;
        assert!(!appended.duplicate);
        Ok(self.note(partition, appended, bytes, kind))
    }

    fn note(&mut self, partition: i32, appended: Appended, bytes: Vec<u8>, kind: Kind) -> u64 {
        let base_offset = appended.base_offset;
        let entry = Entry {
            partition,
            base_offset,
            bytes,
            kind,
            acknowledged: false,
        };
        self.entries.push((appended.lsn.0, entry));
        appended.lsn.0
    }

    /// Waits for the flush; then everything up to this entry is acknowledged, whoever appended it.
    fn acknowledge(&mut self, lsn: u64) -> Result<(), Over> {
        self.store
            .flushed_blocking(millstream_log::Lsn(lsn))
            .map_err(|_| Over)?;
        for (_, entry) in self.entries.iter_mut().filter(|(number, _)| *number <= lsn) {
            entry.acknowledged = true;
        }
        Ok(())
    }
}
