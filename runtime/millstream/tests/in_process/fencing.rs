//! Two tasks of the same stage over the real coordinator: the older is paused in the middle of its transaction, the
//! newer takes over, the older goes on. It is fenced and commits nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream::engine::LocalEngine;
use millstream_log::{FlushMode, StoreOptions};
use millstream_pipeline::ports::{
    Engine, GroupClaim, PortError, Position, TaskId, TaskLease, Transaction,
};
use millstream_pipeline::processor::{Processor, ProcessorFactory};
use millstream_pipeline::run::{RunningPipeline, Workers, run};
use millstream_pipeline::task::TaskState;
use millstream_pipeline::testing::{FunctionPlugin, FunctionProcessor};
use millstream_plugin_host::frames::EventsFrame;
use millstream_plugin_host::{Effects, InstantiateError, Limits, OpenContext, ProcessError};
use millstream_records::{BatchBuilder, BatchOptions, ProducerStamp};
use tokio::sync::Semaphore;

use crate::rig::{PATIENCE, Rig, plan};

const MODES: [FlushMode; 2] = [FlushMode::Journal, FlushMode::Os];
const GROUP: &str = "millstream.p.route";
/// Long enough that nothing is committed before the gate.
const BODY: &str = "commit = { max_interval = \"30s\" }\n\
[stage.route]\nplugin = \"route\"\ninputs = \"in\"\noutputs = { out = \"out\" }\n";
const INPUTS: [&str; 4] = ["a", "b", "c", "d"];
/// Two outputs of this size do not fit into one batch, so the first is sent before the second is done.
const OUTPUT_BYTES: usize = 200_000;
/// The call of the plugin that stops at the gate: the first output has been appended by then.
const GATED_CALL: u32 = 3;

/// Stops a processor until it is opened.
#[derive(Debug)]
struct Gate {
    reached: Semaphore,
    open: Semaphore,
}

impl Gate {
    fn closed() -> Arc<Gate> {
        Arc::new(Gate {
            reached: Semaphore::new(0),
            open: Semaphore::new(0),
        })
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }

    async fn reached(&self) {
        let reached = tokio::time::timeout(PATIENCE, self.reached.acquire()).await;
        reached.unwrap().unwrap().forget();
    }

    fn open(&self) {
        self.open.add_permits(1);
    }
}

/// One event a call, each to one large output; with a gate, that stops one call.
struct Gated {
    plugin: FunctionPlugin,
    gate: Option<Arc<Gate>>,
}

struct GatedProcessor {
    processor: FunctionProcessor,
    gate: Option<Arc<Gate>>,
    calls: u32,
}

impl Gated {
    fn new(gate: Option<Arc<Gate>>) -> Arc<Gated> {
        let plugin = FunctionPlugin::new(1, |event, call| {
            let value = event.value.unwrap_or(b"").repeat(OUTPUT_BYTES);
            call.emit(0, event.key, Some(&value));
            Ok(())
        });
        Arc::new(Gated {
            plugin: plugin.consuming(1),
            gate,
        })
    }
}

impl ProcessorFactory for Gated {
    type Processor = GatedProcessor;

    async fn open(
        &self,
        context: &OpenContext,
        limits: Limits,
    ) -> Result<GatedProcessor, InstantiateError> {
        Ok(GatedProcessor {
            processor: self.plugin.open(context, limits).await?,
            gate: self.gate.clone(),
            calls: 0,
        })
    }
}

impl Processor for GatedProcessor {
    async fn process<'f>(&mut self, events: &'f EventsFrame) -> Result<Effects<'f>, ProcessError> {
        self.calls += 1;
        if self.calls == GATED_CALL
            && let Some(gate) = &self.gate
        {
            gate.pass().await;
        }
        self.processor.process(events).await
    }

    fn last_mark(&self) -> Option<u32> {
        self.processor.last_mark()
    }

    fn last_call_cpu(&self) -> Duration {
        self.processor.last_call_cpu()
    }
}

/// A node with an input of [`INPUTS`] and an empty output.
async fn node(dir: &Path, flush: FlushMode) -> Rig {
    let rig = Rig::over(StoreOptions::new(dir, flush)).await.unwrap();
    for topic in ["in", "out"] {
        rig.create_topic(topic, 1).await.unwrap();
    }
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (offset, value) in (0..).zip(INPUTS) {
        builder
            .append(1_000 + offset, None, Some(value.as_bytes()), [])
            .unwrap();
    }
    let mut batch = builder.build().unwrap();
    rig.local
        .append(None, &rig.topic("in").id, 0, &mut batch, Duration::ZERO)
        .await
        .unwrap();
    rig
}

/// The first letter of each output that `read_committed` readers see.
fn visible(rig: &Rig) -> Vec<String> {
    let outputs = rig.committed(&["out"]).unwrap();
    let records = &outputs[&("out".to_owned(), 0)];
    records
        .iter()
        .map(|record| record.value[..1].to_owned())
        .collect()
}

async fn start(
    rig: &Rig,
    workers: &Workers,
    gate: Option<Arc<Gate>>,
) -> RunningPipeline<LocalEngine> {
    let plan = plan(BODY, &["out"], &rig.engine).await.unwrap();
    let plugins = BTreeMap::from([("route".to_owned(), Gated::new(gate))]);
    run(plan, rig.engine.clone(), plugins, workers)
        .await
        .unwrap()
}

