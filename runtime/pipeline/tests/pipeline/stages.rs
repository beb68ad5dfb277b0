//! What a stage does with records when nothing goes wrong.

use std::time::Duration;

use millstream_pipeline::manifest::Manifest;
use millstream_pipeline::plan::Plan;
use millstream_pipeline::run::{beginnings, superseded_starts};
use millstream_pipeline::task::partitioner::partition_for_key;
use millstream_pipeline::testing::{FunctionPlugin, KeyValue, MemoryEngine};
use millstream_records::{BatchBuilder, BatchOptions, Compression, Marker};

use crate::rig::*;

const ONE_STAGE: &str = "[stage.s]\nplugin = \"s\"\ninputs = \"in\"\noutputs = \"out\"\n";

#[tokio::test]
async fn records_pass_with_keys_headers_tombstones_and_timestamps() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    let mut batch = BatchBuilder::new(BatchOptions {
        compression: Compression::Zstd,
        ..BatchOptions::default()
    });
    let headers: [(&[u8], Option<&[u8]>); 2] = [(b"h", Some(b"1")), (b"null", None)];
    batch.append(5, Some(b"a"), Some(b"one"), headers).unwrap();
    batch.append(7, Some(b"b"), None, []).unwrap();
    batch.append(9, None, Some(b""), []).unwrap();
    engine.produce_batch("in", 0, batch).unwrap();

    let copy = FunctionPlugin::new(1, |event, call| {
        let record = call.emit(0, event.key, event.value);
        for header in event.headers.iter().flatten() {
            call.with_header(record, header.name, header.value);
        }
        if event.timestamp == 9 {
            call.with_timestamp(record, 42);
        }
        Ok(())
    });
    let plugins = Plugins::one("s", &["out"], copy);
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    let summary = run_once(&plan, &engine, &plugins).await;

    let out = engine.committed_records("out");
    assert_eq!(pairs(&out), ["a=one", "b=-", "-="]);
    let times: Vec<i64> = out.iter().map(|record| record.timestamp).collect();
    assert_eq!(times, [5, 7, 42]);
    assert_eq!(
        out[0].headers,
        [
            (b"h".to_vec(), Some(b"1".to_vec())),
            (b"null".to_vec(), None)
        ]
    );
    assert_eq!((summary.records_in, summary.transactions), (3, 1));
    assert_eq!(engine.group_offset("millstream.p.s", "in", 0), Some(3));
    assert!(summary.delay.is_some() && summary.failures.is_empty());
}

#[tokio::test]
async fn outputs_go_where_kafkas_partitioner_would_send_them() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    engine.create_topic("out", 5);
    let keys: Vec<String> = (0..200).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        engine
            .produce("in", 0, &[(Some(key.as_bytes()), Some(b"v"))])
            .unwrap();
    }
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    run_once(&plan, &engine, &plugins).await;
    let out = engine.committed_records("out");
    assert_eq!(out.len(), 200);
    for record in &out {
        let key = record.key.as_ref().unwrap();
        assert_eq!(record.partition, partition_for_key(key, 5));
    }
}

#[tokio::test]
async fn records_without_a_key_stay_together_and_explicit_partitions_are_honoured() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    engine.create_topic("out", 4);
    engine.create_topic("fixed", 4);
    let values: Vec<KeyValue<'_>> = vec![(None, Some(b"v")); 50];
    engine.produce("in", 0, &values).unwrap();
    let plugin = FunctionPlugin::new(2, |event, call| {
        call.emit(0, None, event.value);
        let fixed = call.emit(1, Some(b"some key"), event.value);
        call.to_partition(fixed, (event.offset % 4) as i32);
        Ok(())
    });
    let plugins = Plugins::one("s", &["a", "b"], plugin);
    let body =
        "[stage.s]\nplugin = \"s\"\ninputs = \"in\"\noutputs = { a = \"out\", b = \"fixed\" }\n";
    let plan = plan(body, &engine, &plugins).await;
    let summary = run_once(&plan, &engine, &plugins).await;
    assert_eq!(summary.transactions, 1);
    let out = engine.committed_records("out");
    assert_eq!(out.len(), 50);
    assert!(
        out.iter()
            .all(|record| record.partition == out[0].partition)
    );
    let fixed = engine.committed_records("fixed");
    for partition in 0..4 {
        let count = fixed
            .iter()
            .filter(|record| record.partition == partition)
            .count();
        assert!((12..=13).contains(&count), "{count}");
    }
}

