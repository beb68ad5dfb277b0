//! A store in a simulated directory, and batches to put into it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_records::{BatchBuilder, BatchOptions, BatchView, ProducerStamp, batches};
use uuid::Uuid;

use crate::store::Shared;
use crate::testing::{Fault, FaultyCall, ManualClock, SimFs};
use crate::{
    AppendError, AppendOptions, Appended, CleanerOptions, FlushMode, Isolation, Log, LogConfig,
    LogId, LogStore, RecoveryReport, StoreOptions,
};

pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// A store that can be stopped and started over the same disk.
pub(crate) struct Rig {
    pub(crate) fs: Arc<SimFs>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) flush: FlushMode,
    pub(crate) store: Arc<LogStore>,
    pub(crate) report: RecoveryReport,
}

impl Rig {
    pub(crate) fn new(flush: FlushMode) -> Self {
        let fs = Arc::new(SimFs::new(1));
        let clock = Arc::new(ManualClock::new(NOW_MS));
        fs.set_clock(Arc::clone(&clock) as _);
        let (store, report) = LogStore::open(options(&fs, &clock, flush)).unwrap();
        Self {
            fs,
            clock,
            flush,
            store,
            report,
        }
    }

    /// Opens the directory again; the caller has closed or dropped the store.
    pub(crate) fn reopen(self) -> Self {
        let Self {
            fs,
            clock,
            flush,
            store,
            ..
        } = self;
        // The background thread holds it while it takes a checkpoint.
        let deadline = Instant::now() + Duration::from_secs(60);
        while Arc::strong_count(&store) > 1 {
            assert!(
                Instant::now() < deadline,
                "somebody else still holds the store"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(store);
        let (store, report) = LogStore::open(options(&fs, &clock, flush)).unwrap();
        Self {
            fs,
            clock,
            flush,
            store,
            report,
        }
    }

    /// What a `kill -9` leaves: everything that was written, synced or not.
    pub(crate) fn kill_and_reopen(mut self, seed: u64) -> Self {
        self.fs = Arc::new(self.fs.kill(seed));
        self.reopen()
    }

    /// What a power cut leaves: what was synced, and any part of the rest.
    pub(crate) fn cut_power_and_reopen(mut self, seed: u64) -> Self {
        self.fs = Arc::new(self.fs.power_cut(seed));
        self.reopen()
    }

    /// Cuts the power while nothing gets durable of what `write` does to the log, and of the end of its segment.
    pub(crate) fn cut_power_while(
        self,
        log: Arc<Log>,
        seed: u64,
        write: impl FnOnce(&Log),
    ) -> Self {
        let held = self.fs.hold_syncs();
        write(&log);
        log.roll_active().unwrap();
        drop(log);
        let rig = self.cut_power_and_reopen(seed);
        drop(held);
        rig
    }

    /// The worst stop that the mode's promise covers.
    pub(crate) fn cut_power_or_kill(self, mode: FlushMode) -> Self {
        match mode {
            FlushMode::Journal => self.cut_power_and_reopen(5),
            FlushMode::Os => self.kill_and_reopen(5),
        }
    }

    /// Lets the journal's next flush fail. A sync of a file that is prepared ahead may come first, so several do.
    pub(crate) fn fail_journal_syncs(&self) {
        for nth in 1..=3 {
            self.fs.inject(Fault {
                call: FaultyCall::Sync,
                path_contains: ".journal".to_owned(),
                nth,
                kind: std::io::ErrorKind::Other,
            });
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.store.shared_for_tests()
    }

    pub(crate) fn close_and_reopen(self) -> Self {
        self.store.close_blocking().unwrap();
        self.reopen()
    }

    pub(crate) fn log(&self, partition: i32) -> Arc<Log> {
        self.log_with(partition, LogConfig::default())
    }

    pub(crate) fn log_with(&self, partition: i32, config: LogConfig) -> Arc<Log> {
        self.store.create_log(id(partition), config).unwrap()
    }
}

pub(crate) fn options(fs: &Arc<SimFs>, clock: &Arc<ManualClock>, flush: FlushMode) -> StoreOptions {
    StoreOptions {
        fs: Arc::clone(fs) as _,
        clock: Arc::clone(clock) as _,
        // Most tests start many times and write little, and a start fills files with zeros.
        journal_file_bytes_max: 256 << 10,
        // Tests compact when they want to.
        cleaner: CleanerOptions {
            enabled: false,
            ..CleanerOptions::default()
        },
        ..StoreOptions::new(Path::new("/data"), flush)
    }
}

pub(crate) fn id(partition: i32) -> LogId {
    LogId {
        topic_id: Uuid::from_u128(7),
        topic: "flights".to_owned(),
        partition,
    }
}

/// The next such call that is made with such a path fails.
pub(crate) fn fault(call: FaultyCall, path: &str, kind: io::ErrorKind) -> Fault {
    Fault {
        call,
        path_contains: path.to_owned(),
        nth: 1,
        kind,
    }
}

pub(crate) fn producer(id: i64, epoch: i16, base_sequence: i32) -> Option<ProducerStamp> {
    Some(ProducerStamp {
        id,
        epoch,
        base_sequence,
    })
}

/// Appends a producer's batch; a transactional one is verified as the coordinator would have it.
pub(crate) fn produce(
    log: &Log,
    values: &[&str],
    (id, epoch, sequence): (i64, i16, i32),
    transactional: bool,
) -> Result<Appended, AppendError> {
    let guard = if transactional {
        log.verification_guard(id, epoch, sequence)
    } else {
        None
    };
    let mut batch = batch_of(values, producer(id, epoch, sequence), transactional);
    log.append(&mut batch, AppendOptions::client(0).verified_by(guard))
}

/// A batch of these values, a millisecond apart.
pub(crate) fn batch_of(
    values: &[&str],
    producer: Option<ProducerStamp>,
    transactional: bool,
) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer,
        transactional,
        ..BatchOptions::default()
    });
    for (at, value) in (NOW_MS..).zip(values) {
        builder
            .append(at, None, Some(value.as_bytes()), [])
            .unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn append(log: &Log, values: &[&str]) -> Appended {
    try_append(log, values).unwrap()
}

pub(crate) fn try_append(log: &Log, values: &[&str]) -> Result<Appended, AppendError> {
    log.append(&mut batch_of(values, None, false), AppendOptions::client(0))
}

/// Waits until everything appended is durable, as a producer with `acks=all` does.
pub(crate) fn flush(store: &LogStore, appended: &Appended) {
    store.flushed_blocking(appended.lsn).unwrap();
}

/// The values that a reader sees from `offset` on, with their offsets.
pub(crate) fn values_from(log: &Log, offset: i64, isolation: Isolation) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    let mut next = offset;
    loop {
        let result = log.read(next, 200, isolation, true).unwrap();
        if result.bytes.is_empty() {
            return found;
        }
        for batch in batches(&result.bytes) {
            let batch: BatchView<'_> = batch.unwrap();
            next = batch.header().next_offset();
            if batch.header().is_control() {
                continue;
            }
            for record in batch.records(1 << 20).unwrap().iter() {
                let record = record.unwrap();
                let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
                if record.offset >= offset {
                    found.push((record.offset, value));
                }
            }
        }
    }
}
