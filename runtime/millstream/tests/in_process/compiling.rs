//! Plugins are compiled by a process of their own, under limits: what explodes the compiler costs that process its
//! life, and the node an error message.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use millstream_plugin_host::{
    ChildCompiler, CompileLimit, CompileLimits, Engine, EngineOptions, LoadError,
};

const DESCRIPTOR: &str =
    r#"{"name":"guest","version":"1.0.0","frames":1,"inputs":["in"],"outputs":["out"]}"#;

/// A module with the contract's functions, and these fields beside them.
fn module(fields: &str) -> Vec<u8> {
    let descriptor = DESCRIPTOR.replace('"', "\\22");
    let length = DESCRIPTOR.len();
    let text = format!(
        r#"(module
  (memory (export "memory") 4)
  (data (i32.const 1024) "{descriptor}")
  {fields}
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072))
  (func (export "millstream:plugin/processor@0.1.0#describe") (result i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const {length}))
    (i32.const 0))
  (func (export "millstream:plugin/processor@0.1.0#open") (param i32 i32) (result i32)
    (i32.store8 (i32.const 32) (i32.const 0))
    (i32.const 32))
  (func (export "millstream:plugin/processor@0.1.0#process") (param i32 i32) (result i32)
    (i32.store8 (i32.const 48) (i32.const 0))
    (i32.const 48))
)"#
    );
    let mut wasm = wat::parse_str(text).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let wit = include_str!("../../../../plugin-sdk/wit/plugin.wit");
    let package = resolve.push_str("plugin.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut wasm, &resolve, world, encoding).unwrap();
    wasm
}

/// Compiling this takes seconds and hundreds of megabytes.
fn exploding() -> Vec<u8> {
    let steps = "local.get 0 i64.mul local.get 1 i64.xor i64.popcnt ".repeat(100_000);
    let function = format!("(func (param i64 i64) (result i64) local.get 0 {steps})");
    module(&function.repeat(8))
}

fn compiler(limits: CompileLimits) -> ChildCompiler {
    ChildCompiler {
        program: env!("CARGO_BIN_EXE_millstream").into(),
        arguments: vec!["compile-plugin".into()],
        limits,
    }
}

fn engine(cache: &Path, compiler: ChildCompiler) -> Engine {
    Engine::new(EngineOptions {
        cache_dir: Some(cache.to_owned()),
        compiler: Some(compiler),
    })
    .unwrap()
}

fn artifacts(cache: &Path) -> usize {
    let entries = std::fs::read_dir(cache).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".cwasm"))
        .count()
}

#[tokio::test]
async fn a_sound_module_is_compiled_once_by_a_process_of_its_own() {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().join("compiled");
    let engine_there = engine(&cache, compiler(CompileLimits::default()));
    let plugin = engine_there.load(&module("")).await.unwrap();
    assert_eq!(plugin.descriptor().name, "guest");
    assert_eq!(artifacts(&cache), 1);
    // What is in the cache needs no process.
    let nobody = ChildCompiler {
        program: "/nowhere".into(),
        ..compiler(CompileLimits::default())
    };
    let engine_without = engine(&cache, nobody);
    engine_without.load(&module("")).await.unwrap();
    let refused = engine_without.load(&module("(func)")).await.unwrap_err();
    assert!(matches!(&refused, LoadError::Host(_)), "{refused}");
    assert!(refused.to_string().contains("/nowhere"), "{refused}");
}

#[tokio::test]
async fn a_module_that_explodes_the_compiler_is_refused_and_the_node_goes_on() {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().join("compiled");
    let exploding = exploding();
    let little_memory = CompileLimits {
        memory_bytes: 400 << 20,
        ..CompileLimits::default()
    };
    let little_time = CompileLimits {
        cpu: Duration::from_secs(1),
        ..CompileLimits::default()
    };
    for (limits, expected, text) in [
        (
            little_memory,
            CompileLimit::Memory { bytes: 400 << 20 },
            "more than 400 MiB of memory",
        ),
        (
            little_time,
            CompileLimit::Cpu { seconds: 1 },
            "more than 1 s of CPU",
        ),
    ] {
        let engine = engine(&cache, compiler(limits));
        let error = engine.load(&exploding).await.unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(
            matches!(&error, LoadError::CompileLimit { limit } if *limit == expected),
            "{error}"
        );
        assert_eq!(artifacts(&cache), 0);
        engine.load(&module("")).await.unwrap();
        assert_eq!(artifacts(&cache), 1);
        std::fs::remove_dir_all(&cache).unwrap();
    }
}

#[tokio::test]
async fn a_compiler_that_hangs_is_killed_and_one_that_crashes_is_reported() {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().join("compiled");
    let shell = |script: &str| ChildCompiler {
        program: "/bin/sh".into(),
        arguments: ["-c", script].map(OsString::from).to_vec(),
        limits: CompileLimits {
            wall: Duration::from_millis(200),
            ..CompileLimits::default()
        },
    };
    let load = async |script: &str| {
        let engine = engine(&cache, shell(script));
        engine.load(&module("")).await.unwrap_err()
    };
    let hung = load("exec sleep 600").await;
    let limit = CompileLimit::Wall { seconds: 0 };
    assert!(
        matches!(&hung, LoadError::CompileLimit { limit: found } if *found == limit),
        "{hung}"
    );
    let crashed = load("echo so and so >&2; kill -SEGV $$").await;
    assert!(
        crashed.to_string().contains("SIGSEGV") && crashed.to_string().contains("so and so"),
        "{crashed}"
    );
    // It says that all is well, and there is no artifact.
    let idle = load("exec true").await;
    assert!(matches!(&idle, LoadError::Host(_)), "{idle}");
}

#[tokio::test]
async fn what_is_wrong_with_a_module_is_said_as_before() {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().join("compiled");
    let in_process = Engine::new(EngineOptions::default()).unwrap();
    let engine = engine(&cache, compiler(CompileLimits::default()));
    for wrong in [&b"\0asm\x01\0\0\0"[..], b"text", b""] {
        let expected = in_process.load(wrong).await.unwrap_err().to_string();
        assert_eq!(engine.load(wrong).await.unwrap_err().to_string(), expected);
    }
    assert_eq!(artifacts(&cache), 0);
}

#[test]
fn the_command_line_names_the_plugin_and_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = dir.path().join("large.wasm");
    std::fs::write(&wasm, exploding()).unwrap();
    let manifest = dir.path().join("pipeline.toml");
    let text = "manifest = 1\npipeline = \"p\"\n[topic.x]\npartitions = 1\n\
                [stage.mill]\nplugin = \"./large.wasm\"\ninputs = \"x\"\noutputs = \"y\"\n";
    std::fs::write(&manifest, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .arg("validate")
        .arg(&manifest)
        .env("MILLSTREAM_CACHE_DIR", dir.path().join("cache"))
        .env("MILLSTREAM_COMPILE_MEMORY_MIB", "400")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in [
        "stage mill",
        "large.wasm",
        "400 MiB of memory",
        "--compile-memory-mib",
    ] {
        assert!(said.contains(part), "no {part} in:\n{said}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8_lossy(&help.stdout);
    assert!(
        help.contains("validate") && !help.contains("compile-plugin"),
        "{help}"
    );
}