#[tokio::test]
async fn a_refused_record_goes_by_the_stages_policy() {
    for (policy, dead, failures) in [("dead-letter", 1, 0), ("skip", 0, 0), ("fail", 0, 1)] {
        let engine = MemoryEngine::new();
        engine.create_topic("in", 2);
        let mut batch = BatchBuilder::new(BatchOptions::default());
        let header: [(&[u8], Option<&[u8]>); 1] = [(b"own", Some(b"h"))];
        batch.append(5, Some(b"k"), Some(b"good"), header).unwrap();
        batch.append(6, Some(b"k"), Some(b"bad"), header).unwrap();
        batch.append(7, Some(b"k"), Some(b"fine"), header).unwrap();
        engine.produce_batch("in", 1, batch).unwrap();
        let plugin = FunctionPlugin::new(1, |event, call| {
            call.emit(0, event.key, event.value);
            if event.value == Some(b"bad") {
                call.refuse(7, "no arrival delay");
            }
            Ok(())
        });
        let plugins = Plugins::one("s", &["out"], plugin);
        let body = format!("{ONE_STAGE}on_error = {{ reject = \"{policy}\" }}\n");
        let plan = plan(&body, &engine, &plugins).await;
        let summary = run_once(&plan, &engine, &plugins).await;

        let out = pairs(&engine.committed_records("out"));
        let letters = engine.committed_records("p.s.dead");
        assert_eq!(letters.len(), dead, "{policy}");
        assert_eq!(summary.failures.len(), failures, "{policy}");
        if policy == "fail" {
            assert!(out.is_empty(), "nothing of the batch is committed: {out:?}");
            let message = &summary.failures[0];
            for part in [
                "pipeline p, stage s, topic in, partition 1, offset 1",
                "no arrival delay (code 7)",
            ] {
                assert!(message.contains(part), "{message}");
            }
            continue;
        }
        assert_eq!(out, ["k=good", "k=fine"]);
        assert_eq!(summary.skipped, u64::from(policy == "skip"));
        assert_eq!(summary.dead_letters as usize, dead);
        if let [letter] = &letters[..] {
            assert_eq!((letter.partition, letter.timestamp), (1, 6));
            assert_eq!(pairs(&letters), ["k=bad"]);
            let headers: Vec<String> = letter
                .headers
                .iter()
                .map(|(name, value)| format!("{}={}", text(Some(name)), text(value.as_ref())))
                .collect();
            assert_eq!(
                headers,
                [
                    "own=h",
                    "millstream.dead.pipeline=p",
                    "millstream.dead.stage=s",
                    "millstream.dead.topic=in",
                    "millstream.dead.partition=1",
                    "millstream.dead.offset=1",
                    "millstream.dead.code=7",
                    "millstream.dead.message=no arrival delay",
                ]
            );
        }
    }
}

#[tokio::test]
async fn an_output_that_cannot_be_sent_costs_only_its_record() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    engine.create_topic_with("out", 2, 2_000, Compression::None);
    let records: Vec<KeyValue<'_>> = [&b"good"[..], b"far", b"large", b"fine"]
        .map(|value| (None, Some(value)))
        .to_vec();
    engine.produce("in", 0, &records).unwrap();
    let plugin = FunctionPlugin::new(1, |event, call| {
        let record = call.emit(0, Some(b"k"), event.value);
        if event.value == Some(b"far") {
            call.to_partition(record, 2);
        }
        if event.value == Some(b"large") {
            call.emit(0, Some(b"k"), Some(&[b'x'; 3_000]));
        }
        Ok(())
    });
    let plugins = Plugins::one("s", &["out"], plugin);
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    run_once(&plan, &engine, &plugins).await;
    assert_eq!(
        pairs(&engine.committed_records("out")),
        ["k=good", "k=fine"]
    );
    let dead = engine.committed_records("p.s.dead");
    assert_eq!(pairs(&dead), ["-=far", "-=large"]);
    let message = |index: usize| text(dead[index].headers.last().unwrap().1.as_ref());
    assert_eq!(
        message(0),
        "an output for out goes to partition 2; it has 2"
    );
    assert!(
        message(1).contains("the topic takes 2000"),
        "{}",
        message(1)
    );
}

