//! What becomes of stages and sources when a topic is deleted and made anew under them.

use std::time::Duration;

use millstream_pipeline::ports::SOURCES_TOPIC;
use millstream_pipeline::run::fed_before;
use millstream_pipeline::testing::{MemoryEngine, Step};

use crate::rig::*;

const STAGE: &str = "[stage.s]\nplugin = \"s\"\ninputs = \"in\"\noutputs = \"out\"\n";

fn values(engine: &MemoryEngine, topic: &str) -> Vec<String> {
    let mut values: Vec<String> = engine
        .committed_records(topic)
        .iter()
        .map(|record| text(record.value.as_ref()))
        .collect();
    values.sort();
    values
}

fn make_anew(engine: &MemoryEngine, topic: &str) {
    engine.delete_topic(topic);
    engine.create_topic(topic, 1);
}

#[tokio::test]
async fn a_stage_begins_an_input_that_was_made_anew_at_its_beginning() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    for value in [b"a", b"b", b"c"] {
        engine.produce("in", 0, &[(None, Some(value))]).unwrap();
    }
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(STAGE, &engine, &plugins).await;
    run_once(&plan, &engine, &plugins).await;
    make_anew(&engine, "in");
    assert_eq!(engine.group_offset("millstream.p.s", "in", 0), None);
    for value in [b"d", b"e", b"f", b"g"] {
        engine.produce("in", 0, &[(None, Some(value))]).unwrap();
    }
    run_once(&plan, &engine, &plugins).await;
    assert_eq!(values(&engine, "out"), ["A", "B", "C", "D", "E", "F", "G"]);
    assert_eq!(engine.group_offset("millstream.p.s", "in", 0), Some(4));
}

/// It waits for records of a topic that will never get one.
#[tokio::test]
async fn a_waiting_stage_goes_over_to_the_topic_that_is_made_anew() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    engine.produce("in", 0, &[(None, Some(b"a"))]).unwrap();
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(STAGE, &engine, &plugins).await;
    let workers = workers();
    let running = start(&plan, &engine, &plugins, &workers).await;
    eventually("the first", || values(&engine, "out") == ["A"]).await;
    make_anew(&engine, "in");
    engine.produce("in", 0, &[(None, Some(b"b"))]).unwrap();
    eventually("the second", || values(&engine, "out") == ["A", "B"]).await;
    let summary = running.stop(DEADLINE).await;
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    assert_eq!(engine.group_offset("millstream.p.s", "in", 0), Some(1));
}

/// Between any two calls of the task: whatever it has read or committed of the old topic, all of the new one is
/// processed, once.
#[tokio::test]
async fn an_input_that_is_made_anew_at_any_step_is_processed_once() {
    for at in 0..30 {
        let engine = MemoryEngine::new();
        engine.create_topic("in", 1);
        engine.produce("in", 0, &[(None, Some(b"old"))]).unwrap();
        let plugins = Plugins::one("s", &["out"], capitals());
        let plan = plan(STAGE, &engine, &plugins).await;
        let (reached, mut is_reached) = tokio::sync::mpsc::unbounded_channel();
        engine.fail(move |call, step| {
            if call == at && step != Step::EnsureTopic {
                let _ = reached.send(());
            }
            None
        });
        let workers = workers();
        let running = start(&plan, &engine, &plugins, &workers).await;
        // When it has come to rest before, that is a step too.
        let _ = tokio::time::timeout(Duration::from_millis(50), is_reached.recv()).await;
        make_anew(&engine, "in");
        for value in [b"n", b"e", b"w"] {
            engine.produce("in", 0, &[(None, Some(value))]).unwrap();
        }
        let new = || {
            let mut out = values(&engine, "out");
            out.retain(|value| value != "OLD");
            out
        };
        eventually("the new ones", || new().len() >= 3).await;
        let summary = running.stop(DEADLINE).await;
        assert!(summary.failures.is_empty(), "{at}: {:?}", summary.failures);
        assert_eq!(new(), ["E", "N", "W"], "{at}");
        assert_eq!(engine.group_offset("millstream.p.s", "in", 0), Some(3));
    }
}

#[tokio::test]
async fn a_stage_whose_input_is_deleted_for_good_says_so() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(STAGE, &engine, &plugins).await;
    let workers = workers();
    let running = start(&plan, &engine, &plugins, &workers).await;
    running.drained().await.unwrap();
    engine.delete_topic("in");
    eventually("its end", || !running.is_alive()).await;
    let summary = running.stop(DEADLINE).await;
    assert!(
        summary.failures[0].contains("there is no topic in"),
        "{:?}",
        summary.failures
    );
}

