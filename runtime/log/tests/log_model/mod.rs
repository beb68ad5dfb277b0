//! One random history of a store, and the model that it must equal.
//!
//! `model.rs` says what a log must hold, `compaction.rs` what passes may take out of it, `steps.rs` what is done to it,
//! `check.rs` compares, `stop.rs` ends a life and tells what of the history is left.

mod check;
mod compaction;
mod model;
mod steps;
mod stop;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream_log::testing::{ManualClock, Random, SimFs};
use millstream_log::{
    CleanerOptions, CleanupPolicy, FlushMode, Log, LogConfig, LogId, LogStore, Lsn, RecoveryReport,
    StoreError, StoreOptions,
};
use uuid::Uuid;

use compaction::{DELETE_RETENTION_MS, Passes};
use model::Model;

pub const PARTITIONS: i32 = 2;
const NOW_MS: i64 = 1_700_000_000_000;
/// Steps that are told when a history fails.
const STEPS_TOLD: usize = 60;

/// How often something happened, so that a test can tell that its histories did something.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub appends: u64,
    pub markers: u64,
    /// Appends that were refused by a full disk or a failing write.
    pub refused: u64,
    pub truncations: u64,
    /// Passes of the cleaner, those that did not come to their end, and records that a check has found gone.
    pub passes: u64,
    pub failed_passes: u64,
    pub dropped: u64,
    pub starts_moved: u64,
    /// Retention took even the active segment.
    pub emptied: u64,
    pub crashes: u64,
    /// Operations that a crash took, and those that it could not take because they were acknowledged.
    pub lost: u64,
    pub kept: u64,
}

impl Seen {
    pub fn add(&mut self, other: &Self) {
        self.appends += other.appends;
        self.markers += other.markers;
        self.refused += other.refused;
        self.truncations += other.truncations;
        self.passes += other.passes;
        self.failed_passes += other.failed_passes;
        self.dropped += other.dropped;
        self.starts_moved += other.starts_moved;
        self.emptied += other.emptied;
        self.crashes += other.crashes;
        self.lost += other.lost;
        self.kept += other.kept;
    }

    /// Every kind of event is frequent enough to matter.
    pub fn check(&self, cases: u64) {
        for (what, count, least) in [
            ("appends", self.appends, 10 * cases),
            ("markers", self.markers, cases),
            ("refused appends", self.refused, cases / 20),
            ("truncations", self.truncations, cases / 10),
            ("passes", self.passes, cases / 10),
            ("failed passes", self.failed_passes, cases / 100),
            ("dropped records", self.dropped, cases / 10),
            ("moved starts", self.starts_moved, cases / 2),
            ("emptied logs", self.emptied, cases / 100),
            ("crashes", self.crashes, cases / 2),
            ("lost operations", self.lost, cases / 10),
            ("kept operations", self.kept, 5 * cases),
        ] {
            assert!(count >= least, "only {count} {what} in {cases} histories");
        }
    }
}

/// One history.
pub struct Case {
    seed: u64,
    random: Random,
    flush: FlushMode,
    /// Long in most histories: then the journal flushes when a step waits for it, not when its thread happens to run,
    /// and a seed gives the same history again more often.
    flush_within: Duration,
    /// The logs are compacted.
    compacts: bool,
    /// Truncations come.
    truncates: bool,
    faults: bool,
    config: LogConfig,
    fs: SimFs,
    clock: Arc<ManualClock>,
    store: Option<Arc<LogStore>>,
    leader_epoch: i32,
    model: Model,
    passes: Passes,
    last_lsn: Lsn,
    is_full: bool,
    steps: Vec<String>,
    pub seen: Seen,
}

/// A life is over: the power is off, or the store takes no writes any more.
pub struct Over;

/// Why a step did not come to its end.
pub enum Stop {
    Over,
    Wrong(String),
}

impl From<String> for Stop {
    fn from(difference: String) -> Self {
        Self::Wrong(difference)
    }
}

impl From<Over> for Stop {
    fn from(_: Over) -> Self {
        Self::Over
    }
}

