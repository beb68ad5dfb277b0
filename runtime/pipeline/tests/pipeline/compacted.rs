//! Records without keys on their way to compacted topics: compaction would drop them, so they do not fit.

use std::sync::atomic::{AtomicBool, Ordering};

use millstream_pipeline::testing::{FunctionPlugin, MemoryEngine, StoredRecord};

use crate::rig::*;

const ONE_STAGE: &str = "[stage.s]\nplugin = \"s\"\ninputs = \"in\"\noutputs = \"out\"\n";
const MISFIT: &str = "65536";

fn compact(engine: &MemoryEngine, topic: &str, compacted: bool) {
    engine.alter_topic(topic, |info| info.compacted = compacted);
}

/// An engine with the topics `in` and `out`, and records whose value says what key they have.
fn with_records(values: &[&str]) -> MemoryEngine {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    engine.create_topic("out", 2);
    produce(&engine, values);
    engine
}

fn produce(engine: &MemoryEngine, values: &[&str]) {
    for value in values {
        let key = value.strip_prefix("key ").map(str::as_bytes);
        engine
            .produce("in", 0, &[(key, Some(value.as_bytes()))])
            .unwrap();
    }
}

fn forward() -> FunctionPlugin {
    FunctionPlugin::new(1, |event, call| {
        call.emit(0, event.key, event.value);
        Ok(())
    })
}

fn header(record: &StoredRecord, name: &str) -> String {
    let mut headers = record.headers.iter();
    let found = headers.find(|(known, _)| known == name.as_bytes());
    text(found.unwrap_or_else(|| panic!("{name}")).1.as_ref())
}

#[tokio::test]
async fn an_output_without_a_key_for_a_compacted_topic_is_refused_by_the_stages_policy() {
    for policy in ["dead-letter", "skip", "fail"] {
        let engine = with_records(&["key a", "none", "key b"]);
        compact(&engine, "out", true);
        let plugins = Plugins::one("s", &["out"], forward());
        let body = format!("{ONE_STAGE}on_error = {{ reject = \"{policy}\" }}\n");
        let plan = plan(&body, &engine, &plugins).await;
        let summary = run_once(&plan, &engine, &plugins).await;
        let mut out = pairs(&engine.committed_records("out"));
        out.sort();
        if policy == "fail" {
            let message = &summary.failures[0];
            assert!(
                message.contains("offset 1: ") && message.contains("an output for out has no key"),
                "{message}"
            );
            assert_eq!(out, [""; 0]);
            continue;
        }
        assert_eq!(out, ["a=key a", "b=key b"], "{policy}");
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        let dead = engine.committed_records("p.s.dead");
        if policy == "skip" {
            assert_eq!((summary.skipped, dead.len()), (1, 0));
            continue;
        }
        assert_eq!(pairs(&dead), ["-=none"]);
        assert_eq!(header(&dead[0], "millstream.dead.code"), MISFIT);
        let message = header(&dead[0], "millstream.dead.message");
        assert!(
            message.contains("has no key") && message.contains("compacted"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn what_counts_is_the_topics_setting_of_the_moment() {
    let engine = with_records(&["one"]);
    let plugins = Plugins::one("s", &["out"], forward());
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    let workers = workers();
    let running = start(&plan, &engine, &plugins, &workers).await;
    let sent = || engine.committed_records("out").len();
    let dead = || engine.committed_records("p.s.dead").len();
    eventually("one", || sent() == 1).await;
    for (compacted, value, expected) in [
        (true, "two", (1, 1)),
        (true, "key three", (2, 1)),
        (false, "four", (3, 1)),
    ] {
        compact(&engine, "out", compacted);
        produce(&engine, &[value]);
        eventually(value, || (sent(), dead()) == expected).await;
    }
    let summary = running.stop(DEADLINE).await;
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
}

/// The checks have passed the record, and then the topic changes, before the batch is sent.
#[tokio::test]
async fn a_topic_that_changes_behind_the_check_is_found_by_the_append() {
    for (then, expected) in [
        (Change::Compacted, ["out: key a", "p.s.dead: none"]),
        (Change::Smaller, ["out: key a", "p.s.dead: none"]),
    ] {
        let engine = with_records(&["none", "key a"]);
        let handle = engine.clone();
        let is_first = AtomicBool::new(true);
        let plugin = FunctionPlugin::new(1, move |event, call| {
            let value = match (event.value, then) {
                (Some(b"none"), Change::Smaller) => Some(&[b'x'; 3_000][..]),
                (value, _) => value,
            };
            call.emit(0, event.key, value);
            if is_first.swap(false, Ordering::Relaxed) {
                handle.alter_topic("out", |info| match then {
                    Change::Compacted => info.compacted = true,
                    Change::Smaller => info.message_bytes_max = 2_000,
                });
            }
            Ok(())
        });
        let plugins = Plugins::one("s", &["out"], plugin);
        let plan = plan(ONE_STAGE, &engine, &plugins).await;
        let summary = run_once(&plan, &engine, &plugins).await;
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        assert!(summary.retries > 0, "{summary:?}");
        let found: Vec<String> = ["out", "p.s.dead"]
            .iter()
            .flat_map(|topic| {
                let records = engine.committed_records(topic).into_iter();
                records.map(move |record| format!("{topic}: {}", text(record.value.as_ref())))
            })
            .collect();
        assert_eq!(found, expected);
    }
}

#[derive(Clone, Copy)]
enum Change {
    Compacted,
    Smaller,
}

#[tokio::test]
async fn dead_letters_are_not_sent_to_a_topic_that_became_compacted() {
    let engine = with_records(&["key a"]);
    let refusing = FunctionPlugin::new(1, |_, call| {
        call.refuse(7, "no");
        Ok(())
    });
    let plugins = Plugins::one("s", &["out"], refusing);
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    engine.create_topic("p.s.dead", 1);
    compact(&engine, "p.s.dead", true);
    let summary = run_once(&plan, &engine, &plugins).await;
    let message = &summary.failures[0];
    assert!(
        message.contains("the topic p.s.dead is compacted")
            && message.contains("Take `compact` out"),
        "{message}"
    );
    assert_eq!(engine.group_offset("millstream.p.s", "in", 0), None);
}

#[tokio::test]
async fn a_source_sends_no_row_without_a_key_to_a_compacted_topic() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows"), "{\"id\":1}\n{\"no\":2}\n").unwrap();
    let engine = MemoryEngine::new();
    engine.create_topic("rows", 1);
    compact(&engine, "rows", true);
    let body = "[source.s]\nfile = \"rows\"\nformat = \"jsonl\"\ntopic = \"rows\"\nkey = \"id\"\n";
    let path = folder.path().join("p.toml");
    let plan = plan_at(&path, body, &engine, &Plugins::none()).await;
    let summary = run_once(&plan, &engine, &Plugins::none()).await;
    let message = &summary.failures[0];
    assert!(
        message.contains("rows, row 2: an output for rows has no key")
            && message.contains("Name a `key`"),
        "{message}"
    );
}
