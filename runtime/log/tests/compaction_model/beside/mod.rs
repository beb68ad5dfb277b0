//! Lives of a compacted log whose writers and readers go on while passes run and the machine dies within them.
//!
//! Writers do not wait for passes and passes not for writers, but where a fail point is reached: there some more appends
//! come in between before the machine dies. What was not acknowledged may be there afterwards or not; the log's end
//! tells which.

mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use millstream_log::testing::{Random, SimFs};
use millstream_log::{Log, LogStore, failpoint};
use millstream_records::Marker;

use self::writer::{A_MOMENT, Beside, What, Writer, Written};
use super::live::{IDEMPOTENT, Producers};
use super::{BatchPlace, Model, Outcome, Seen, try_read_committed};

/// Producers of transactions; one more writes without.
const TRANSACTIONAL: [i64; 3] = [80, 81, 82];
/// A crash comes in one of so many passes of a life; those before come to their end.
const PASSES_MAX: u64 = 3;

/// One disk's history, with a crash within a pass at each of these fail points, in turn.
pub fn history(seed: u64, fail_points: &[&'static str]) -> Seen {
    let mut random = Random::new(seed);
    let mut lives = Lives::new(seed);
    for name in fail_points {
        // Not every pass gets so far as the fail point is armed for.
        let before = lives.model.seen.all_crashes();
        for attempt in 0.. {
            lives.live(name, &mut random);
            if lives.model.seen.all_crashes() > before {
                break;
            }
            assert!(attempt < 60, "seed {seed}: {name} is never reached");
        }
    }
    lives.come_to_rest(&mut random);
    lives.model.seen
}

/// Ends the other threads of a life, be it that this one panics.
struct EndsLife<'a>(&'a Beside);

impl Drop for EndsLife<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

/// A log, its writers, and what of the last life is not known yet.
struct Lives {
    model: Model,
    writers: Vec<Writer>,
    unsettled: Vec<Vec<Written>>,
    /// When each pass of the last life began, and below which offset it may have met anything.
    passes: Vec<(i64, i64)>,
}

impl Lives {
    fn new(seed: u64) -> Self {
        let mut model = Model::new(seed);
        let mut writers: Vec<_> = TRANSACTIONAL
            .iter()
            .map(|id| Writer::new(*id, true, &model.clock))
            .collect();
        writers.push(Writer::new(IDEMPOTENT, false, &model.clock));
        // Nobody waits for a checkpoint that only the clock would bring.
        model.journal_file_bytes = 8 << 20;
        Self {
            model,
            writers,
            unsettled: Vec::new(),
            passes: Vec::new(),
        }
    }

    /// One life: it ends by a crash at the fail point, or with the last of its passes.
    fn live(&mut self, crash_at: &'static str, random: &mut Random) {
        let (store, log) = self.start();
        let beside = Arc::new(Beside::default());
        beside
            .writers
            .store(self.writers.len() as u64, Ordering::SeqCst);
        let writers = self.writers.clone();
        let crashed = thread::scope(|scope| {
            let (store, log) = (&store, &log);
            let _ends = EndsLife(&beside);
            let threads: Vec<_> = writers
                .into_iter()
                .map(|writer| {
                    let (beside, random) = (&beside, Random::new(random.next_u64()));
                    scope.spawn(move || writer.run(store, log, beside, random))
                })
                .collect();
            let fs = self.model.fs.clone();
            let reader = {
                let beside = &beside;
                scope.spawn(move || watch(log, &fs, beside))
            };
            let crashed = self.run_passes(store, &beside, crash_at, random);
            beside.is_over.store(true, Ordering::SeqCst);
            self.unsettled = threads
                .into_iter()
                .map(|thread| thread.join().expect("a writer"))
                .collect();
            reader.join().expect("the reader");
            crashed
        });
        if crashed {
            *self.model.seen.crashes.entry(crash_at).or_default() += 1;
        } else if random.chance(50) {
            store.close_blocking().unwrap();
            return;
        }
        drop((store, log));
        self.model.restart_machine(random);
    }

    /// True when the machine has died at the fail point, within a pass.
    fn run_passes(
        &mut self,
        store: &LogStore,
        beside: &Arc<Beside>,
        crash_at: &'static str,
        random: &mut Random,
    ) -> bool {
        let last = random.below(PASSES_MAX);
        for number in 0..=last {
            beside.let_write(20 + random.below(60));
            store.checkpoint().unwrap();
            self.model.jump(random.below(40_000));
            let crash_at = (number == last).then_some(crash_at);
            let is_reached = self.arm(beside, crash_at, random);
            let began_ms = self.model.now_ms();
            let before = beside.acknowledged.load(Ordering::SeqCst);
            beside.passes.fetch_add(1, Ordering::SeqCst);
            let cleaned = store.clean_dirtiest();
            beside.passes.fetch_add(1, Ordering::SeqCst);
            failpoint::disarm_all();
            let after = beside.acknowledged.load(Ordering::SeqCst);
            self.model.seen.appended_beside += after - before;
            if self.model.fs.is_off() {
                assert!(is_reached.load(Ordering::SeqCst));
                self.passes.push((began_ms, i64::MAX));
                return true;
            }
            let below = match cleaned {
                Ok(Some(report)) => {
                    self.model.seen.passes += 1;
                    self.model.cleaned_to = self.model.cleaned_to.max(report.cleaned_to);
                    report.cleaned_to
                }
                Ok(None) => i64::MIN,
                Err(error) => panic!("seed {}: {error}", self.model.seed),
            };
            self.passes.push((began_ms, below));
            store.remove_deleted_files();
        }
        false
    }

