//! What is done to the logs of a life.

use std::io;
use std::time::Duration;

use millstream_log::testing::{Fault, FaultyCall};
use millstream_log::{
    AppendError, AppendOptions, Appended, DeleteRecordsError, FlushMode, Health, Isolation, Log,
    Lsn,
};
use millstream_records::{
    BatchBuilder, BatchHeader, BatchOptions, Marker, ProducerStamp, build_marker, patch,
};

use super::model::{Entry, Operation};
use super::{Case, Over, PARTITIONS, Stop};

/// Producers of each kind; the odd ones are transactional.
const PRODUCERS: u64 = 3;
pub const PRODUCER_IDS: i64 = 2 * PRODUCERS as i64;

impl Case {
    pub fn step(&mut self) -> Result<(), Stop> {
        if self.compacts && self.random.chance(10) {
            return self.compact();
        }
        let partition = self.random.below(PARTITIONS as u64) as i32;
        match self.random.below(100) {
            0..=19 => self.append(partition, None, false),
            20..=34 => {
                let id = 2 * self.random.below(PRODUCERS) as i64;
                self.append(partition, Some(id), false)
            }
            35..=51 => {
                let id = 2 * self.random.below(PRODUCERS) as i64 + 1;
                self.append(partition, Some(id), true)
            }
            52..=61 => self.end_transaction(partition),
            62..=71 => self.flush(),
            72..=76 => self.checkpoint(),
            77..=82 => self.retention(),
            83..=86 => self.delete_records(partition),
            87..=89 => self.truncate(partition),
            90..=93 => {
                self.move_clock();
                Ok(())
            }
            94..=95 => self.change_settings(partition),
            96 => {
                self.note("deleted files go".to_owned());
                self.store().remove_deleted_files();
                Ok(())
            }
            _ if self.faults => {
                self.break_disk();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn append(&mut self, partition: i32, id: Option<i64>, transactional: bool) -> Result<(), Stop> {
        let log = self.log(partition)?;
        let producer = id.map(|id| ProducerStamp {
            id,
            epoch: 0,
            base_sequence: self.model.next_sequence(partition, id),
        });
        let mut builder = BatchBuilder::new(BatchOptions {
            producer,
            transactional,
            ..BatchOptions::default()
        });
        let mut times = Vec::new();
        let has_time = !self.random.chance(10);
        for _ in 0..=self.random.below(3) {
            let now_ms = self.now_ms();
            let at = if has_time {
                now_ms - self.random.below(20_000) as i64
            } else {
                -1
            };
            self.model.written += 1;
            let pad = self.random.below(70) as usize;
            let value = format!("{}{}", self.model.written, "-".repeat(pad));
            let (key, value) = self.key_and_value(value);
            builder
                .append(at, key.as_deref(), value.as_deref(), [])
                .expect("a small record");
            times.push(at);
        }
        let mut bytes = builder.build().expect("a small batch");
        let guard = producer
            .filter(|_| transactional)
            .and_then(|stamp| log.verification_guard(stamp.id, 0, stamp.base_sequence));
        let options = AppendOptions::client(self.leader_epoch)
            .verified_by(guard)
            .flush_within(self.flush_within);
        let result = log.append(&mut bytes, options);
        self.seen.appends += 1;
        let entry = Entry {
            serial: self.model.next_serial(),
            partition,
            base: self.model.log_end(partition),
            next: 0,
            bytes,
            leader_epoch: self.leader_epoch,
            times,
            producer: id,
            marker: None,
            transactional,
        };
        self.appended(&log, entry, result)
    }

    fn end_transaction(&mut self, partition: i32) -> Result<(), Stop> {
        let open = self.model.open_transactions(partition);
        let nth = self.random.below(open.len() as u64) as usize;
        let Some((&id, _)) = open.iter().nth(nth) else {
            return Ok(());
        };
        let log = self.log(partition)?;
        let marker = if self.random.chance(50) {
            Marker::Abort
        } else {
            Marker::Commit
        };
        let now_ms = self.now_ms();
        let base = self.model.log_end(partition);
        let mut bytes = build_marker(marker, id, 0, 0, now_ms);
        patch::set_base_offset(&mut bytes, base);
        patch::set_leader_epoch(&mut bytes, self.leader_epoch);
        let options = AppendOptions::coordinator(self.leader_epoch).flush_within(self.flush_within);
        let result = log.append_marker_with(marker, id, 0, 0, options);
        self.seen.markers += 1;
        let entry = Entry {
            serial: self.model.next_serial(),
            partition,
            base,
            next: 0,
            bytes,
            leader_epoch: self.leader_epoch,
            times: vec![now_ms],
            producer: Some(id),
            marker: Some(marker),
            transactional: true,
        };
        self.appended(&log, entry, result)
    }

    fn appended(
        &mut self,
        log: &Log,
        mut entry: Entry,
        result: Result<Appended, AppendError>,
    ) -> Result<(), Stop> {
        let partition = entry.partition;
        let expected = entry.base;
        patch::set_base_offset(&mut entry.bytes, expected);
        patch::set_leader_epoch(&mut entry.bytes, self.leader_epoch);
        let header = BatchHeader::parse(&entry.bytes).expect("a whole batch");
        entry.next = header.next_offset();
        match result {
            Ok(appended) if appended.base_offset == expected && !appended.duplicate => {
                self.note(format!(
                    "append {partition}: {expected}..{} of {:?} {:?}, lsn {}",
                    entry.next, entry.producer, entry.marker, appended.lsn
                ));
                self.last_lsn = appended.lsn;
                self.model.push(Operation::Append(entry), appended.lsn);
                Ok(())
            }
            Ok(appended) => Err(Stop::Wrong(format!(
                "partition {partition}: appended at {appended:?}, expected {expected}"
            ))),
            Err(error) if self.fs.is_off() => {
                self.note(format!("append {partition} at {expected}: {error}"));
                self.model.push(Operation::Append(entry), Lsn(u64::MAX));
                self.model.in_doubt = true;
                Err(Stop::Over)
            }
            Err(error) if self.faults => {
                self.note(format!("append {partition} refused: {error}"));
                self.seen.refused += 1;
                if log.offsets().log_end != expected {
                    return Err(Stop::Wrong(format!(
                        "a refused append moved the end: {error}"
                    )));
                }
                Ok(self.still_alive()?)
            }
            Err(error) => Err(Stop::Wrong(format!(
                "partition {partition}: append refused: {error}"
            ))),
        }
    }

    /// A store that takes no writes any more is stopped.
    fn still_alive(&mut self) -> Result<(), Over> {
        match self.store().health() {
            Health::Poisoned { reason } => {
                self.note(format!("poisoned: {reason}"));
                Err(Over)
            }
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        match self.store().flushed_blocking(self.last_lsn) {
            Ok(()) => {
                self.note("flush".to_owned());
                if self.flush == FlushMode::Journal {
                    self.model.flushed(self.last_lsn);
                }
                Ok(())
            }
            Err(error) => {
                self.note(format!("flush: {error}"));
                self.survives("a flush", &error)
            }
        }
    }

    /// After an error: the life goes on, is over, or should not have failed.
    pub fn survives(&mut self, what: &str, error: &dyn std::error::Error) -> Result<(), Stop> {
        if self.fs.is_off() || !self.faults {
            return Err(self.failed(what, error));
        }
        Ok(self.still_alive()?)
    }

    fn checkpoint(&mut self) -> Result<(), Stop> {
        match self.store().checkpoint() {
            Ok(()) => {
                self.note("checkpoint".to_owned());
                self.checkpoint_is_durable();
                Ok(())
            }
            Err(error) => {
                self.note(format!("checkpoint: {error}"));
                self.survives("a checkpoint", &error)
            }
        }
    }

    fn checkpoint_is_durable(&mut self) {
        self.model.checkpointed = self.model.operations.len();
        self.model.everything_is_durable();
    }

    fn retention(&mut self) -> Result<(), Stop> {
        let mut before = Vec::new();
        for partition in 0..PARTITIONS {
            let log = self.log(partition)?;
            before.push((log.config(), log.offsets()));
        }
        let result = self.store().apply_retention();
        self.note(format!("retention: {result:?}"));
        let mut has_moved = false;
        for (partition, (config, offsets)) in (0..PARTITIONS).zip(before) {
            let log = self.log(partition)?;
            let start = log.offsets().log_start;
            if start != self.model.log_start(partition) {
                has_moved = true;
                self.note(format!("partition {partition} begins at {start}"));
                self.check_retention(partition, start, &config, &log)?;
                self.model.move_start(partition, start);
                self.seen.starts_moved += 1;
                self.seen.emptied += u64::from(start == log.offsets().log_end);
            } else if result.is_ok() && !self.faults && !self.fs.is_off() {
                self.check_nothing_is_left_over(partition, &config, offsets.high_watermark)?;
            }
        }
        match result {
            Ok(()) if has_moved => self.checkpoint_is_durable(),
            Ok(()) => {}
            Err(error) => return self.survives("retention", &error),
        }
        Ok(())
    }

    fn delete_records(&mut self, partition: i32) -> Result<(), Stop> {
        let log = self.log(partition)?;
        let offsets = log.offsets();
        let to = self.random.below(offsets.log_end as u64 + 2) as i64;
        let result = log.delete_records(to);
        self.note(format!(
            "delete records of {partition} below {to}: {result:?}"
        ));
        // The flusher may move the high watermark meanwhile.
        let high_watermark = log.offsets().high_watermark;
        match result {
            Ok(deleted) if to <= high_watermark => {
                let expected = to.max(offsets.log_start);
                if deleted.log_start != expected {
                    return Err(Stop::Wrong(format!("{deleted:?}, expected {expected}")));
                }
                if expected > offsets.log_start {
                    self.seen.starts_moved += 1;
                    self.model.move_start(partition, expected);
                    self.last_lsn = self.last_lsn.max(deleted.lsn);
                }
                if self.flush == FlushMode::Journal
                    && self.random.chance(50)
                    && self.store().flushed_blocking(deleted.lsn).is_ok()
                {
                    self.model.flushed(deleted.lsn);
                    let start = self.model.start(partition);
                    start.durable = start.now;
                }
                Ok(())
            }
            Err(DeleteRecordsError::OffsetOutOfRange { .. }) if to > offsets.high_watermark => {
                Ok(())
            }
            Err(DeleteRecordsError::Policy { .. }) if !log.config().cleanup.delete => Ok(()),
            Ok(_) => Err(Stop::Wrong(
                "records above the high watermark went".to_owned(),
            )),
            Err(error) => {
                // The entry may be in the journal all the same.
                self.model.start(partition).seen.insert(to);
                self.survives("deleting records", &error)
            }
        }
    }

    fn truncate(&mut self, partition: i32) -> Result<(), Stop> {
        let start = self.model.log_start(partition);
        let entries = self.model.entries(partition);
        // Of a compacted log only batches without a producer: a pass keeps no batch of a producer but its last one, so
        // without that one the log cannot tell any more which sequence came before.
        let rests: Vec<_> = entries
            .iter()
            .rev()
            .take_while(|entry| !self.compacts || entry.producer.is_none())
            .collect();
        let later: Vec<_> = rests.into_iter().filter(|one| one.base > start).collect();
        if !self.truncates || later.is_empty() {
            return Ok(());
        }
        let entry = later[self.random.below(later.len() as u64) as usize];
        // Within a batch: all of it goes, unless a pass has taken it already.
        let within = match self.compacts {
            true => 0,
            false => self.random.below((entry.next - entry.base) as u64) as i64,
        };
        let (base, to) = (entry.base, entry.base + within);
        let log = self.log(partition)?;
        if self.compacts && !is_there(&log, base - 1) {
            // See `truncate_to`: a reader at the end of such a log waits in vain.
            return Ok(());
        }
        let result = log.truncate_to(to);
        self.note(format!("truncate {partition} to {to}: {result:?}"));
        let operation = Operation::Truncate {
            partition,
            to: base,
        };
        match result {
            Ok(lsn) => {
                self.model.push(operation, lsn);
                self.seen.truncations += 1;
                if self.flush == FlushMode::Journal {
                    self.last_lsn = self.last_lsn.max(lsn);
                    self.model.flushed(lsn);
                }
                Ok(())
            }
            Err(error) if self.is_alive() => {
                if log.offsets().log_end != self.model.log_end(partition) {
                    return Err(Stop::Wrong(format!(
                        "a refused truncation moved the end: {error}"
                    )));
                }
                self.survives("a truncation", &error)
            }
            Err(error) => {
                self.model.push(operation, Lsn(u64::MAX));
                self.model.in_doubt = true;
                if self.flush == FlushMode::Os {
                    // It may end anywhere between what was there and what should be left.
                    self.model.durable = 0;
                    self.model.checkpointed = 0;
                }
                Err(self.failed("a truncation", &error))
            }
        }
    }

    fn is_alive(&self) -> bool {
        !self.fs.is_off() && !matches!(self.store().health(), Health::Poisoned { .. })
    }

    fn move_clock(&mut self) {
        if self.random.chance(25) {
            let date = self.now_ms() - self.random.below(100_000) as i64;
            self.note(format!("the date is set to {date}"));
            self.clock.set_date(date);
        } else {
            let ms = self.random.below(50_000);
            self.note(format!("{ms} ms pass"));
            self.clock.advance(Duration::from_millis(ms));
        }
    }

    fn change_settings(&mut self, partition: i32) -> Result<(), Stop> {
        let log = self.log(partition)?;
        let mut config = (*log.config()).clone();
        config.retention_ms = match self.random.below(3) {
            0 => -1,
            _ => self.random.below(80_000) as i64,
        };
        config.retention_bytes = match self.random.below(3) {
            0 => self.random.below(4000) as i64,
            _ => -1,
        };
        self.note(format!(
            "partition {partition}: retention {} ms, {} bytes",
            config.retention_ms, config.retention_bytes
        ));
        log.set_config(config);
        Ok(())
    }

    fn break_disk(&mut self) {
        if self.random.chance(40) {
            let room = self.random.below(1500);
            let is_full = !self.is_full && self.random.chance(80);
            self.is_full = is_full;
            self.note(format!("the disk is full but for {room} bytes: {is_full}"));
            let used = self.fs.used_bytes();
            self.fs.set_capacity(is_full.then_some(used + room));
            return;
        }
        let (call, path_contains) = match self.random.below(6) {
            0..=2 => (FaultyCall::Write, ".log"),
            3 => (FaultyCall::Write, "index"),
            4 if self.flush == FlushMode::Journal => (FaultyCall::Write, "journal"),
            4 => (FaultyCall::Write, "snapshot"),
            _ => (FaultyCall::Sync, ""),
        };
        let nth = 1 + self.random.below(4);
        self.note(format!("{call:?} number {nth} of *{path_contains}* fails"));
        self.fs.inject(Fault {
            call,
            path_contains: path_contains.to_owned(),
            nth,
            kind: io::ErrorKind::Other,
        });
    }

    pub fn now_ms(&self) -> i64 {
        use millstream_log::clock::Clock;
        self.clock.now_ms()
    }

    pub fn forget_lsn(&mut self) {
        self.last_lsn = Lsn::ZERO;
        self.is_full = false;
    }
}

/// Whether the batch of this offset has not been taken by a pass.
fn is_there(log: &Log, offset: i64) -> bool {
    let read = log.read(offset, 1, Isolation::LogEnd, true);
    read.ok()
        .and_then(|read| BatchHeader::parse(&read.bytes).ok())
        .is_some_and(|header| header.base_offset <= offset)
}
