//! A disk's history: lives that each end in a power cut, and a last one that is left in peace. What works on the disk,
//! and what every start must find there, is the story of the one who lives it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millstream::engine::LocalEngine;
use millstream_log::testing::{Random, SimFs};
use millstream_log::{FlushMode, StoreOptions};
use millstream_pipeline::run::RunningPipeline;
use millstream_pipeline::task::TaskState;
use tokio::time::Instant;

use crate::rig::{PATIENCE, Rig};

/// A task may wait for a disk that is gone; it is dropped after this.
pub const STOP_MAX: Duration = Duration::from_secs(1);
/// Between two looks at what readers see.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// What was cut.
#[derive(Debug, Default)]
pub struct Cuts {
    pub all: u64,
    /// Before the node was up again.
    pub in_recovery: u64,
    /// While a transaction was open.
    pub in_transactions: u64,
}

impl Cuts {
    pub fn add(&mut self, other: &Cuts) {
        self.all += other.all;
        self.in_recovery += other.in_recovery;
        self.in_transactions += other.in_transactions;
    }
}

/// What decides a history, and the cuts that it met.
pub struct Fate {
    pub seed: u64,
    pub flush: FlushMode,
    pub random: Random,
    pub cuts: Cuts,
}

impl Fate {
    pub fn new(seed: u64, flush: FlushMode) -> Fate {
        Fate {
            seed,
            flush,
            random: Random::new(seed),
            cuts: Cuts::default(),
        }
    }

    /// A judgement: what it complains of ends the test, with the seed that led there.
    pub fn require(&self, judgement: Result<(), String>) {
        judgement.unwrap_or_else(|complaint| panic!("seed {}: {complaint}", self.seed));
    }

    /// Works off everything, or says which seed does not come to an end.
    pub async fn drain(&self, pipeline: &RunningPipeline<LocalEngine>) {
        tokio::time::timeout(PATIENCE, pipeline.drained())
            .await
            .unwrap_or_else(|_| panic!("seed {}: {:#?}", self.seed, pipeline.progress()))
            .unwrap();
    }
}

/// One history; every method that may fail fails only when the disk is off.
pub trait History: Sized + Send {
    /// How often the power is cut.
    const LIVES: u64;
    /// Where transactions are looked for that a cut left open.
    const TOPICS: &'static [&'static str];
    /// A cut that is meant for the start comes within so many operations of the disk.
    const START_OPERATIONS: u64;
    /// What a start sets to work.
    type Work: Send + Sync;

    fn fate(&mut self) -> &mut Fate;

    /// Judges what is there and sets to work.
    fn start(&mut self, rig: &Rig) -> impl Future<Output = Result<Self::Work, String>> + Send;

    fn pipeline(work: &Self::Work) -> &RunningPipeline<LocalEngine>;

    /// Chooses when the power goes: by an operation of the disk or by [`History::is_time`], at the latest at the
    /// instant that is returned.
    fn choose_moment(&mut self, fs: &SimFs) -> Instant;

    /// Whether the chosen moment is there.
    fn is_time(&self) -> bool {
        false
    }

    /// Notes what readers see.
    fn look(&mut self, rig: &Rig);

    /// Stops what works, and notes what was acknowledged to it.
    fn stop(&mut self, work: Self::Work) -> impl Future<Output = ()> + Send;

    /// The last life: everything is worked on, and judged.
    fn finish(&mut self, rig: &Rig) -> impl Future<Output = ()> + Send;
}

/// Lives a history to its end.
pub async fn live<H: History>(mut history: H) -> H {
    let mut fs = SimFs::new(history.fate().seed);
    for _ in 0..H::LIVES {
        fs = live_and_lose_power(&mut history, &fs).await;
    }
    let options = options(&fs, history.fate().flush);
    let rig = Rig::over(options).await.unwrap();
    history.finish(&rig).await;
    rig.close().await;
    history
}

/// Starts, works, and loses power; returns what the next start finds.
async fn live_and_lose_power<H: History>(history: &mut H, fs: &SimFs) -> SimFs {
    let fate = history.fate();
    if fate.random.chance(25) {
        fs.cut_power_after(fate.random.below(H::START_OPERATIONS));
    }
    let rig = Rig::over(options(fs, fate.flush)).await;
    let started = match &rig {
        Ok(rig) => history.start(rig).await,
        Err(error) => Err(error.clone()),
    };
    match (&rig, &started) {
        (Ok(rig), Ok(work)) => wait_for_the_moment(history, fs, rig, work).await,
        (_, Err(error)) => {
            let fate = history.fate();
            assert!(fs.is_off(), "seed {}: {error}", fate.seed);
            fate.cuts.in_recovery += 1;
        }
        (Err(_), Ok(_)) => unreachable!("nothing starts without a node"),
    }
    let fate = history.fate();
    let next = fs.power_cut(fate.random.next_u64());
    fate.cuts.all += 1;
    if let Ok(rig) = &rig {
        let open = rig.has_open_transaction(H::TOPICS).unwrap_or(false);
        fate.cuts.in_transactions += u64::from(open);
    }
    if let Ok(work) = started {
        history.stop(work).await;
    }
    if let Ok(rig) = rig {
        rig.broker.shutdown(Duration::ZERO).await;
    }
    next
}

/// Until the chosen moment, or until the power is off; then a few turns more.
async fn wait_for_the_moment<H: History>(history: &mut H, fs: &SimFs, rig: &Rig, work: &H::Work) {
    let latest = history.choose_moment(fs);
    let seed = history.fate().seed;
    while Instant::now() < latest && !fs.is_off() && !history.is_time() {
        history.look(rig);
        for task in H::pipeline(work).progress().tasks {
            let ended = matches!(task.state, TaskState::Failed(_) | TaskState::Fenced(_));
            assert!(!ended || fs.is_off(), "seed {seed}: {task:?}");
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    for _ in 0..history.fate().random.below(100) {
        tokio::task::yield_now().await;
    }
}

/// The judgement must complain of this history.
pub async fn expect_complaint<H: History + 'static>(mut history: H) {
    let seed = history.fate().seed;
    let lived = tokio::spawn(live(history)).await;
    let reason = lived.map(drop).unwrap_err().into_panic();
    let reason = reason.downcast_ref::<String>().unwrap();
    assert!(reason.starts_with(&format!("seed {seed}: ")), "{reason}");
}

/// The seeds to go through: these, or those of `MILLSTREAM_POWER_CUT_SEEDS=1000..2000` to search longer.
pub fn seeds(usual: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(range) = std::env::var("MILLSTREAM_POWER_CUT_SEEDS") else {
        return usual;
    };
    let (from, to) = range.split_once("..").expect("a range as 1000..2000");
    from.parse().unwrap()..to.parse().unwrap()
}

fn options(fs: &SimFs, flush: FlushMode) -> StoreOptions {
    let mut options = StoreOptions::new("/data", flush);
    options.fs = Arc::new(fs.clone());
    // Cuts should meet checkpoints and a journal of several files too.
    options.checkpoint_interval_ms = 10;
    options.journal_file_bytes_max = 64 << 10;
    options
}