impl Case {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let flush = match random.chance(70) {
            true => FlushMode::Journal,
            false => FlushMode::Os,
        };
        let compacts = random.chance(35);
        let config = LogConfig {
            cleanup: CleanupPolicy {
                delete: !compacts || random.chance(40),
                compact: compacts,
            },
            min_cleanable_dirty_ratio: 0.0,
            delete_retention_ms: DELETE_RETENTION_MS,
            segment_bytes: 400 + random.below(1500) as u32,
            index_interval_bytes: 1 + random.below(300) as u32,
            segment_index_bytes: if random.chance(20) { 32 } else { 10 << 20 },
            segment_ms: 60_000,
            segment_jitter_ms: if random.chance(30) { 30_000 } else { 0 },
            preallocate: random.chance(30),
            retention_ms: if random.chance(40) {
                random.below(100_000) as i64
            } else {
                -1
            },
            retention_bytes: if random.chance(30) {
                random.below(5000) as i64
            } else {
                -1
            },
            file_delete_delay_ms: random.below(3) as i64 * 20_000,
            ..LogConfig::default()
        };
        let fs = SimFs::new(seed);
        let clock = Arc::new(ManualClock::new(NOW_MS));
        fs.set_clock(Arc::clone(&clock) as _);
        let truncates = random.chance(60);
        Self {
            seed,
            flush,
            flush_within: Duration::from_secs(if random.chance(20) { 0 } else { 3600 }),
            compacts,
            truncates,
            faults: random.chance(50),
            config,
            fs,
            clock,
            store: None,
            leader_epoch: -1,
            model: Model::default(),
            passes: Passes::default(),
            last_lsn: Lsn::ZERO,
            is_full: false,
            steps: Vec::new(),
            seen: Seen::default(),
            random,
        }
    }

    pub fn run(&mut self) -> Result<(), String> {
        let lives = 2 + self.random.below(3);
        for _ in 0..lives {
            if let Err(Stop::Wrong(difference)) = self.live() {
                return Err(difference);
            }
            self.stop();
        }
        // The last start has power and a sound disk.
        self.fs.cut_power_after(u64::MAX / 2);
        match self.start() {
            Ok(()) => self.close(),
            Err(Stop::Over) => Err("the last start came to nothing".to_owned()),
            Err(Stop::Wrong(difference)) => Err(difference),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let store = self.store.take().expect("it was just started");
        store.close_blocking().map_err(|error| error.to_string())
    }

    fn live(&mut self) -> Result<(), Stop> {
        // Only the journal promises to keep a prefix over a power cut at any moment.
        if self.flush == FlushMode::Journal && self.random.chance(50) {
            let operations = self.random.below(250);
            self.note(format!("the power goes after {operations} operations"));
            self.fs.cut_power_after(operations);
        }
        self.start()?;
        for _ in 0..self.random.below(40) {
            self.step()?;
            if self.random.chance(8) {
                self.check()?;
            }
        }
        self.check()
    }

    fn start(&mut self) -> Result<(), Stop> {
        self.leader_epoch += 1;
        match self.open() {
            Ok((store, report)) => {
                self.store = Some(store);
                self.after_start(&report)
            }
            Err(_) if self.fs.is_off() => Err(Stop::Over),
            Err(error) => Err(Stop::Wrong(format!("the store does not start: {error}"))),
        }
    }

    fn open(&self) -> Result<(Arc<LogStore>, RecoveryReport), StoreError> {
        LogStore::open(StoreOptions {
            fs: Arc::new(self.fs.clone()),
            clock: Arc::clone(&self.clock) as _,
            journal_file_bytes_max: 16 << 10,
            open_files_max: 6,
            cleaner: CleanerOptions {
                enabled: false,
                ..CleanerOptions::default()
            },
            ..StoreOptions::new(Path::new("/data"), self.flush)
        })
    }

    fn store(&self) -> &Arc<LogStore> {
        self.store.as_ref().expect("the store is open")
    }

    fn log(&self, partition: i32) -> Result<Arc<Log>, Stop> {
        let id = LogId {
            topic_id: Uuid::from_u128(7),
            topic: "flights".to_owned(),
            partition,
        };
        let known = self.store().get(&id.topic_id, partition);
        match known.map_or_else(|| self.store().create_log(id, self.config.clone()), Ok) {
            Ok(log) => Ok(log),
            Err(error) => Err(self.failed("creating a log", &error)),
        }
    }

    /// What an error means that only a failing disk may cause.
    fn failed(&self, what: &str, error: &dyn std::error::Error) -> Stop {
        if self.fs.is_off() || self.faults {
            return Stop::Over;
        }
        Stop::Wrong(format!("{what}: {error}"))
    }

    fn note(&mut self, step: String) {
        self.steps.push(step);
    }

    /// The seed and the last steps.
    pub fn story(&self) -> String {
        let told = self.steps.len().saturating_sub(STEPS_TOLD);
        format!(
            "MILLSTREAM_MODEL_SEED={} MILLSTREAM_MODEL_CASES=1, flush = {}, {:?}; {told} steps, then:\n  {}",
            self.seed,
            self.flush,
            self.config,
            self.steps[told..].join("\n  ")
        )
    }
}
