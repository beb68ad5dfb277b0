//! Plugins written in Rust, built by the product's own builder, run in the real host.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use millstream_plugin_build::{Builder, Sdk};
use millstream_plugin_host::{
    Engine, EngineOptions, Limits, OpenContext, Plugin, PluginFailure, ProcessError, Silent,
};
use millstream_testkit::{RecordOutcome, TestError, TestOptions, parse_fixtures, run};
use serde_json::{Value, json};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What the tests leave for each other, and for their next run.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

fn build(crate_dir: &Path) -> PathBuf {
    let builder = Builder {
        cache_dir: cache().join("builds"),
        ..Builder::default()
    };
    let built = builder
        .build(crate_dir, &mut |command| eprintln!("$ {command}"))
        .unwrap();
    let again = builder
        .build(crate_dir, &mut |command| {
            panic!("nothing changed, but it runs {command}")
        })
        .unwrap();
    assert!(again.fresh);
    assert_eq!(again.wasm, built.wasm);
    built.wasm
}

async fn load(wasm: &Path) -> Plugin {
    Engine::new(EngineOptions::default())
        .unwrap()
        .load_file(wasm)
        .await
        .unwrap()
}

async fn outcomes(plugin: &Plugin, fixtures: &str, config: Value) -> Result<Vec<Value>, TestError> {
    let fixtures = parse_fixtures(fixtures).unwrap();
    let options = TestOptions {
        config,
        limits: Limits::default(),
    };
    let outcomes = run(plugin, &fixtures, &options, Arc::new(Silent)).await?;
    Ok(outcomes.iter().map(RecordOutcome::to_json).collect())
}

#[tokio::test]
async fn mask_digits_runs_in_the_host() {
    let plugin = load(&build(&workspace().join("plugins/mask-digits"))).await;
    assert_eq!(
        (
            plugin.descriptor().name.as_str(),
            &plugin.descriptor().outputs[..]
        ),
        ("mask-digits", &["masked".to_owned()][..])
    );
    let schema = plugin.descriptor().config_schema.clone().unwrap();
    assert!(schema["properties"]["keep"].is_object(), "{schema}");
    let fixtures = r#"{"key":"k1","value":"a1b22","headers":{"n":"7"}}
                      {"key":null,"value":null}"#;
    assert_eq!(
        outcomes(&plugin, fixtures, json!({})).await.unwrap(),
        [
            json!({"emitted": [{"output": "masked", "key": "k1", "value": "a#b##", "headers": [["n", "7"]]}]}),
            json!({"emitted": [{"output": "masked", "key": null, "value": null}]}),
        ]
    );
}

#[tokio::test]
async fn field_filter_takes_a_config_and_shows_its_schema() {
    let plugin = load(&build(&workspace().join("plugins/field-filter"))).await;
    let schema = plugin.descriptor().config_schema.clone().unwrap();
    assert_eq!(schema["required"], json!(["field", "values"]));
    let config = json!({"field": "carrier", "values": ["UA"], "missing": "refuse"});
    let fixtures = r#"{"value":{"carrier":"UA"}}
                      {"value":{"carrier":"AA"}}
                      {"value":{}}"#;
    let found = outcomes(&plugin, fixtures, config).await.unwrap();
    assert_eq!(found[0]["emitted"][0]["output"], "matched");
    assert_eq!(found[1]["emitted"][0]["output"], "unmatched");
    assert_eq!(
        found[2],
        json!({"refused": {"code": 0, "message": "there is no field `carrier`"}})
    );

    let refused = outcomes(&plugin, "{}", json!({"field": "carrier", "values": []}))
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("values: there must be at least one"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_new_plugin_builds_tests_and_runs() {
    let directory = tempfile::tempdir().unwrap();
    let files = millstream_plugin_build::new(directory.path(), "my-words", &sdk()).unwrap();
    assert!(files.iter().all(|file| file.is_file()));
    let crate_dir = directory.path().join("my-words");
    share_work(&crate_dir);
    let plugin = load(&build(&crate_dir)).await;
    let fixtures = std::fs::read_to_string(crate_dir.join("fixtures/words.jsonl")).unwrap();
    let found = outcomes(&plugin, &fixtures, json!({"min_letters": 5}))
        .await
        .unwrap();
    assert_eq!(
        found[0]["emitted"].as_array().unwrap().len(),
        4,
        "every grain ground exactly"
    );
    assert_eq!(found[1]["refused"]["message"], "an empty line");
    assert_eq!(found[2]["emitted"][0]["value"], "grinds");

    let native = Command::new("cargo")
        .args(["test", "--quiet"])
        .current_dir(&crate_dir)
        .status()
        .unwrap();
    assert!(native.success());
}

/// Cargo takes them for one crate when they share what they are built of.
#[tokio::test]
async fn plugins_of_one_name_share_what_they_are_built_of_and_not_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|folder| {
        let folder = directory.path().join(folder);
        std::fs::create_dir(&folder).unwrap();
        millstream_plugin_build::new(&folder, "shared-words", &sdk()).unwrap();
        folder.join("shared-words")
    });
    let source = std::fs::read_to_string(other.join("src/lib.rs")).unwrap();
    assert!(source.contains("an empty line"));
    let source = source.replace("an empty line", "nothing in it");
    std::fs::write(other.join("src/lib.rs"), source).unwrap();

    let refused = async |crate_dir: &Path| {
        let plugin = load(&build(crate_dir)).await;
        let found = outcomes(&plugin, r#"{"value":""}"#, json!({})).await;
        found.unwrap()[0]["refused"]["message"].clone()
    };
    assert_eq!(refused(&one).await, "an empty line");
    let first = std::fs::read(build(&one)).unwrap();
    let sdks = built_sdks();
    assert!(sdks > 0);
    assert_eq!(refused(&other).await, "nothing in it");
    // What the first is made of is older than what the second left in the shared folder.
    let manifest = one.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("{text}\n# changed\n")).unwrap();
    assert_eq!(refused(&one).await, "an empty line");
    assert_eq!(std::fs::read(build(&one)).unwrap(), first);
    assert_eq!(refused(&other).await, "nothing in it");
    assert_eq!(built_sdks(), sdks, "the SDK was built anew");
}

