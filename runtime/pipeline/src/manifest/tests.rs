//! Manifests with mistakes, and the whole report that each must give.

use super::*;

/// A folder with the files that the manifests below name.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("clean")).unwrap();
    std::fs::write(dir.path().join("clean/Cargo.toml"), "").unwrap();
    std::fs::create_dir_all(dir.path().join("empty")).unwrap();
    std::fs::write(dir.path().join("route.wasm"), "").unwrap();
    std::fs::write(dir.path().join("flights.csv"), "a,b\n").unwrap();
    dir
}

fn read(text: &str) -> (Option<Manifest>, Report) {
    let dir = folder();
    Manifest::read_text(&dir.path().join("pipeline.toml"), text.to_owned())
}

/// `line:column message (label) [help]` of every mistake, without the folder's random name.
fn mistakes(text: &str) -> Vec<String> {
    let (_, report) = read(text);
    report
        .entries()
        .iter()
        .map(|entry| {
            let problem = entry.problem;
            let help = problem.help.as_deref().unwrap_or_default();
            let help = match help.strip_prefix("looked for ") {
                Some(path) => format!("looked for …/{}", path.rsplit('/').next().unwrap()),
                None => help.to_owned(),
            };
            format!(
                "{}:{} {} ({}) [{help}]",
                entry.line, entry.column, problem.message, problem.label
            )
        })
        .collect()
}

const WHOLE: &str = r#"
manifest = 1
pipeline = "delays"
delivery = "exactly-once"
commit   = { max_interval = "20ms" }

[topic.flights]
partitions = 4
config = { "retention.ms" = 604800000, "compression.type" = "zstd" }

[source.flights]
file = "flights.csv"
format = "csv"
topic = "flights"
key = "dest"
timestamp = { column = "time_hour", format = "rfc3339" }
rate = 5000

[stage.clean]
plugin  = "./clean"
inputs  = { in = "flights" }
outputs = { ok = "flights.clean" }
on_error = { reject = "skip" }
start   = { if_no_offset = { timestamp = "2013-01-01T10:00:00Z" } }
limits  = { memory = "32MiB", call_cpu = "250ms" }
config  = { columns = ["year", "dest"], depth = 3 }

[stage.route]
plugin  = "./route.wasm"
inputs  = "flights.clean"
outputs = { late = "flights.late", ontime = { topic = "flights.ontime", "compression.type" = "zstd" } }

[stage.mask]
plugin = "mask-digits@0.1"
inputs = "flights.late"
outputs = "flights.masked"
dead_letters = "masked.dead"
[stage.mask.start]
if_no_offset = { offsets = { "0" = 42, "3" = 7 } }
[stage.mask.config]
keep = 4.5
"#;

#[test]
fn a_whole_manifest_is_read_as_it_is_written() {
    let (manifest, report) = read(WHOLE);
    assert!(report.is_empty(), "{report}");
    let manifest = manifest.unwrap();
    assert_eq!(manifest.pipeline.get_ref(), "delays");
    assert_eq!(manifest.commit_interval_max, Duration::from_millis(20));

    let topic = &manifest.topics[0];
    assert_eq!(topic.name.get_ref(), "flights");
    assert_eq!(topic.partitions.as_ref().map(|p| *p.get_ref()), Some(4));
    let settings: Vec<_> = topic
        .config
        .iter()
        .map(|setting| {
            (
                setting.name.get_ref().as_str(),
                setting.value.get_ref().as_str(),
            )
        })
        .collect();
    assert_eq!(
        settings,
        [("retention.ms", "604800000"), ("compression.type", "zstd")]
    );

    let source = &manifest.sources[0];
    assert_eq!(source.format, SourceFormat::Csv { raw: false });
    assert_eq!(source.key.as_ref().unwrap().get_ref(), "dest");
    assert_eq!(
        source.timestamp.as_ref().unwrap().format,
        TimestampFormat::Rfc3339
    );
    assert_eq!(source.rate, Some(5000));
    assert!(source.file.ends_with("flights.csv"));

    let [clean, route, mask] = &manifest.stages[..] else {
        panic!("three stages");
    };
    assert!(matches!(clean.plugin.get_ref(), PluginRef::Crate(path) if path.ends_with("clean")));
    assert_eq!(clean.on_reject, RejectPolicy::Skip);
    assert_eq!(
        *clean.if_no_offset.get_ref(),
        IfNoOffset::Timestamp(1_357_034_400_000)
    );
    assert_eq!(clean.limits.memory_bytes, 32 << 20);
    assert_eq!(clean.limits.call_cpu, Duration::from_millis(250));
    assert_eq!(
        clean.config.json,
        serde_json::json!({"columns": ["year", "dest"], "depth": 3})
    );

    assert!(
        matches!(route.plugin.get_ref(), PluginRef::File(path) if path.ends_with("route.wasm"))
    );
    assert!(route.inputs[0].name.is_none());
    assert_eq!(route.outputs[1].topic.get_ref(), "flights.ontime");
    assert_eq!(route.outputs[1].config[0].value.get_ref(), "zstd");
    assert_eq!(route.on_reject, RejectPolicy::DeadLetter);
    assert_eq!(route.dead_letters.get_ref(), "delays.route.dead");
    assert_eq!(*route.if_no_offset.get_ref(), IfNoOffset::Earliest);
    assert_eq!(route.limits.memory_bytes, DEFAULT_MEMORY_BYTES);

    assert_eq!(
        *mask.plugin.get_ref(),
        PluginRef::Named {
            name: "mask-digits".into(),
            version: Some("0.1".into())
        }
    );
    assert_eq!(mask.dead_letters.get_ref(), "masked.dead");
    assert_eq!(
        *mask.if_no_offset.get_ref(),
        IfNoOffset::Offsets(vec![(0, 42), (3, 7)])
    );
    assert_eq!(mask.config.json, serde_json::json!({"keep": 4.5}));
}

