//! Real guests in the sandbox: what a stage does with them, and with those that misbehave.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use millstream_pipeline::manifest::Manifest;
use millstream_pipeline::plan::{Plan, PluginFacts, TopicFacts};
use millstream_pipeline::ports::Engine as _;
use millstream_pipeline::processor::MeteredPlugin;
use millstream_pipeline::run::{Summary, run};
use millstream_pipeline::testing::MemoryEngine;
use millstream_plugin_host::frames::EffectsWriter;
use millstream_plugin_host::{Engine, EngineOptions, Plugin};

use crate::rig::*;

const DESCRIPTOR: &str =
    r#"{"name":"guest","version":"1.0.0","frames":1,"inputs":["in"],"outputs":["out"]}"#;
/// Where the effects frame stands in the guest's memory.
const FRAME_AT: usize = 16_384;

/// A core module with the contract's functions. `process` leaves the count of consumed events on
/// the stack; `$emit` sends what stands at `FRAME_AT`.
async fn guest(process: &str, frame: &[u8]) -> Plugin {
    let escaped = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("\\{b:02x}")).collect() };
    let text = format!(
        r#"(module
  (import "millstream:plugin/effects@0.1.0" "emit" (func $emit (param i32 i32)))
  (import "millstream:plugin/diagnostics@0.1.0" "mark" (func $mark (param i32)))
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 131072))
  (data (i32.const 1024) "{}")
  (data (i32.const {FRAME_AT}) "{}")
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15)) (i32.const -16)))
    (local.get $at))
  (func (export "millstream:plugin/processor@0.1.0#describe") (result i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const {}))
    (i32.const 0))
  (func (export "millstream:plugin/processor@0.1.0#open") (param i32 i32) (result i32)
    (i32.store8 (i32.const 32) (i32.const 0))
    (i32.const 32))
  (global $frame (mut i32) (i32.const 0))
  (func $process (result i32) {process})
  (func (export "millstream:plugin/processor@0.1.0#process") (param $at i32) (param i32) (result i32)
    (global.set $heap (i32.const 131072))
    (global.set $frame (local.get $at))
    (i32.store (i32.const 52) (call $process))
    (i32.store8 (i32.const 48) (i32.const 0))
    (i32.const 48))
)"#,
        escaped(DESCRIPTOR.as_bytes()),
        escaped(frame),
        DESCRIPTOR.len(),
    );
    let mut wasm = wat::parse_str(text).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let wit = include_str!("../../../../plugin-sdk/wit/plugin.wit");
    let package = resolve.push_str("plugin.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut wasm, &resolve, world, encoding).unwrap();
    let engine = Engine::new(EngineOptions::default()).unwrap();
    engine.load(&wasm).await.unwrap()
}

/// Emits one record for one event.
async fn greeter() -> Plugin {
    let mut writer = EffectsWriter::new();
    writer.begin(0);
    let key = writer.field(b"k");
    let value = writer.field(b"hello");
    writer.output(0, key, value);
    let frame = writer.finish().to_vec();
    let process = format!(
        "(call $emit (i32.const {FRAME_AT}) (i32.const {})) (i32.const 1)",
        frame.len()
    );
    guest(&process, &frame).await
}

async fn run_guests(engine: &MemoryEngine, stages: &[(&str, Plugin, &str)]) -> Summary {
    let mut text = String::from("manifest = 1\npipeline = \"p\"\n");
    for (stage, _, settings) in stages {
        text.push_str(&format!(
            "[stage.{stage}]\nplugin = \"guest\"\ninputs = \"in\"\noutputs = \"{stage}.out\"\n{settings}\n"
        ));
    }
    let (manifest, report) = Manifest::read_text(Path::new("p.toml"), text);
    assert!(report.is_empty(), "{report}");
    let facts = stages
        .iter()
        .map(|(stage, plugin, _)| (stage.to_string(), PluginFacts::from(plugin.descriptor())))
        .collect();
    let input = engine.topic("in").await.unwrap().unwrap();
    let topics = TopicFacts {
        existing: BTreeMap::from([("in".to_owned(), input)]),
        default_partitions: 1,
        defaults: BTreeMap::new(),
    };
    let plan = Plan::new(&manifest.unwrap(), &facts, &topics, "p").unwrap();
    let metrics = Arc::default();
    let metered = |plugin: &Plugin| Arc::new(MeteredPlugin::new(plugin.clone(), &metrics));
    let plugins = stages
        .iter()
        .map(|(stage, plugin, _)| (stage.to_string(), metered(plugin)))
        .collect();
    let workers = workers();
    let running = run(plan, engine.clone(), plugins, &workers).await.unwrap();
    tokio::time::timeout(DEADLINE, running.drained())
        .await
        .expect("drained")
        .unwrap();
    running.stop(DEADLINE).await
}

