//! What a stage does when something goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use millstream_pipeline::ports::TaskId;
use millstream_pipeline::task::TaskState;
use millstream_pipeline::testing::{Fault, FunctionPlugin, MemoryEngine, Step};
use millstream_plugin_host::PluginFailure;
use millstream_plugin_host::frames::CODE_UNAVAILABLE;

use crate::rig::*;

const ONE_STAGE: &str = "[stage.s]\nplugin = \"s\"\ninputs = \"in\"\noutputs = \"out\"\n";

fn trap() -> PluginFailure {
    PluginFailure::Trap {
        reason: "unreachable".into(),
        panic: None,
        backtrace: Vec::new(),
    }
}

fn with_records(partitions: i32, per_partition: usize) -> MemoryEngine {
    let engine = MemoryEngine::new();
    engine.create_topic("in", partitions);
    for partition in 0..partitions {
        for n in 0..per_partition {
            let value = format!("{partition}:{n}");
            engine
                .produce("in", partition, &[(Some(b"k"), Some(value.as_bytes()))])
                .unwrap();
        }
    }
    engine
}

/// Runs a stage that fails, and beside it one that does not; what is told of the failure.
async fn fails_beside_another(engine: &MemoryEngine, failing: FunctionPlugin) -> String {
    let plugins = Plugins::one("s", &["out"], failing).and("other", &["out"], capitals());
    let body = format!(
        "{ONE_STAGE}[stage.other]\nplugin = \"other\"\ninputs = \"in\"\noutputs = \"fine\"\n"
    );
    let plan = plan(&body, engine, &plugins).await;
    let summary = run_once(&plan, engine, &plugins).await;
    let [message] = &summary.failures[..] else {
        panic!("{:?}", summary.failures);
    };
    assert_eq!(engine.group_offset("millstream.p.s", "in", 1), None);
    assert_eq!(engine.committed_records("fine").len(), 20);
    message.clone()
}

#[tokio::test]
async fn a_trap_stops_its_stage_commits_nothing_of_the_batch_and_leaves_other_stages_alone() {
    let engine = with_records(2, 10);
    let poisoned = FunctionPlugin::new(1, |event, call| {
        if event.value == Some(b"1:6") {
            return Err(trap());
        }
        call.emit(0, event.key, event.value);
        Ok(())
    });
    let message = fails_beside_another(&engine, poisoned).await;
    for part in [
        "pipeline p, stage s, topic in, partition 1, offsets 0 to 9",
        "it trapped: unreachable",
        "The plugin was at offset 6",
        "start again, it goes on there",
    ] {
        assert!(message.contains(part), "{part} is missing in {message}");
    }
    let out = engine.committed_records("out");
    assert!(
        out.iter()
            .all(|record| !text(record.value.as_ref()).starts_with("1:"))
    );
}

#[tokio::test]
async fn after_a_trap_a_mended_plugin_goes_on_where_it_stopped() {
    let engine = with_records(1, 10);
    let mended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&mended);
    let plugin = FunctionPlugin::new(1, move |event, call| {
        if event.value == Some(b"0:6") && !flag.load(Ordering::Relaxed) {
            return Err(trap());
        }
        call.emit(0, event.key, event.value);
        Ok(())
    });
    let plugins = Plugins::one("s", &["out"], plugin);
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    assert_eq!(run_once(&plan, &engine, &plugins).await.failures.len(), 1);
    mended.store(true, Ordering::Relaxed);
    assert!(run_once(&plan, &engine, &plugins).await.failures.is_empty());
    let expected: Vec<String> = (0..10).map(|n| format!("k=0:{n}")).collect();
    assert_eq!(pairs(&engine.committed_records("out")), expected);
}

#[tokio::test]
async fn a_task_that_panics_ends_as_failed_and_stops_its_stage() {
    let engine = with_records(2, 10);
    let broken = FunctionPlugin::new(1, |event, call| {
        assert_ne!(event.value, Some(&b"1:6"[..]), "a mistake of the host");
        call.emit(0, event.key, event.value);
        Ok(())
    });
    let message = fails_beside_another(&engine, broken).await;
    assert!(
        message.contains("pipeline p, stage s: the task panicked: ")
            && message.contains("a mistake of the host"),
        "{message}"
    );
}