/// A folder with a file of so many lines, and the plan that reads it.
async fn source(
    engine: &MemoryEngine,
    settings: &str,
) -> (tempfile::TempDir, millstream_pipeline::plan::Plan) {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..200).map(|line| format!("{line:03}\n")).collect();
    std::fs::write(folder.path().join("rows"), lines).unwrap();
    let body = format!(
        "[topic.rows]\npartitions = 1\n[source.s]\nfile = \"rows\"\nformat = \"lines\"\ntopic = \"rows\"\n{settings}\n"
    );
    let plan = plan_at(
        &folder.path().join("p.toml"),
        &body,
        engine,
        &Plugins::none(),
    )
    .await;
    (folder, plan)
}

fn all_lines() -> Vec<String> {
    (0..200).map(|line| format!("{line:03}")).collect()
}

#[tokio::test]
async fn a_source_feeds_a_topic_that_was_made_anew_from_the_files_beginning() {
    let engine = MemoryEngine::new();
    let (_folder, plan) = source(&engine, "").await;
    run_once(&plan, &engine, &Plugins::none()).await;
    for _ in 0..2 {
        assert_eq!(values(&engine, "rows"), all_lines());
        make_anew(&engine, "rows");
        assert_eq!(values(&engine, "rows"), [""; 0]);
        let summary = run_once(&plan, &engine, &Plugins::none()).await;
        assert_eq!(summary.records_in, 200);
    }
    // And knows it the next time.
    let summary = run_once(&plan, &engine, &Plugins::none()).await;
    assert_eq!(summary.records_in, 0);
    assert_eq!(values(&engine, "rows"), all_lines());
}

#[tokio::test]
async fn how_much_a_source_has_fed_into_the_present_topic_is_known_before_it_runs() {
    let engine = MemoryEngine::new();
    let (_folder, plan) = source(&engine, "").await;
    let known = async || fed_before(&plan.sources[0], &engine).await.unwrap();
    assert_eq!(known().await, None);
    run_once(&plan, &engine, &Plugins::none()).await;
    assert_eq!(known().await, Some(200));
    make_anew(&engine, "rows");
    assert_eq!(known().await, None);
    run_once(&plan, &engine, &Plugins::none()).await;
    assert_eq!(known().await, Some(200));
    engine.delete_topic("rows");
    assert_eq!(known().await, None);
}

/// Neither the rest of the file only, nor some of it twice.
#[tokio::test]
async fn a_topic_that_is_made_anew_while_it_is_fed_gets_the_whole_file() {
    for after_ms in [0, 2, 5, 10, 20, 40] {
        let engine = MemoryEngine::new();
        let (_folder, plan) = source(&engine, "rate = 4000").await;
        let workers = workers();
        let running = start(&plan, &engine, &Plugins::none(), &workers).await;
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        make_anew(&engine, "rows");
        running.drained().await.unwrap();
        let summary = running.stop(DEADLINE).await;
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        // A source that had finished before begins with the next run.
        run_once(&plan, &engine, &Plugins::none()).await;
        assert_eq!(values(&engine, "rows"), all_lines(), "after {after_ms} ms");
    }
}

#[tokio::test]
async fn progress_of_an_older_version_belongs_to_the_topic_that_is_there() {
    let engine = MemoryEngine::new();
    let (_folder, plan) = source(&engine, "").await;
    run_once(&plan, &engine, &Plugins::none()).await;
    let records = engine.committed_records(SOURCES_TOPIC);
    let newest = records.last().unwrap();
    let mut progress: serde_json::Value =
        serde_json::from_slice(newest.value.as_ref().unwrap()).unwrap();
    let fields = progress.as_object_mut().unwrap();
    assert!(fields.remove("topic_id").is_some());
    let value = serde_json::to_vec(&progress).unwrap();
    let key = newest.key.as_deref();
    engine
        .produce(SOURCES_TOPIC, 0, &[(key, Some(&value))])
        .unwrap();
    let summary = run_once(&plan, &engine, &Plugins::none()).await;
    assert_eq!(summary.records_in, 0, "it is finished");
    make_anew(&engine, "rows");
    let summary = run_once(&plan, &engine, &Plugins::none()).await;
    assert_eq!(summary.records_in, 200);
    assert_eq!(values(&engine, "rows"), all_lines());
}
