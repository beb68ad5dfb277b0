//! Makes plugins of a few lines of `.wat`: a skeleton with the contract's functions, around a body for `process`.

use std::sync::Arc;

use millstream_plugin_host::frames::{EventsBuilder, EventsFrame, EventsOptions, RunOptions};
use millstream_plugin_host::{
    Engine, EngineOptions, InputBinding, Instance, InstantiateError, Limits, LoadError,
    OpenContext, Plugin, Silent,
};

pub const DESCRIPTOR: &str =
    r#"{"name":"guest","version":"1.0.0","frames":1,"inputs":["in"],"outputs":["a","b"]}"#;

/// A guest in text. `process` sees `$at` and `$length` of the frame and leaves the number of events consumed on the
/// stack, or jumps out.
pub struct Guest {
    pub process: String,
    /// Runs in `open`.
    pub open: &'static str,
    /// Runs in `describe`.
    pub describe: &'static str,
    pub descriptor: String,
    /// Module fields beside the skeleton's.
    pub fields: String,
    /// Bytes at address 16384 (`FRAME`).
    pub data: Vec<u8>,
    pub memory_pages: u32,
}

/// Address of `Guest::data`.
pub const FRAME: u32 = 16384;

impl Guest {
    pub fn new(process: impl Into<String>) -> Self {
        Self {
            process: process.into(),
            open: "",
            describe: "",
            descriptor: DESCRIPTOR.to_owned(),
            fields: String::new(),
            data: Vec::new(),
            memory_pages: 4,
        }
    }

    /// A guest that emits these frames (as bytes) in each call and consumes all of `consumed`.
    pub fn emitting(frame: &[u8], consumed: u32) -> Self {
        let length = frame.len();
        let mut guest = Self::new(format!(
            "(call $emit (i32.const {FRAME}) (i32.const {length})) (i32.const {consumed})"
        ));
        guest.data = frame.to_vec();
        guest
    }

    /// Text of the core module.
    pub fn text(&self) -> String {
        let Self {
            process,
            open,
            describe,
            descriptor,
            fields,
            memory_pages,
            ..
        } = self;
        let data = escaped(&self.data);
        let descriptor_data = escaped(descriptor.as_bytes());
        let descriptor_length = descriptor.len();
        format!(
            r#"(module
  (import "millstream:plugin/effects@0.1.0" "emit" (func $emit (param i32 i32)))
  (import "millstream:plugin/diagnostics@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))
  (import "millstream:plugin/diagnostics@0.1.0" "mark" (func $mark (param i32)))
  (import "millstream:plugin/diagnostics@0.1.0" "count" (func $count (param i32 i32 i64)))
  (memory (export "memory") {memory_pages})
  (global $heap (mut i32) (i32.const 131072))
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 1024) "{descriptor_data}")
  (data (i32.const {FRAME}) "{data}")
  {fields}
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (local.get $at) (i32.and (i32.add (local.get $size) (i32.const 15)) (i32.const -16))))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
      (then (if (i32.eq (memory.grow (i32.const 256)) (i32.const -1)) (then (unreachable)))))
    (local.get $at))
  (func (export "millstream:plugin/processor@0.1.0#describe") (result i32)
    {describe}
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const {descriptor_length}))
    (i32.const 0))
  (func (export "millstream:plugin/processor@0.1.0#open") (param $at i32) (param $length i32) (result i32)
    {open}
    (i32.store8 (i32.const 32) (i32.const 0))
    (i32.const 32))
  (func $process (param $at i32) (param $length i32) (result i32)
    {process})
  (func (export "millstream:plugin/processor@0.1.0#process") (param $at i32) (param $length i32) (result i32)
    (global.set $heap (i32.const 131072))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store (i32.const 52) (call $process (local.get $at) (local.get $length)))
    (i32.store8 (i32.const 48) (i32.const 0))
    (i32.const 48))
)"#
        )
    }

    /// The core module with its component type.
    pub fn wasm(&self) -> Vec<u8> {
        with_component_type(&self.text())
    }

    pub async fn load(&self) -> Result<Plugin, LoadError> {
        engine().load(&self.wasm()).await
    }

    pub async fn open(&self, limits: Limits) -> Instance {
        let plugin = self.load().await.unwrap();
        instantiate(&plugin, limits).await.unwrap()
    }
}

pub async fn instantiate(plugin: &Plugin, limits: Limits) -> Result<Instance, InstantiateError> {
    plugin
        .instantiate(&context(), limits, Arc::new(Silent))
        .await
}

pub fn context() -> OpenContext {
    OpenContext {
        pipeline: "p".to_owned(),
        stage: "s".to_owned(),
        partition: 0,
        inputs: vec![InputBinding {
            name: "in".to_owned(),
            topic: "t".to_owned(),
        }],
        outputs: vec!["a".to_owned(), "b".to_owned()],
        config: serde_json::Value::Null,
    }
}

pub fn engine() -> Engine {
    Engine::new(EngineOptions::default()).unwrap()
}

/// Assembles text and adds the contract's component type, as an SDK does.
pub fn with_component_type(text: &str) -> Vec<u8> {
    let wit = include_str!("../../../../plugin-sdk/wit/plugin.wit");
    with_world(text, wit)
}

/// Assembles text and adds the component type of the world `plugin` of this WIT.
pub fn with_world(text: &str, wit: &str) -> Vec<u8> {
    let mut wasm = wat::parse_str(text).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("plugin.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    wit_component::embed_component_metadata(
        &mut wasm,
        &resolve,
        world,
        wit_component::StringEncoding::UTF8,
    )
    .unwrap();
    wasm
}

/// A frame of `count` records with key `key`, value `value-<n>` and one header.
pub fn events(count: u32) -> EventsFrame {
    let mut builder = EventsBuilder::new(EventsOptions::default());
    builder.run(RunOptions::default());
    for number in 0..count {
        let value = format!("value-{number}");
        let header: (&[u8], Option<&[u8]>) = (b"name", Some(b"header"));
        assert!(builder.record(
            u64::from(number),
            1000,
            false,
            Some(b"key"),
            Some(value.as_bytes()),
            [header]
        ));
    }
    builder.finish()
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}