    /// Lets appends come in between at the first stage of the pass, and at the fail point, where the machine dies then.
    fn arm(
        &self,
        beside: &Arc<Beside>,
        crash_at: Option<&'static str>,
        random: &mut Random,
    ) -> Arc<AtomicBool> {
        let is_reached = Arc::new(AtomicBool::new(false));
        let (early, late) = (random.below(12), random.below(4));
        if crash_at != Some("cleaner.after_map") {
            let beside = Arc::clone(beside);
            failpoint::arm_call("cleaner.after_map", 1, move || beside.let_write(early));
        }
        // Meanwhile they go on as they like.
        beside.allow(random.below(40));
        let Some(name) = crash_at else {
            return is_reached;
        };
        // Some are reached once in a pass, or once for every segment; files there are more.
        let nth = match name {
            "cleaner.after_map" | "cleaner.before_checkpoint" | "checkpoint.before_rename" => 1,
            "segments.between_files" => 1 + random.below(24),
            _ => 1 + random.below(3),
        };
        let all_are_told = random.chance(50);
        let (fs, beside) = (self.model.fs.clone(), Arc::clone(beside));
        let reached = Arc::clone(&is_reached);
        failpoint::arm_call(name, nth, move || {
            beside.let_write(late);
            let held = (!all_are_told).then(|| beside.let_begin(&fs, 1 + late));
            reached.store(true, Ordering::SeqCst);
            fs.cut_power_after(0);
            drop(held);
        });
        is_reached
    }

    /// Opens the log, finds out what has survived, and ends the transactions that a crash has left open.
    fn start(&mut self) -> (Arc<LogStore>, Arc<Log>) {
        let (store, log) = self.model.open();
        self.settle(log.offsets().log_end);
        self.model.compare(&log);
        for index in 0..self.writers.len() {
            if self.writers[index].open.is_none() {
                continue;
            }
            let id = self.writers[index].id;
            let appended = log.append_marker(Marker::Abort, id, 0, 0, 0).unwrap();
            store.flushed_blocking(appended.lsn).unwrap();
            self.take(
                index,
                Written {
                    base_offset: appended.base_offset,
                    place: BatchPlace::of_marker(appended.base_offset, id),
                    what: What::End(Marker::Abort),
                    is_acknowledged: true,
                    first_pass: 0,
                },
            );
        }
        self.model.compare(&log);
        (store, log)
    }

    /// What lies below the log's end is there, and everything that was acknowledged lies there.
    fn settle(&mut self, log_end: i64) {
        for (began_ms, below) in &self.passes {
            self.model.was_met(*began_ms, *below);
        }
        for (index, written) in std::mem::take(&mut self.unsettled).into_iter().enumerate() {
            for one in written {
                self.model.seen.unacknowledged += u64::from(!one.is_acknowledged);
                if one.place.last_offset < log_end {
                    self.take(index, one);
                    continue;
                }
                assert!(
                    !one.is_acknowledged,
                    "seed {}: {one:?} was acknowledged, the log ends at {log_end}",
                    self.model.seed
                );
            }
        }
        self.passes.clear();
    }

    fn take(&mut self, index: usize, written: Written) {
        let (model, writer) = (&mut self.model, &mut self.writers[index]);
        model.batches.insert(written.base_offset, written.place);
        model.log_end = model.log_end.max(written.place.last_offset + 1);
        match written.what {
            What::End(marker) => {
                let number = writer.open.take().expect("a transaction was open");
                model.transactions[number] = Outcome::Ended(marker);
                writer.balance += if marker == Marker::Abort { 1 } else { -1 };
            }
            What::Records(records) => {
                writer.sequence += i32::try_from(records.len()).unwrap();
                if writer.is_transactional && writer.open.is_none() {
                    model.transactions.push(Outcome::Open);
                    writer.open = Some(model.transactions.len() - 1);
                }
                for (offset, mut record) in (written.base_offset..).zip(records) {
                    record.transaction = writer.open;
                    let mut later = self.passes.iter().skip(written.first_pass);
                    let met = later.find(|(_, below)| offset < *below);
                    record.first_pass_ms = met.map(|(began_ms, _)| *began_ms);
                    model.records.insert(offset, record);
                }
            }
        }
    }

    fn come_to_rest(&mut self, random: &mut Random) {
        let (store, log) = self.start();
        let mut producers = Producers::default();
        producers.sequences[2] = self.writers.last().expect("the last writer").sequence;
        self.model
            .come_to_rest(&store, &log, &mut producers, random);
    }
}

/// Reads the log from its start, over and over: nothing that was to be aborted is ever seen, and offsets rise.
fn watch(log: &Log, fs: &SimFs, beside: &Beside) {
    while !beside.is_over.load(Ordering::SeqCst) {
        let seen = match try_read_committed(log) {
            Ok(seen) => seen,
            Err(_) if fs.is_off() => return,
            Err(error) => panic!("a read beside a pass failed: {error}"),
        };
        assert!(seen.is_sorted_by(|one, next| one.0 < next.0));
        for (offset, key, value, _) in seen {
            let value = value.unwrap_or_default();
            assert!(!value.starts_with("aborted"), "{key} at {offset}: {value}");
        }
        thread::sleep(10 * A_MOMENT);
    }
}
