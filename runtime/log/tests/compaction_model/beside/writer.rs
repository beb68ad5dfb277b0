//! Producers that write while passes run, and how a test lets them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millstream_log::clock::Clock;
use millstream_log::testing::{HeldSyncs, ManualClock, Random, SimFs};
use millstream_log::{AppendOptions, Log, LogStore, Lsn};
use millstream_records::{BatchHeader, Marker, ProducerStamp};

use crate::compaction_model::batch::{self, Wish};
use crate::compaction_model::{BatchPlace, Stored};

/// Writers that do not get ahead within this time are not waited for.
const PATIENCE: Duration = Duration::from_secs(5);
pub const A_MOMENT: Duration = Duration::from_micros(20);

/// What the threads of a life share.
#[derive(Debug, Default)]
pub struct Beside {
    /// Appends that writers may begin, have begun, and were told of.
    pub allowed: AtomicU64,
    pub begun: AtomicU64,
    pub acknowledged: AtomicU64,
    pub writers: AtomicU64,
    pub is_over: AtomicBool,
    /// Twice the passes that are over, and one more while one runs.
    pub passes: AtomicU64,
}

impl Beside {
    /// Waits until another append is allowed; false when there will be none.
    fn begins(&self) -> bool {
        while !self.is_over.load(Ordering::SeqCst) {
            let begun = self.begun.load(Ordering::SeqCst);
            if begun >= self.allowed.load(Ordering::SeqCst) {
                thread::sleep(A_MOMENT);
                continue;
            }
            let order = Ordering::SeqCst;
            let taken = self.begun.compare_exchange(begun, begun + 1, order, order);
            if taken.is_ok() {
                return true;
            }
        }
        false
    }

    pub fn allow(&self, appends: u64) -> u64 {
        self.allowed.fetch_add(appends, Ordering::SeqCst) + appends
    }

    /// Lets so many more appends happen now.
    pub fn let_write(&self, appends: u64) {
        let target = self.allow(appends);
        self.wait_until(&self.acknowledged, target);
    }

    /// Lets so many more appends begin, as far as there are writers, of which none is acknowledged.
    pub fn let_begin(&self, fs: &SimFs, appends: u64) -> HeldSyncs {
        let held = fs.hold_syncs();
        let writers = self.writers.load(Ordering::SeqCst);
        let target = self.allow(appends.min(writers));
        self.wait_until(&self.begun, target);
        thread::sleep(10 * A_MOMENT);
        held
    }

    fn wait_until(&self, count: &AtomicU64, target: u64) {
        let since = Instant::now();
        while count.load(Ordering::SeqCst) < target
            && self.writers.load(Ordering::SeqCst) > 0
            && since.elapsed() < PATIENCE
        {
            thread::sleep(A_MOMENT);
        }
    }
}

/// A producer, as a coordinator that survives all crashes knows it.
#[derive(Debug, Clone)]
pub struct Writer {
    pub id: i64,
    pub is_transactional: bool,
    pub clock: Arc<ManualClock>,
    pub sequence: i32,
    /// The number of its open transaction.
    pub open: Option<usize>,
    /// How that one is to end.
    pub intended: Option<Marker>,
    /// Aborted transactions less committed ones.
    pub balance: i64,
}

/// Something that a writer has appended, acknowledged or not.
#[derive(Debug)]
pub struct Written {
    pub base_offset: i64,
    pub place: BatchPlace,
    pub what: What,
    pub is_acknowledged: bool,
    /// The number of the first pass of this life that may have met it.
    pub first_pass: usize,
}

#[derive(Debug)]
pub enum What {
    Records(Vec<Stored>),
    End(Marker),
}

impl Writer {
    pub fn new(id: i64, is_transactional: bool, clock: &Arc<ManualClock>) -> Self {
        Self {
            id,
            is_transactional,
            clock: Arc::clone(clock),
            sequence: 0,
            open: None,
            intended: None,
            balance: 0,
        }
    }

    pub fn run(
        mut self,
        store: &LogStore,
        log: &Log,
        beside: &Beside,
        mut random: Random,
    ) -> Vec<Written> {
        let mut written = Vec::new();
        while beside.begins() {
            let first_pass = usize::try_from(beside.passes.load(Ordering::SeqCst) / 2).unwrap();
            let appended = match self.intended {
                Some(marker) if random.chance(35) => self.end(log, marker),
                _ => self.put(log, &mut random),
            };
            let Some((lsn, mut one)) = appended else {
                break;
            };
            one.first_pass = first_pass;
            one.is_acknowledged = store.flushed_blocking(lsn).is_ok();
            let goes_on = one.is_acknowledged;
            written.push(one);
            if !goes_on {
                break;
            }
            beside.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        beside.writers.fetch_sub(1, Ordering::SeqCst);
        written
    }

    fn end(&mut self, log: &Log, marker: Marker) -> Option<(Lsn, Written)> {
        let appended = log.append_marker(marker, self.id, 0, 0, 0).ok()?;
        self.intended = None;
        self.balance += if marker == Marker::Abort { 1 } else { -1 };
        let written = Written {
            base_offset: appended.base_offset,
            place: BatchPlace::of_marker(appended.base_offset, self.id),
            what: What::End(marker),
            is_acknowledged: false,
            first_pass: 0,
        };
        Some((appended.lsn, written))
    }

    fn put(&mut self, log: &Log, random: &mut Random) -> Option<(Lsn, Written)> {
        if self.is_transactional && self.intended.is_none() {
            // Half of them, over the whole history.
            let aborts = match self.balance {
                2.. => false,
                ..=-2 => true,
                _ => random.chance(50),
            };
            self.intended = Some(if aborts {
                Marker::Abort
            } else {
                Marker::Commit
            });
        }
        let producer = ProducerStamp {
            id: self.id,
            epoch: 0,
            base_sequence: self.sequence,
        };
        let word = match self.intended {
            Some(Marker::Abort) => "aborted",
            _ => "meant to stay",
        };
        let wish = Wish {
            producer: Some(producer),
            // The number is known when it is known what has survived.
            transaction: self.is_transactional.then_some(usize::MAX),
            keys: "key",
            values: &format!("{word}: {} of {}", self.sequence, self.id),
            has_tombstones: true,
            now_ms: self.clock.now_ms(),
        };
        let (mut bytes, records) = batch::build(&wish, random);
        let guard = match self.is_transactional {
            true => log.verification_guard(self.id, 0, self.sequence),
            false => None,
        };
        let options = AppendOptions::client(0).verified_by(guard);
        let appended = log.append(&mut bytes, options).ok()?;
        self.sequence += i32::try_from(records.len()).unwrap();
        let written = Written {
            base_offset: appended.base_offset,
            place: BatchPlace::of(&BatchHeader::parse(&bytes).unwrap()),
            what: What::Records(records),
            is_acknowledged: false,
            first_pass: 0,
        };
        Some((appended.lsn, written))
    }
}