#[tokio::test]
async fn the_older_of_two_owners_is_fenced_and_commits_nothing() {
    let engine = with_records(1, 5);
    let paused = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&paused);
    let waiting = FunctionPlugin::new(1, move |event, call| {
        while flag.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        call.emit(0, Some(b"older"), event.value);
        Ok(())
    });
    let older = Plugins::one("s", &["out"], waiting);
    let plan = plan(ONE_STAGE, &engine, &older).await;
    let workers = workers();
    let first = start(&plan, &engine, &older, &workers).await;
    eventually("the older owner is at work", || {
        first.progress().tasks[0].state == TaskState::Running
    })
    .await;

    let newer = FunctionPlugin::new(1, |event, call| {
        call.emit(0, Some(b"newer"), event.value);
        Ok(())
    });
    let newer = Plugins::one("s", &["out"], newer);
    assert!(run_once(&plan, &engine, &newer).await.failures.is_empty());

    paused.store(false, Ordering::Relaxed);
    eventually("the older owner notices", || !first.is_alive()).await;
    let summary = first.stop(DEADLINE).await;
    assert!(
        summary.failures[0].contains("newer owner of p/s/0"),
        "{:?}",
        summary.failures
    );
    assert_eq!(summary.transactions, 0);
    let expected: Vec<String> = (0..5).map(|n| format!("newer=0:{n}")).collect();
    assert_eq!(pairs(&engine.committed_records("out")), expected);
}

#[tokio::test]
async fn a_stolen_task_stops_while_the_others_go_on() {
    let engine = with_records(2, 5);
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    let workers = workers();
    let running = start(&plan, &engine, &plugins, &workers).await;
    running.drained().await.unwrap();
    engine.steal(&TaskId {
        pipeline_id: "p".into(),
        stage: "s".into(),
        partition: 0,
    });
    for partition in 0..2 {
        engine
            .produce("in", partition, &[(None, Some(b"next"))])
            .unwrap();
    }
    eventually("the thief is noticed", || {
        matches!(running.progress().tasks[0].state, TaskState::Fenced(_))
    })
    .await;
    eventually("the other partition goes on", || {
        engine.group_offset("millstream.p.s", "in", 1) == Some(6)
    })
    .await;
    assert_eq!(engine.group_offset("millstream.p.s", "in", 0), Some(5));
    running.stop(DEADLINE).await;
}