fn engine_with_records(count: usize) -> MemoryEngine {
    let engine = MemoryEngine::new();
    engine.create_topic("in", 1);
    for number in 0..count {
        let value = format!("{number}");
        engine
            .produce("in", 0, &[(None, Some(value.as_bytes()))])
            .unwrap();
    }
    engine
}

#[tokio::test]
async fn a_guest_works_record_by_record() {
    let engine = engine_with_records(25);
    let summary = run_guests(&engine, &[("s", greeter().await, "")]).await;
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    assert_eq!(
        pairs(&engine.committed_records("s.out")),
        vec!["k=hello"; 25]
    );
}

#[tokio::test]
async fn a_hostile_guest_stops_its_own_stage_with_a_message_and_commits_nothing() {
    let cases = [
        ("unreachable", "", "it trapped"),
        (
            "(loop $again (br $again)) (i32.const 1)",
            "limits = { call_cpu = \"50ms\" }",
            "limits.call_cpu is 50 ms",
        ),
        (
            "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
            "limits = { memory = \"1MiB\" }",
            "limits.memory is 1048576",
        ),
        (
            "(call $emit (i32.const 0) (i32.const 7)) (i32.const 1)",
            "",
            "it broke the contract",
        ),
        ("(i32.const 99)", "", "it broke the contract"),
        ("(i32.const 0)", "", "it broke the contract"),
    ];
    for (process, limits, reason) in cases {
        let engine = engine_with_records(3);
        let hostile = guest(process, &[]).await;
        let stages = [("hostile", hostile, limits), ("kind", greeter().await, "")];
        let summary = run_guests(&engine, &stages).await;
        let [message] = &summary.failures[..] else {
            panic!("{process}: {:?}", summary.failures);
        };
        let place =
            "pipeline p, stage hostile, topic in, partition 0, offsets 0 to 2: the plugin failed";
        assert!(message.contains(place), "{message}");
        assert!(message.contains(reason), "{process}: {message}");
        assert!(engine.committed_records("hostile.out").is_empty());
        assert_eq!(engine.group_offset("millstream.p.hostile", "in", 0), None);
        assert_eq!(engine.committed_records("kind.out").len(), 3, "{process}");
    }
}

/// Marks each event when the frame asks for it, and traps at a value that begins with `2`.
const TRAP_AT_TWO: &str = r#"(local $i i32)
  (loop $next
    (if (i32.and (i32.load8_u offset=3 (global.get $frame)) (i32.const 1))
      (then (call $mark (local.get $i))))
    (if (i32.eq (i32.const 50) (i32.load8_u (i32.add (global.get $frame)
          (i32.load offset=32 (i32.add (i32.mul (local.get $i) (i32.const 48))
            (i32.add (global.get $frame) (i32.load offset=20 (global.get $frame))))))))
      (then unreachable))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.load offset=8 (global.get $frame)))))
  (local.get $i)"#;

#[tokio::test]
async fn a_trap_is_narrowed_to_the_record_at_which_the_guest_was() {
    let engine = engine_with_records(5);
    let stages = [("s", guest(TRAP_AT_TWO, &[]).await, "")];
    let summary = run_guests(&engine, &stages).await;
    let [message] = &summary.failures[..] else {
        panic!("{:?}", summary.failures);
    };
    assert!(
        message.contains("offsets 0 to 4: the plugin failed: it trapped"),
        "{message}"
    );
    assert!(
        message.contains("The plugin was at offset 2. "),
        "{message}"
    );

    let engine = engine_with_records(2);
    let stages = [("s", guest(TRAP_AT_TWO, &[]).await, "")];
    let summary = run_guests(&engine, &stages).await;
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    assert_eq!(engine.group_offset("millstream.p.s", "in", 0), Some(2));
}