#[tokio::test]
async fn batches_respect_the_topics_limit_and_compression() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    engine.create_topic_with("out", 1, 4_000, Compression::Lz4);
    let value = [b'v'; 100];
    let records: Vec<KeyValue<'_>> = vec![(Some(b"k"), Some(&value)); 500];
    engine.produce("in", 0, &records).unwrap();
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    run_once(&plan, &engine, &plugins).await;
    assert_eq!(engine.committed_records("out").len(), 500);
}

#[tokio::test]
async fn a_plugin_may_consume_as_few_events_as_it_likes() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    let values: Vec<String> = (0..100).map(|n| format!("v{n}")).collect();
    for value in &values {
        engine
            .produce("in", 0, &[(Some(b"k"), Some(value.as_bytes()))])
            .unwrap();
    }
    let plugins = Plugins::one("s", &["out"], capitals().consuming(3));
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    run_once(&plan, &engine, &plugins).await;
    let expected: Vec<String> = (0..100).map(|n| format!("k=V{n}")).collect();
    assert_eq!(pairs(&engine.committed_records("out")), expected);
}

#[tokio::test]
async fn only_committed_records_are_processed_and_positions_pass_markers() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    let place = ("in", 0);
    engine.produce("in", 0, &[(None, Some(b"plain"))]).unwrap();
    engine
        .produce_in_transaction("a", place, &[b"aborted"], Some(Marker::Abort))
        .unwrap();
    engine
        .produce_in_transaction("b", place, &[b"committed"], Some(Marker::Commit))
        .unwrap();
    engine
        .produce_in_transaction("c", place, &[b"aborted too"], Some(Marker::Abort))
        .unwrap();
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    let summary = run_once(&plan, &engine, &plugins).await;
    assert_eq!(
        pairs(&engine.committed_records("out")),
        ["-=PLAIN", "-=COMMITTED"]
    );
    assert_eq!(summary.records_in, 2);
    // Seven: four records and three markers.
    assert_eq!(engine.group_offset("millstream.p.s", "in", 0), Some(7));
}

#[tokio::test]
async fn records_behind_an_open_transaction_wait_for_it() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    engine.produce("in", 0, &[(None, Some(b"before"))]).unwrap();
    engine
        .produce_in_transaction("open", ("in", 0), &[b"open"], None)
        .unwrap();
    engine.produce("in", 0, &[(None, Some(b"behind"))]).unwrap();
    let plugins = Plugins::one("s", &["out"], capitals());
    let plan = plan(ONE_STAGE, &engine, &plugins).await;
    let workers = workers();
    let running = start(&plan, &engine, &plugins, &workers).await;
    running.drained().await.unwrap();
    assert_eq!(pairs(&engine.committed_records("out")), ["-=BEFORE"]);
    // The owner comes back: its transaction is aborted, and the stage goes on by itself.
    engine
        .produce_in_transaction("open", ("in", 0), &[b"again"], Some(Marker::Commit))
        .unwrap();
    eventually("the rest", || engine.committed_records("out").len() == 3).await;
    assert_eq!(
        pairs(&engine.committed_records("out")),
        ["-=BEFORE", "-=BEHIND", "-=AGAIN"]
    );
    running.stop(DEADLINE).await;
}