#[test]
fn a_word_names_a_ready_made_plugin_or_a_path() {
    for (word, named) in [
        ("mask-digits", Some(("mask-digits", None))),
        ("mask-digits@0.1", Some(("mask-digits", Some("0.1")))),
        ("./mask-digits", None),
        ("mask.wasm", None),
        ("mask.wat", None),
        ("..", None),
        ("@0.1", None),
        ("mask digits", None),
        ("", None),
    ] {
        assert_eq!(PluginRef::ready_made(word), named, "{word}");
    }
}

#[test]
fn the_folder_of_the_manifest_may_be_the_plugins_crate() {
    let dir = folder();
    let crate_dir = dir.path().join("clean");
    for (folder, word) in [("clean", "."), ("clean", "./"), ("clean/src", "..")] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        let path = dir.path().join(folder).join("pipeline.toml");
        let text = format!(
            "manifest = 1\npipeline = \"p\"\n[stage.s]\nplugin = \"{word}\"\ninputs = \"a\"\n"
        );
        let (manifest, report) = Manifest::read_text(&path, text);
        assert!(report.is_empty(), "{word}: {report}");
        let manifest = manifest.unwrap();
        let PluginRef::Crate(found) = manifest.stages[0].plugin.get_ref() else {
            panic!("{word}: {:?}", manifest.stages[0].plugin)
        };
        assert_eq!(
            found.canonicalize().unwrap(),
            crate_dir.canonicalize().unwrap()
        );
    }
    let mistakes =
        mistakes("manifest = 1\npipeline = \"p\"\n[stage.s]\nplugin = \".\"\ninputs = \"a\"\n");
    assert_eq!(
        mistakes,
        ["4:10 the folder `.` is not a plugin's crate (not found) [looked for …/Cargo.toml]"]
    );
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let text = r#"manifest = 2
pipeline = "my flights"
delivry = "exactly-once"
commit = { max_interval = "soon" }

[topic."bad topic"]
partitions = 0
retention.ms = 1

[source.s]
file = "missing.csv"
format = "cvs"
topic = "flights"
rate = "fast"

[stage.clean]
plugin = "./claen"
input = "flights"
outputs = 3
on_error = { reject = "deadletter", trap = "dead-letter" }
limits = { memory = "64", call_cpu = 1 }
secrets = ["api"]
start = { if_no_offset = "erliest" }
"#;
    assert_eq!(
        mistakes(text),
        [
            "1:12 this manifest is of a version that is not known (must be 1) []",
            "2:12 `my flights` cannot be the name of a pipeline (letters, digits, `-` and `_` only, at most 100) []",
            "3:1 `delivry` is not known in the manifest (not known) [did you mean `delivery`?]",
            "4:27 `max_interval` is not a duration (not a duration) [a number with `ns`, `us`, `ms`, `s`, `m` or `h`, for example \"10ms\"]",
            "6:8 `bad topic` cannot be the name of a topic (letters, digits, `.`, `-` and `_` only, at most 249) []",
            "7:14 `partitions` is out of bounds (must be 1 to 100000) []",
            "8:1 `retention` is not known in [topic.bad topic] (not known) [known here: `partitions` or `config`]",
            "11:8 the file `missing.csv` does not exist (no such file) [looked for …/missing.csv]",
            "12:10 `cvs` is no value of `format` (must be `csv`, `jsonl` or `lines`) [did you mean `csv`?]",
            "14:8 `rate` has the wrong type (must be a whole number, not a string) []",
            "16:8 `inputs` is missing in [stage.clean] (needs `inputs`) [for example `inputs = \"flights\"`]",
            "17:10 the plugin `./claen` does not exist (not found) [looked for …/claen]",
            "18:1 `input` is not known in [stage.clean] (not known) [did you mean `inputs`?]",
            "19:11 `outputs` has the wrong type (must be a topic's name or a table of names, not an integer) []",
            "20:23 `deadletter` is no value of `reject` (must be `dead-letter`, `skip` or `fail`) [did you mean `dead-letter`?]",
            "20:37 `trap` is not known in `on_error` of [stage.clean] (not known) [known here: `reject`]",
            "21:21 `memory` is not a size (not a size) [a number with `B`, `KB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`, for example \"64MiB\"]",
            "21:38 `call_cpu` has the wrong type (must be a string, not an integer) []",
            "22:1 `secrets` is not known in [stage.clean] (not known) [known here: `plugin`, `inputs`, `outputs`, `on_error`, `dead_letters`, `start`, `limits` or `config`]",
            "23:26 `erliest` is no value of `if_no_offset` (must be `earliest` or `latest`) [did you mean `earliest`?]",
        ]
    );
}