async fn ended(pipeline: &RunningPipeline<LocalEngine>) -> TaskState {
    let until = tokio::time::Instant::now() + PATIENCE;
    while pipeline.is_alive() {
        assert!(
            tokio::time::Instant::now() < until,
            "{:#?}",
            pipeline.progress()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    pipeline.progress().tasks[0].state.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_of_two_tasks_is_fenced_and_commits_nothing() {
    let workers = Workers::new(Some(2)).unwrap();
    for flush in MODES {
        let dir = tempfile::tempdir().unwrap();
        let rig = node(dir.path(), flush).await;
        let gate = Gate::closed();
        let older = start(&rig, &workers, Some(Arc::clone(&gate))).await;
        gate.reached().await;
        // It is in the middle of a transaction: data is appended, and nobody may see it.
        let out = rig.partition("out", 0).unwrap();
        assert_eq!(out.offsets().log_end, 1, "{flush:?}");
        assert_eq!(out.offsets().last_stable, 0, "{flush:?}");

        let newer = start(&rig, &workers, None).await;
        tokio::time::timeout(PATIENCE, newer.drained())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(visible(&rig), INPUTS, "{flush:?}");
        let end = out.offsets().log_end;

        gate.open();
        let state = ended(&older).await;
        assert!(
            matches!(state, TaskState::Fenced(_)),
            "{flush:?}: {state:?}"
        );
        assert_eq!(older.summary().transactions, 0, "{flush:?}");
        assert_eq!(visible(&rig), INPUTS, "{flush:?}");
        assert_eq!(
            out.offsets().log_end,
            end,
            "{flush:?}: the older appended something"
        );
        assert_eq!(rig.positions(GROUP, "in", 1).await, Ok(vec![4]));

        // The newer is not disturbed by any of it.
        let more = node_input(&rig, "e").await;
        tokio::time::timeout(PATIENCE, newer.drained())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(visible(&rig), ["a", "b", "c", "d", "e"], "{flush:?}");
        assert_eq!(rig.positions(GROUP, "in", 1).await, Ok(vec![more]));
        assert!(newer.stop(PATIENCE).await.failures.is_empty());
        assert_eq!(older.stop(PATIENCE).await.failures.len(), 1);
        rig.close().await;
    }
}

/// One more input; returns the offset behind it.
async fn node_input(rig: &Rig, value: &str) -> i64 {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder
        .append(2_000, None, Some(value.as_bytes()), [])
        .unwrap();
    let mut batch = builder.build().unwrap();
    let appended = rig
        .local
        .append(None, &rig.topic("in").id, 0, &mut batch, Duration::ZERO)
        .await;
    appended.unwrap().last_offset + 1
}

fn output(lease: &TaskLease, value: &str) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer: Some(ProducerStamp {
            id: lease.producer_id,
            epoch: lease.producer_epoch,
            base_sequence: 0,
        }),
        transactional: true,
        ..BatchOptions::default()
    });
    builder
        .append(1_000, None, Some(value.as_bytes()), [])
        .unwrap();
    builder.build().unwrap()
}

fn position(rig: &Rig, offset: i64) -> [Position; 1] {
    [Position {
        topic: "in".to_owned(),
        topic_id: rig.topic("in").id,
        partition: 0,
        offset,
    }]
}

/// What an older owner does first when it goes on.
#[derive(Debug, Clone, Copy)]
enum Next {
    Append,
    Offsets,
    Commit,
    Begin,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_fenced_lease_does_next_is_refused() {
    for flush in MODES {
        for next in [Next::Append, Next::Offsets, Next::Commit, Next::Begin] {
            let dir = tempfile::tempdir().unwrap();
            let rig = node(dir.path(), flush).await;
            let refused = take_over(&rig, next).await;
            assert!(
                matches!(refused, Err(PortError::Fenced { .. })),
                "{next:?} in {flush:?}: {refused:?}"
            );
            assert_eq!(visible(&rig), ["n"], "{next:?} in {flush:?}");
            let positions = rig.positions(GROUP, "in", 1).await;
            assert_eq!(positions, Ok(vec![2]), "{next:?} in {flush:?}");
            rig.close().await;
        }
    }
}

/// Two leases of one task, the older with data and a position in an open transaction; the newer commits, then the
/// older goes on.
async fn take_over(rig: &Rig, next: Next) -> Result<(), PortError> {
    let engine = &rig.engine;
    let task = TaskId {
        pipeline_id: "p".to_owned(),
        stage: "route".to_owned(),
        partition: 0,
    };
    let claim = GroupClaim {
        group: GROUP.to_owned(),
        partitions: vec![("in".to_owned(), 0)],
    };
    let older = engine.acquire_task(&task, Some(&claim)).await?;
    let mut paused = engine.begin(&older).await?;
    paused
        .append(rig.topic("out"), 0, &mut output(&older, "o"))
        .await?;
    paused.offsets(&position(rig, 4)).await?;

    let newer = engine.acquire_task(&task, Some(&claim)).await?;
    assert!(newer.task_epoch > older.task_epoch);
    let mut transaction = engine.begin(&newer).await?;
    transaction
        .append(rig.topic("out"), 0, &mut output(&newer, "n"))
        .await?;
    transaction.offsets(&position(rig, 2)).await?;
    transaction.commit().await?;

    match next {
        Next::Append => {
            paused
                .append(rig.topic("out"), 0, &mut output(&older, "x"))
                .await
        }
        Next::Offsets => paused.offsets(&position(rig, 3)).await,
        Next::Commit => paused.commit().await,
        Next::Begin => {
            let mut another = engine.begin(&older).await?;
            another
                .append(rig.topic("out"), 0, &mut output(&older, "x"))
                .await
        }
    }
}