#[tokio::test]
async fn a_stage_starts_where_the_manifest_says_and_only_the_first_time() {
    let start_at = [
        ("\"earliest\"", vec!["-=0", "-=1", "-=2", "-=3"]),
        ("\"latest\"", vec![]),
        ("{ offsets = { \"0\" = 2 } }", vec!["-=2", "-=3"]),
        ("{ timestamp = \"1970-01-01T00:00:01.003Z\" }", vec!["-=3"]),
    ];
    for (at, expected) in start_at {
        let engine = MemoryEngine::new();
        engine.create_topic("in", 1);
        let records: Vec<KeyValue<'_>> = [&b"0"[..], b"1", b"2", b"3"]
            .map(|value| (None, Some(value)))
            .to_vec();
        engine.produce("in", 0, &records).unwrap();
        let plugins = Plugins::one("s", &["out"], capitals());
        let body = format!("{ONE_STAGE}start = {{ if_no_offset = {at} }}\n");
        let plan = plan(&body, &engine, &plugins).await;
        let notices = async || superseded_starts(&plan, &engine).await.unwrap();
        assert_eq!(notices().await, [""; 0], "{at}");
        run_once(&plan, &engine, &plugins).await;
        assert_eq!(pairs(&engine.committed_records("out")), expected, "{at}");
        // The owner is told so where the manifest asks for something else.
        let told = notices().await;
        assert_eq!(told.len(), usize::from(at != "\"earliest\""), "{at}");
        for notice in told {
            assert!(
                notice.contains("`start` of stage s no longer applies")
                    && notice.contains("run --fresh"),
                "{notice}"
            );
        }
        // The second time the committed offset counts, whatever the manifest says.
        engine.produce("in", 0, &[(None, Some(b"next"))]).unwrap();
        run_once(&plan, &engine, &plugins).await;
        let out = pairs(&engine.committed_records("out"));
        assert_eq!(out.len(), expected.len() + 1, "{at}");
        assert_eq!(out.last().unwrap(), "-=NEXT");
    }
}

#[tokio::test]
async fn where_a_stage_begins_is_known_before_it_runs() {
    for (at, ahead) in [
        ("\"earliest\"", 4),
        ("\"latest\"", 0),
        ("{ offsets = { \"0\" = 2 } }", 2),
        ("{ timestamp = \"1970-01-01T00:00:01.003Z\" }", 1),
    ] {
        let engine = MemoryEngine::new();
        let plugins = Plugins::one("s", &["out"], capitals());
        let body = format!("{ONE_STAGE}start = {{ if_no_offset = {at} }}\n");
        let begins = async |plan: &Plan| {
            let begins = beginnings(&plan.stages[0], &engine).await.unwrap();
            let [beginning] = &begins[..] else {
                panic!("{begins:?}");
            };
            assert_eq!(beginning.topic, "in");
            (beginning.ahead, beginning.committed)
        };
        engine.create_topic("in", 1);
        let plan = plan(&body, &engine, &plugins).await;
        // In a topic that is not there nothing is ahead.
        engine.delete_topic("in");
        assert_eq!(begins(&plan).await, (0, 0), "{at}");
        engine.create_topic("in", 1);
        let records: Vec<KeyValue<'_>> = [&b"0"[..], b"1", b"2", b"3"]
            .map(|value| (None, Some(value)))
            .to_vec();
        engine.produce("in", 0, &records).unwrap();
        assert_eq!(begins(&plan).await, (ahead, 0), "{at}");
        run_once(&plan, &engine, &plugins).await;
        assert_eq!(begins(&plan).await, (0, 1), "{at}");
        engine.produce("in", 0, &[(None, Some(b"next"))]).unwrap();
        assert_eq!(begins(&plan).await, (1, 1), "{at}");
    }
}

#[tokio::test]
async fn a_stage_with_two_inputs_reads_both() {
    let engine = MemoryEngine::new();
    engine.create_topic("left", 2);
    engine.create_topic("right", 2);
    for round in 0..10 {
        let value = format!("{round}");
        for (topic, partition) in [("left", 0), ("left", 1), ("right", 1)] {
            engine
                .produce(topic, partition, &[(None, Some(value.as_bytes()))])
                .unwrap();
        }
    }
    let plugin = FunctionPlugin::new(1, |event, call| {
        call.emit(0, Some(b"k"), event.value);
        Ok(())
    });
    let plugins = Plugins::none().with_inputs("s", &["l", "r"], &["out"], plugin);
    let body =
        "[stage.s]\nplugin = \"s\"\ninputs = { l = \"left\", r = \"right\" }\noutputs = \"out\"\n";
    let plan = plan(body, &engine, &plugins).await;
    let summary = run_once(&plan, &engine, &plugins).await;
    assert_eq!(summary.records_in, 30);
    assert_eq!(engine.committed_records("out").len(), 30);
    assert_eq!(engine.group_offset("millstream.p.s", "right", 1), Some(10));
    assert_eq!(engine.group_offset("millstream.p.s", "right", 0), Some(0));
}