#[test]
fn keys_of_later_features_are_not_silently_ignored() {
    for (text, expected) in [
        (
            "[engine]\nkind = \"kafka\"",
            "`engine` is not known in the manifest",
        ),
        (
            "[secret.api]\nfile = \"x\"",
            "`secret` is not known in the manifest",
        ),
    ] {
        let text = format!(
            "manifest = 1\npipeline = \"p\"\n[source.s]\nfile = \"flights.csv\"\nformat = \"lines\"\ntopic = \"t\"\n{text}\n"
        );
        let found = mistakes(&text);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
    for key in [
        "tables = {}",
        "stores = {}",
        "time = {}",
        "env = {}",
        "instance = \"fresh\"",
    ] {
        let text = format!(
            "manifest = 1\npipeline = \"p\"\n[stage.s]\nplugin = \"./clean\"\ninputs = \"a\"\n{key}\n"
        );
        let found = mistakes(&text);
        let name = key.split(' ').next().unwrap();
        let expected = format!("`{name}` is not known in [stage.s]");
        assert!(
            found.len() == 1 && found[0].contains(&expected),
            "{found:?}"
        );
    }
    let text = "manifest = 1\npipeline = \"p\"\ndelivery = \"at-least-once\"\n[stage.s]\nplugin = \"./clean\"\ninputs = \"a\"\n";
    assert_eq!(
        mistakes(text),
        ["3:12 `at-least-once` is no value of `delivery` (must be `exactly-once`) []"]
    );
}

#[test]
fn what_contradicts_itself_is_told() {
    let head = "manifest = 1\npipeline = \"p\"\n";
    for (text, expected) in [
        (
            "[source.s]\nfile = \"flights.csv\"\nformat = \"lines\"\ntopic = \"t\"\nkey = \"dest\"\nvalue = \"raw\"\n",
            vec![
                "7:7 a source of lines has no columns (there is no such column) [use the format `csv` or `jsonl`, or leave this out]",
                "8:9 `value` is for csv only (here the line is the value) []",
            ],
        ),
        (
            "[stage.s]\nplugin = \"./clean\"\ninputs = \"a\"\non_error = { reject = \"skip\" }\ndead_letters = \"d\"\n",
            vec![
                "7:16 `dead_letters` names a topic that nothing is sent to (no use with this `on_error`) [leave it out, or set on_error = \"dead-letter\"]",
            ],
        ),
        (
            "[stage.s]\nplugin = \"./empty\"\ninputs = {}\noutputs = { o = { \"retention.ms\" = 1 } }\n",
            vec![
                "4:10 the folder `./empty` is not a plugin's crate (not found) [looked for …/Cargo.toml]",
                "5:10 `inputs` names no topic (empty) []",
                "6:17 the output `o` names no topic (needs `topic`) [for example { topic = \"flights.late\" }]",
            ],
        ),
        (
            "[stage.s]\nplugin = \"./clean\"\ninputs = \"a\"\nstart = { if_no_offset = { offsets = { x = 1, \"0\" = -2 } } }\n",
            vec![
                "6:40 `x` is no partition (must be a partition's number, as in { \"0\" = 42 }) []",
                "6:53 this is no offset (must be a whole number from 0) []",
            ],
        ),
        (
            "[topic.t]\nconfig = { retention.ms = 1 }\n[stage.s]\nplugin = \"sha256:77\"\ninputs = \"a\"\n",
            vec![
                "4:12 `retention` has the wrong type (must be a string or a number, not a table) [a name with dots needs quotes: \"retention.…\" = …]",
                "6:10 a digest does not tell where the plugin is (no file and no folder) [name a crate's folder, a .wasm file or a ready-made plugin]",
            ],
        ),
        (
            "commit = { max_interval = \"2m\" }\n[stage.s]\nplugin = \"@1\"\ninputs = \"a\"\nlimits = { memory = \"0B\", call_cpu = \"0s\" }\n",
            vec![
                "3:27 `max_interval` is out of bounds (must be 0s to 30s) []",
                "5:10 `@1` names no plugin (must be a crate's folder, a .wasm file or the name of a plugin) [a path begins with `./`, for example plugin = \"./clean\"]",
                "7:21 `memory` is out of bounds (must be 64KiB to 4GiB) []",
                "7:38 `call_cpu` is out of bounds (must be 5ms to 1h) []",
            ],
        ),
        (
            "[stage.s]\nplugin = \"./clean\"\ninputs = \"a\"\nlimits = { memory = \"5GiB\", call_cpu = \"2h\" }\n",
            vec![
                "6:21 `memory` is out of bounds (must be 64KiB to 4GiB) []",
                "6:40 `call_cpu` is out of bounds (must be 5ms to 1h) []",
            ],
        ),
        (
            "",
            vec![
                "0:0 the manifest has neither a stage nor a source () [a stage begins with `[stage.NAME]`]",
            ],
        ),
    ] {
        assert_eq!(mistakes(&format!("{head}{text}")), expected);
    }
}

#[test]
fn broken_toml_is_pointed_at() {
    let found = mistakes("manifest = 1\npipeline = \"p\n[stage.s]\nplugin = = 3\n");
    assert!(found.len() >= 2, "{found:?}");
    assert!(found[0].starts_with("2:"), "{found:?}");
    assert!(
        found.iter().all(|line| line.contains("not TOML")),
        "{found:?}"
    );
}

#[test]
fn a_manifest_that_cannot_be_read_is_a_report_too() {
    let report = Manifest::parse(Path::new("/nonexistent/pipeline.toml")).unwrap_err();
    assert!(report.to_string().contains("/nonexistent/pipeline.toml"));
    assert!(report.to_string().contains("cannot be read"));
}

#[test]
fn a_report_shows_file_line_excerpt_and_what_would_be_right() {
    let text = "manifest = 1\npipeline = \"p\"\n[stage.s]\nplugin = \"./clean\"\ninptus = \"a\"\n";
    let (_, report) = Manifest::read_text(Path::new("p.toml"), text.into());
    let shown = report.to_string();
    for part in [
        "p.toml:5:1",
        "inptus = \"a\"",
        "^^^^^^ not known",
        "did you mean `inputs`?",
        "3 mistakes; nothing was changed",
    ] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
}

#[test]
fn config_is_checked_by_the_plugins_schema() {
    let schema = serde_json::json!({
        "type": "object",
        "properties": {
            "columns": { "type": "array", "items": { "type": "string" } },
            "depth": { "type": "integer", "minimum": 1 },
            "inner": { "$ref": "#/$defs/Inner" }
        },
        "required": ["columns"],
        "additionalProperties": false,
        "$defs": { "Inner": {
            "type": "object",
            "properties": { "colour": { "type": "string" } },
            "additionalProperties": false
        } }
    });
    let check = |config: &str, schema: Option<&serde_json::Value>| -> Vec<String> {
        let text = format!(
            "manifest = 1\npipeline = \"p\"\n[stage.s]\nplugin = \"./clean\"\ninputs = \"a\"\n{config}\n"
        );
        let (manifest, report) = read(&text);
        assert!(report.is_empty(), "{report}");
        let manifest = manifest.unwrap();
        let problems = manifest.stages[0].config.check("clean", schema);
        let report = manifest.report(problems);
        report
            .entries()
            .iter()
            .map(|e| {
                let help = e.problem.help.as_deref().unwrap_or_default();
                format!("{}:{} {} [{help}]", e.line, e.column, e.problem.message)
            })
            .collect()
    };
    assert_eq!(
        check("config = { columns = [\"a\"] }", Some(&schema)),
        [""; 0]
    );
    assert_eq!(check("", None), [""; 0]);
    assert_eq!(
        check(
            "[stage.s.config]\ncolums = [\"a\"]\ndepth = 0\ninner = { color = 3 }",
            Some(&schema)
        ),
        [
            "6:1 the config of the plugin clean needs `columns` []",
            "7:1 the config of the plugin clean has no `colums` [did you mean `columns`?]",
            "8:9 the plugin clean does not take this config: 0 is less than the minimum of 1 []",
            "9:11 the config of the plugin clean has no `color` [did you mean `colour`?]",
        ]
    );
    assert_eq!(
        check("config = { columns = [\"a\", 7] }", Some(&schema)),
        ["6:28 the plugin clean does not take this config: 7 is not of type \"string\" []"]
    );
    assert_eq!(
        check("config = { columns = [] }", None),
        ["6:10 the plugin clean takes no config []"]
    );
    assert!(
        check("", Some(&serde_json::json!({"type": 7})))[0]
            .contains("schema of the plugin clean is broken")
    );
}