/// How often the shared folder has the SDK: once for each version of it.
fn built_sdks() -> usize {
    let deps = cache().join("builds/shared/wasm32-unknown-unknown/release/deps");
    let names = std::fs::read_dir(deps)
        .unwrap()
        .map(|file| file.unwrap().file_name());
    let is_sdk = |name: &str| name.starts_with("libmillstream_sdk-") && name.ends_with(".rlib");
    names.filter(|name| is_sdk(&name.to_string_lossy())).count()
}

fn sdk() -> Sdk {
    Sdk::unpacked(&cache()).unwrap()
}

/// One target directory for all new plugins.
fn share_work(crate_dir: &Path) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-plugins");
    std::fs::create_dir(crate_dir.join(".cargo")).unwrap();
    let config = format!("[build]\ntarget-dir = {:?}\n", target.to_string_lossy());
    std::fs::write(crate_dir.join(".cargo/config.toml"), config).unwrap();
}

const MISBEHAVING: &str = r#"
use millstream_sdk::prelude::*;

pub struct Misbehaving {
    held: Option<Vec<u8>>,
    kept: Vec<Vec<u8>>,
}

#[millstream::processor]
impl Processor for Misbehaving {
    type Config = NoConfig;

    fn open(_: NoConfig, _: &Open) -> Result<Self, ConfigError> {
        Ok(Self { held: None, kept: Vec::new() })
    }

    fn process(&mut self, record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject> {
        match record.text()? {
            "panic" => panic!("the {} fell off", "wheel"),
            "unknown output" => drop(ctx.emit("nowhere", NULL, NULL)),
            "loop" => while std::hint::black_box(true) {},
            "memory" => loop { self.kept.push(vec![1; 1 << 20]); },
            "flood" => loop { ctx.emit("default", NULL, vec![1; 1 << 16]); },
            text => {
                // Holds every record back until the next one comes.
                if let Some(held) = self.held.replace(text.as_bytes().to_vec()) {
                    ctx.emit("default", NULL, held);
                }
            }
        }
        Ok(())
    }
}
"#;

#[tokio::test]
async fn misbehaving_plugins_are_found_out() {
    let directory = tempfile::tempdir().unwrap();
    millstream_plugin_build::new(directory.path(), "misbehaving", &sdk()).unwrap();
    let crate_dir = directory.path().join("misbehaving");
    share_work(&crate_dir);
    std::fs::write(crate_dir.join("src/lib.rs"), MISBEHAVING).unwrap();
    let plugin = load(&build(&crate_dir)).await;

    let held = outcomes(&plugin, "{\"value\":\"a\"}\n{\"value\":\"b\"}", Value::Null)
        .await
        .unwrap_err();
    assert!(
        matches!(held, TestError::Differs { record: 2, .. }),
        "{held}"
    );

    let PluginFailure::Trap { panic, .. } = failure(&plugin, "panic").await else {
        panic!("a trap")
    };
    let panic = panic.unwrap();
    assert_eq!(panic.message, "the wheel fell off");
    assert!(
        panic.location.starts_with("src/lib.rs:"),
        "{}",
        panic.location
    );

    let PluginFailure::Trap { panic, .. } = failure(&plugin, "unknown output").await else {
        panic!("a trap")
    };
    let panic = panic.unwrap();
    assert!(panic.message.contains("there is no output `nowhere`"));
    let line = MISBEHAVING
        .lines()
        .position(|line| line.contains("nowhere"));
    let place = format!("src/lib.rs:{}:", line.unwrap() + 1);
    assert!(panic.location.starts_with(&place), "{}", panic.location);

    assert!(matches!(
        failure(&plugin, "loop").await,
        PluginFailure::CpuLimit { .. }
    ));
    assert!(matches!(
        failure(&plugin, "memory").await,
        PluginFailure::MemoryLimit { .. }
    ));
    assert!(matches!(
        failure(&plugin, "flood").await,
        PluginFailure::OutputLimit { .. }
    ));
}

async fn failure(plugin: &Plugin, text: &str) -> PluginFailure {
    use millstream_plugin_host::frames::{EventsBuilder, EventsOptions, RunOptions};
    let context = OpenContext {
        pipeline: "p".to_owned(),
        stage: "s".to_owned(),
        partition: 0,
        inputs: vec![],
        outputs: vec!["default".to_owned()],
        config: Value::Null,
    };
    let limits = Limits {
        memory_bytes: 16 << 20,
        call_cpu: std::time::Duration::from_millis(300),
        output_bytes_max: 4 << 20,
    };
    let mut instance = plugin
        .instantiate(&context, limits, Arc::new(Silent))
        .await
        .unwrap();
    let mut builder = EventsBuilder::new(EventsOptions::default());
    builder.run(RunOptions::default());
    assert!(builder.record(0, 0, false, None, Some(text.as_bytes()), []));
    let frame = builder.finish();
    match instance.process(&frame).await {
        Err(ProcessError::Plugin(failure)) => failure,
        other => panic!("{other:?}"),
    }
}