#[tokio::test]
async fn two_outputs_on_one_topic_keep_their_order() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    for value in [b"1", b"2", b"3"] {
        engine
            .produce("in", 0, &[(Some(b"k"), Some(value))])
            .unwrap();
    }
    let plugin = FunctionPlugin::new(2, |event, call| {
        call.emit(0, event.key, event.value);
        call.emit(1, event.key, Some(b"second"));
        Ok(())
    });
    let plugins = Plugins::one("s", &["a", "b"], plugin);
    let body =
        "[stage.s]\nplugin = \"s\"\ninputs = \"in\"\noutputs = { a = \"out\", b = \"out\" }\n";
    let plan = plan(body, &engine, &plugins).await;
    let summary = run_once(&plan, &engine, &plugins).await;
    assert_eq!(
        pairs(&engine.committed_records("out")),
        ["k=1", "k=second", "k=2", "k=second", "k=3", "k=second"]
    );
    assert_eq!(summary.topics[0].records, 6);
}

#[tokio::test]
async fn under_load_a_transaction_is_committed_after_the_interval() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    for n in 0..40 {
        let value = format!("{n}");
        engine
            .produce("in", 0, &[(None, Some(value.as_bytes()))])
            .unwrap();
    }
    // Each call costs 2 ms and takes one record, so the task is behind all the time.
    let slow = FunctionPlugin::new(1, |event, call| {
        std::thread::sleep(Duration::from_millis(2));
        call.emit(0, event.key, event.value);
        Ok(())
    });
    let plugins = Plugins::one("s", &["out"], slow.consuming(1));
    let body = format!("commit = {{ max_interval = \"10ms\" }}\n{ONE_STAGE}");
    let plan = plan(&body, &engine, &plugins).await;
    let summary = run_once(&plan, &engine, &plugins).await;
    // At most one commit a record; at least one for what the interval allows with room to spare.
    assert!(summary.transactions >= 4, "{}", summary.transactions);
    assert!(summary.transactions <= 20, "{}", summary.transactions);
}

#[tokio::test]
async fn the_second_stage_sees_what_the_first_one_committed() {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 3);
    for n in 0..300 {
        let value = format!("{n}");
        let key = format!("{}", n % 7);
        engine
            .produce(
                "in",
                n % 3,
                &[(Some(key.as_bytes()), Some(value.as_bytes()))],
            )
            .unwrap();
    }
    let plugins = Plugins::one("first", &["out"], capitals()).and(
        "second",
        &["even", "odd"],
        FunctionPlugin::new(2, |event, call| {
            let number: u16 = std::str::from_utf8(event.value.unwrap())
                .unwrap()
                .parse()
                .unwrap();
            call.emit(number % 2, event.key, event.value);
            Ok(())
        }),
    );
    let body = "[stage.second]\nplugin = \"second\"\ninputs = \"middle\"\noutputs = { even = \"even\", odd = \"odd\" }\n\
[stage.first]\nplugin = \"first\"\ninputs = \"in\"\noutputs = \"middle\"\n";
    let plan = plan(body, &engine, &plugins).await;
    let summary = run_once(&plan, &engine, &plugins).await;
    assert_eq!(engine.committed_records("even").len(), 150);
    assert_eq!(engine.committed_records("odd").len(), 150);
    assert_eq!(summary.records_in, 300);
    let topics: Vec<_> = summary
        .topics
        .iter()
        .map(|t| (t.topic.as_str(), t.records))
        .collect();
    assert_eq!(
        topics,
        [
            ("middle", 300),
            ("p.first.dead", 0),
            ("even", 150),
            ("odd", 150),
            ("p.second.dead", 0)
        ]
    );
}

#[test]
fn the_manifest_of_these_tests_is_read_from_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.toml");
    std::fs::write(
        &path,
        format!("manifest = 1\npipeline = \"p\"\n{ONE_STAGE}"),
    )
    .unwrap();
    assert_eq!(Manifest::parse(&path).unwrap().stages.len(), 1);
}