#[tokio::test]
async fn an_unknown_commit_is_resolved_by_what_was_committed() {
    for fault in [Fault::UnknownDone, Fault::UnknownNotDone] {
        let engine = with_records(1, 20);
        let plugins = Plugins::one("s", &["out"], capitals());
        let plan = plan(ONE_STAGE, &engine, &plugins).await;
        let mut pending = 2;
        engine.fail(move |_, step| {
            let hit = step == Step::Commit && pending > 0;
            pending -= i32::from(hit);
            hit.then_some(fault)
        });
        let summary = run_once(&plan, &engine, &plugins).await;
        assert!(summary.retries > 0);
        let expected: Vec<String> = (0..20).map(|n| format!("k=0:{n}")).collect();
        assert_eq!(
            pairs(&engine.committed_records("out")),
            expected,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_batch_waits_for_a_partition_that_has_no_leader() {
    let engine = with_records(1, 20);
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    let appends = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&appends);
    engine.fail(move |_, step| {
        let first = step == Step::Append && seen.fetch_add(1, Ordering::Relaxed) < 3;
        first.then_some(Fault::NotLeader)
    });
    let summary = run_once(&plan, &engine, &plugins).await;
    // The transaction was kept: nothing was processed twice.
    assert_eq!(summary.retries, 0);
    assert_eq!(appends.load(Ordering::Relaxed), 4);
    assert_eq!(engine.committed_records("out").len(), 20);
}

#[tokio::test]
async fn unstable_offsets_are_waited_for() {
    let engine = with_records(1, 5);
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    let mut left = 3;
    engine.fail(move |_, step| {
        let hit = step == Step::Committed && left > 0;
        left -= i32::from(hit);
        hit.then_some(Fault::Unstable)
    });
    let summary = run_once(&plan, &engine, &plugins).await;
    assert_eq!(summary.retries, 0);
    assert_eq!(engine.committed_records("out").len(), 5);
}

#[tokio::test]
async fn a_full_disk_stops_the_stage_with_a_clear_error() {
    let engine = with_records(1, 5);
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    engine.fail(|_, step| (step == Step::Append).then_some(Fault::Full));
    let summary = run_once(&plan, &engine, &plugins).await;
    assert!(
        summary.failures[0].contains("the disk is full. Make room"),
        "{:?}",
        summary.failures
    );
    engine.heal();
    assert!(run_once(&plan, &engine, &plugins).await.failures.is_empty());
    assert_eq!(engine.committed_records("out").len(), 5);
}

#[tokio::test]
async fn damaged_and_deleted_input_is_reported_and_not_skipped() {
    let engine = with_records(2, 5);
    engine.damage("in", 0).unwrap();
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    let summary = run_once(&plan, &engine, &plugins).await;
    let message = &summary.failures[0];
    assert!(
        message.contains("topic in, partition 0") && message.contains("damaged"),
        "{message}"
    );

    let engine = with_records(1, 5);
    run_once(&plan_of(&engine, &plugins).await, &engine, &plugins).await;
    for _ in 0..5 {
        engine.produce("in", 0, &[(None, Some(b"lost"))]).unwrap();
    }
    engine.delete_records("in", 0, 8).unwrap();
    let summary = run_once(&plan_of(&engine, &plugins).await, &engine, &plugins).await;
    let message = &summary.failures[0];
    assert!(
        message.contains("offset 5 of in-0 is not there"),
        "{message}"
    );
    assert_eq!(engine.committed_records("out").len(), 5);
}

async fn plan_of(engine: &MemoryEngine, plugins: &Plugins) -> millstream_pipeline::plan::Plan {
    plan(ONE_STAGE, engine, plugins).await
}

#[tokio::test]
async fn an_unavailable_plugin_is_tried_again() {
    let engine = with_records(1, 5);
    let calls = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&calls);
    let plugin = FunctionPlugin::new(1, move |event, call| {
        if seen.fetch_add(1, Ordering::Relaxed) < 3 {
            return Err(PluginFailure::Unavailable {
                message: "no table yet".into(),
            });
        }
        call.emit(0, event.key, event.value);
        Ok(())
    });
    let plugins = Plugins::one("s", &["out"], plugin);
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    let summary = run_once(&plan, &engine, &plugins).await;
    assert!(summary.failures.is_empty());
    assert_eq!(summary.retries, 3);
    assert_eq!(engine.committed_records("out").len(), 5);
}

#[tokio::test]
async fn a_record_that_is_refused_as_unavailable_is_tried_again_and_not_dead_lettered() {
    let engine = with_records(1, 5);
    let calls = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&calls);
    let plugin = FunctionPlugin::new(1, move |event, call| {
        call.emit(0, event.key, event.value);
        if event.value == Some(b"0:3") && seen.fetch_add(1, Ordering::Relaxed) < 3 {
            call.refuse(CODE_UNAVAILABLE, "no table yet");
        }
        Ok(())
    });
    let plugins = Plugins::one("s", &["out"], plugin);
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    let summary = run_once(&plan, &engine, &plugins).await;
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    assert_eq!(summary.retries, 3);
    assert_eq!((summary.dead_letters, summary.skipped), (0, 0));
    // Those in front of it were committed before the first pause, and once.
    let expected: Vec<String> = (0..5).map(|n| format!("k=0:{n}")).collect();
    assert_eq!(pairs(&engine.committed_records("out")), expected);
    assert_eq!(summary.records_in, 5);
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_stopped_stage_commits_what_it_has_done() {
    let engine = with_records(1, 2_000);
    let slow = FunctionPlugin::new(1, |event, call| {
        std::thread::sleep(Duration::from_micros(200));
        call.emit(0, event.key, event.value);
        Ok(())
    });
    let plugins = Plugins::one("s", &["out"], slow.consuming(10));
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    let workers = workers();
    let running = start(&plan, &engine, &plugins, &workers).await;
    eventually("some work", || !engine.committed_records("out").is_empty()).await;
    let summary = running.stop(DEADLINE).await;
    let out = engine.committed_records("out").len();
    assert_eq!(
        engine.group_offset("millstream.p.s", "in", 0),
        Some(out as i64)
    );
    assert_eq!(summary.records_in, out as u64);
    run_once(&plan, &engine, &plugins).await;
    let expected: Vec<String> = (0..2_000).map(|n| format!("k=0:{n}")).collect();
    assert_eq!(pairs(&engine.committed_records("out")), expected);
}
