//! Manifests, plugins and topics in; plans or mistakes out.

mod compaction;
mod event_time;
mod usage;

use super::*;
use crate::manifest::Severity;
use std::path::Path;

fn plugin(name: &str, inputs: &[&str], outputs: &[&str]) -> PluginFacts {
    PluginFacts {
        name: name.into(),
        version: "0.1.0".into(),
        inputs: inputs.iter().map(|s| s.to_string()).collect(),
        outputs: outputs.iter().map(|s| s.to_string()).collect(),
        config_schema: None,
    }
}

/// Every stage has a plugin by its own name; `sink` has no output, `join` two inputs, `route` two
/// outputs, all others one of each.
fn plugins(manifest: &Manifest) -> BTreeMap<String, PluginFacts> {
    manifest
        .stages
        .iter()
        .map(|stage| {
            let name = stage.name.get_ref().as_str();
            let facts = match name {
                "sink" => plugin(name, &["in"], &[]),
                "join" => plugin(name, &["left", "right"], &["out"]),
                "route" => plugin(name, &["in"], &["late", "ontime"]),
                _ => plugin(name, &["in"], &["out"]),
            };
            (name.to_owned(), facts)
        })
        .collect()
}

fn manifest(body: &str) -> Manifest {
    let text = format!("manifest = 1\npipeline = \"p\"\n{body}");
    let (manifest, report) = Manifest::read_text(Path::new("p.toml"), text);
    assert!(report.is_empty(), "{report}");
    manifest.unwrap()
}

/// One whose sources may read `tests.rs`, this file.
fn sources_manifest(body: &str) -> Manifest {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/p.toml");
    let text = format!("manifest = 1\npipeline = \"p\"\n{body}");
    let (manifest, report) = Manifest::read_text(&here, text);
    assert!(report.is_empty(), "{report}");
    manifest.unwrap()
}

fn facts(existing: &[(&str, i32)]) -> TopicFacts {
    let info = |partitions| TopicInfo {
        id: uuid::Uuid::nil(),
        partitions,
        message_bytes_max: 1 << 20,
        compacted: false,
        settings: BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]),
        compression: millstream_records::Compression::None,
    };
    TopicFacts {
        existing: existing
            .iter()
            .map(|(name, partitions)| (name.to_string(), info(*partitions)))
            .collect(),
        default_partitions: 1,
        defaults: BTreeMap::new(),
    }
}

fn plan(body: &str, existing: &[(&str, i32)]) -> Result<Plan, Report> {
    let manifest = manifest(body);
    Plan::new(&manifest, &plugins(&manifest), &facts(existing), "p")
}

fn mistakes(body: &str, existing: &[(&str, i32)]) -> Vec<String> {
    told(&plan(body, existing).expect_err("a mistake"))
}

/// The mistakes of a report.
fn told(report: &Report) -> Vec<String> {
    told_as(Severity::Mistake, report)
}

fn told_as(severity: Severity, report: &Report) -> Vec<String> {
    report
        .entries()
        .iter()
        .filter(|entry| entry.problem.severity == severity)
        .map(|entry| {
            let help = entry.problem.help.as_deref().unwrap_or_default();
            let problem = entry.problem;
            format!(
                "{}:{} {} ({}) [{help}]",
                entry.line, entry.column, problem.message, problem.label
            )
        })
        .collect()
}

/// Two of Kafka's settings.
struct Known;

impl TopicSettings for Known {
    fn names(&self) -> Vec<&str> {
        vec!["compression.type", "retention.ms"]
    }

    fn check(&self, name: &str, value: &str) -> Result<(), String> {
        let sound = match name {
            "retention.ms" => value.parse::<i64>().is_ok(),
            _ => value == "zstd",
        };
        sound.then_some(()).ok_or(format!("not one of {name}"))
    }
}

/// What is told before a node was asked.
fn mistakes_without_a_node(body: &str) -> Vec<String> {
    let manifest = manifest(body);
    told(&manifest.report(check(&manifest, &plugins(&manifest), &Known)))
}

fn created(plan: &Plan) -> Vec<(&str, i32)> {
    plan.topics_to_create
        .iter()
        .map(|spec| (spec.name.as_str(), spec.partitions.unwrap()))
        .collect()
}

#[test]
fn output_topics_take_the_partition_count_of_what_is_read() {
    // The stages stand in the manifest against the flow.
    let body = r#"
[stage.route]
plugin = "route"
inputs = "clean"
outputs = { late = "late", ontime = { topic = "ontime", "compression.type" = "zstd" } }
on_error = { reject = "skip" }
[stage.clean]
plugin = "clean"
inputs = "flights"
outputs = "clean"
dead_letters = "dead"
[topic.flights]
partitions = 4
config = { "retention.ms" = 5 }
[topic.late]
partitions = 2
"#;
    let plan = plan(body, &[]).unwrap();
    assert_eq!(
        created(&plan),
        [
            ("flights", 4),
            ("late", 2),
            ("clean", 4),
            ("dead", 4),
            ("ontime", 4)
        ]
    );
    let config = |name: &str| {
        let spec = plan.topics_to_create.iter().find(|spec| spec.name == name);
        spec.unwrap().config.clone()
    };
    assert_eq!(config("flights"), [("retention.ms".into(), "5".into())]);
    assert_eq!(
        config("ontime"),
        [("compression.type".into(), "zstd".into())]
    );
    let names: Vec<_> = plan
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(names, ["clean", "route"]);
    let clean = &plan.stages[0];
    assert_eq!(clean.group, "millstream.p.clean");
    assert_eq!(clean.partitions, 4);
    assert_eq!(clean.dead_letters.as_deref(), Some("dead"));
    assert_eq!(clean.task("p", 3).transactional_id(), "p/clean/3");
    assert_eq!(clean.claim(3).partitions, [("flights".to_owned(), 3)]);
    assert_eq!(plan.stages[1].dead_letters, None);
    assert_eq!(
        plan.topics(),
        ["flights", "clean", "dead", "late", "ontime"]
    );
    assert!(plan.notices.is_empty());
}

#[test]
fn existing_topics_are_kept_and_compared() {
    let body = "[stage.a]\nplugin = \"a\"\ninputs = \"in\"\noutputs = \"out\"\n[topic.out]\npartitions = 3\n";
    let sound = plan(body, &[("in", 2), ("out", 3)]).unwrap();
    assert_eq!(created(&sound), [("p.a.dead", 2)]);
    assert!(sound.notices.is_empty());
    assert_eq!(
        mistakes(body, &[("in", 2), ("out", 5)]),
        ["8:14 the topic `out` exists with 5 partitions (must be 5) []"]
    );
}

#[test]
fn a_later_incarnation_keeps_its_own_offsets() {
    let manifest = manifest("[stage.a]\nplugin = \"a\"\ninputs = \"in\"\noutputs = \"out\"\n");
    let plan = Plan::new(&manifest, &plugins(&manifest), &facts(&[]), "p-2").unwrap();
    assert_eq!(plan.stages[0].group, "millstream.p-2.a");
    assert_eq!(
        plan.stages[0].task(&plan.pipeline_id, 0).transactional_id(),
        "p-2/a/0"
    );
}

#[test]
fn mistakes_between_manifest_plugins_and_topics_are_told_at_once() {
    let body = r#"
[stage.route]
plugin = "route"
inputs = { in = "a" }
outputs = { lat = "late" }
config = { depth = 3 }
[stage.join]
plugin = "join"
inputs = { left = "a", right = "b" }
outputs = "__consumer_offsets"
start = { if_no_offset = { offsets = { "9" = 1 } } }
[stage.sink]
plugin = "sink"
inputs = { in = "a" }
outputs = "nowhere"
"#;
    assert_eq!(
        mistakes(body, &[("a", 2), ("b", 3)]),
        [
            "4:8 the output `late` of the plugin route has no topic (in this stage's `outputs`) [for example outputs = { late = \"TOPIC\" }]",
            "4:8 the output `ontime` of the plugin route has no topic (in this stage's `outputs`) [for example outputs = { ontime = \"TOPIC\" }]",
            "7:13 the plugin route has no output `lat` (no such output) [did you mean `late`?]",
            "8:10 the plugin route takes no config (leave this out) []",
            "11:32 the inputs of stage `join` have different partition counts (`b` has 3 partitions, `a` has 2) [records that belong together must have the same partition in each]",
            "12:11 the topic `__consumer_offsets` belongs to the system (cannot be written by a pipeline) []",
            "13:26 `start` names partition 9 of stage `join`, whose input has 2 (partitions are 0 to 1) []",
            "17:11 the plugin sink has 0 outputs: none (for which output is this?) [leave `outputs` out]",
        ]
    );
}

#[test]
fn topics_of_the_system_are_read_where_they_exist_and_never_made_or_written() {
    let body = r#"
[source.rows]
file = "Cargo.toml"
format = "csv"
topic = "__millstream_sources"
[stage.a]
plugin = "a"
inputs = "__cluster_metadata"
outputs = "out"
dead_letters = "__transaction_state"
[stage.b]
plugin = "a"
inputs = "__consumer_offsets"
outputs = "out2"
[topic."__cluster_metadata"]
partitions = 3
"#;
    assert_eq!(
        mistakes(body, &[("__consumer_offsets", 50)]),
        [
            "7:9 the topic `__millstream_sources` belongs to the system (cannot be written by a pipeline) []",
            "10:10 the topic `__cluster_metadata` belongs to the system (does not exist here) []",
            "12:16 the topic `__transaction_state` belongs to the system (cannot be written by a pipeline) []",
            "17:8 the topic `__cluster_metadata` belongs to the system (cannot be declared by a pipeline) []",
        ]
    );
}

#[test]
fn a_plugin_with_several_inputs_wants_them_named() {
    assert_eq!(
        mistakes(
            "[stage.join]\nplugin = \"join\"\ninputs = \"a\"\noutputs = \"o\"\n",
            &[]
        ),
        [
            "5:10 the plugin join has 2 inputs: `left` and `right` (for which input is this?) [write inputs = { left = \"a\", … }]"
        ]
    );
}

#[test]
fn cycles_are_found_however_long() {
    assert_eq!(
        mistakes(
            "[stage.a]\nplugin = \"a\"\ninputs = \"x\"\noutputs = \"x\"\n",
            &[]
        ),
        [
            "6:11 the stages form a cycle: a -> a (this closes the cycle) [a stage must not read, through others or itself, what it writes]"
        ]
    );
    let body = "[stage.before]\nplugin = \"a\"\ninputs = \"w\"\noutputs = \"x\"\n\
[stage.a]\nplugin = \"a\"\ninputs = \"x\"\noutputs = \"y\"\n\
[stage.b]\nplugin = \"a\"\ninputs = \"y\"\noutputs = \"z\"\n\
[stage.c]\nplugin = \"a\"\ninputs = \"z\"\noutputs = \"o\"\ndead_letters = \"x\"\n\
[stage.after]\nplugin = \"a\"\ninputs = \"o\"\noutputs = \"last\"\n";
    assert_eq!(
        mistakes(body, &[]),
        [
            "19:16 the stages form a cycle: a -> b -> c -> a (this closes the cycle) [a stage must not read, through others or itself, what it writes]"
        ]
    );
}

#[test]
fn two_writers_of_one_topic_must_agree_on_its_partitions() {
    let body = "[stage.a]\nplugin = \"a\"\ninputs = \"x\"\noutputs = \"o\"\n\
[stage.b]\nplugin = \"b\"\ninputs = \"y\"\noutputs = \"o\"\n";
    let existing = [("x", 2), ("y", 3)];
    assert_eq!(
        mistakes(body, &existing),
        [
            "10:11 the stages `a` (2 partitions) and `b` (3) both write `o` (how many partitions should it have?) [say so: [topic.\"o\"] with partitions = 2]"
        ]
    );
    let declared = format!("{body}[topic.o]\npartitions = 8\n");
    assert!(plan(&declared, &existing).is_ok());
    let contradicting = "[stage.a]\nplugin = \"a\"\ninputs = \"x\"\noutputs = { out = { topic = \"o\", \"retention.ms\" = 1 } }\n\
[topic.o]\nconfig = { \"retention.ms\" = 2 }\n";
    assert_eq!(
        mistakes(contradicting, &[]),
        ["6:51 `retention.ms` of the topic `o` has two values (elsewhere it is `2`) []"]
    );
}

#[test]
fn a_stage_whose_plugin_is_missing_does_not_hide_other_mistakes() {
    let manifest = manifest("[stage.a]\nplugin = \"a\"\ninputs = \"x\"\noutputs = \"x\"\n");
    let report = Plan::new(&manifest, &BTreeMap::new(), &facts(&[]), "p").unwrap_err();
    assert!(report.to_string().contains("cycle"), "{report}");
}

#[test]
fn without_a_node_nothing_is_said_about_topics_that_may_exist() {
    // `x` may exist with four partitions, `y` with as many as `x`, `o` with any number.
    for body in [
        "[stage.a]\nplugin = \"a\"\ninputs = \"x\"\noutputs = \"o\"\nstart = { if_no_offset = { offsets = { \"3\" = 7 } } }\n",
        "[topic.x]\npartitions = 4\n[stage.join]\nplugin = \"join\"\ninputs = { left = \"x\", right = \"y\" }\noutputs = \"o\"\n",
        "[topic.x]\npartitions = 4\n[stage.a]\nplugin = \"a\"\ninputs = \"x\"\noutputs = \"o\"\n\
[stage.b]\nplugin = \"b\"\ninputs = \"y\"\noutputs = \"o\"\n",
        "[topic.x]\npartitions = 4\n[topic.y]\npartitions = 2\n[stage.a]\nplugin = \"a\"\ninputs = \"x\"\noutputs = \"o\"\n\
[stage.b]\nplugin = \"b\"\ninputs = \"y\"\noutputs = \"o\"\n",
    ] {
        assert_eq!(mistakes_without_a_node(body), [""; 0]);
    }
    // What is declared is declared, whatever the node has.
    let body = "[topic.x]\npartitions = 4\n[topic.y]\npartitions = 2\n\
[stage.join]\nplugin = \"join\"\ninputs = { left = \"x\", right = \"y\" }\noutputs = \"o\"\n\
[stage.a]\nplugin = \"a\"\ninputs = \"x\"\noutputs = \"p\"\nstart = { if_no_offset = { offsets = { \"4\" = 7 } } }\n";
    assert_eq!(
        mistakes_without_a_node(body),
        [
            "9:32 the inputs of stage `join` have different partition counts (`y` has 2 partitions, `x` has 4) [records that belong together must have the same partition in each]",
            "15:26 `start` names partition 4 of stage `a`, whose input has 4 (partitions are 0 to 3) []",
        ]
    );
}

#[test]
fn settings_that_no_topic_takes_are_told() {
    let body = "[topic.x]\nconfig = { \"retentions.ms\" = 5, \"compression.type\" = \"zip\", \"retention.ms\" = 5 }\n\
[stage.a]\nplugin = \"a\"\ninputs = \"x\"\noutputs = { out = { topic = \"o\", wrong = 1, \"retention.ms\" = \"week\" } }\n";
    assert_eq!(
        mistakes_without_a_node(body),
        [
            "4:12 there is no topic setting `retentions.ms` (not known) [did you mean `retention.ms`?]",
            "4:54 `compression.type` of the topic `x` does not take `zip` (not one of compression.type) []",
            "8:34 there is no topic setting `wrong` (not known) [topics have the settings of Kafka, by Kafka's names]",
            "8:62 `retention.ms` of the topic `o` does not take `week` (not one of retention.ms) []",
        ]
    );
}

#[test]
fn a_topic_that_exists_must_have_the_settings_that_are_declared() {
    let body = |declared: &str, of_output: &str| {
        format!(
            "[topic.x]\nconfig = {{ \"retention.ms\" = {declared} }}\n[stage.a]\nplugin = \"a\"\ninputs = \"x\"\n\
outputs = {{ out = {{ topic = \"o\", \"retention.ms\" = {of_output} }} }}\n"
        )
    };
    let existing = [("x", 1), ("o", 1)];
    assert!(plan(&body("5", "\" 5 \""), &existing).is_ok());
    assert_eq!(
        mistakes(&body("6", "7"), &existing),
        [
            "4:29 the topic `x` exists with `retention.ms` = `5` (must be `5`) [say the same here, leave it out, or change the topic first]",
            "8:51 the topic `o` exists with `retention.ms` = `5` (must be `5`) [say the same here, leave it out, or change the topic first]",
        ]
    );
    assert!(plan(&body("6", "7"), &[]).is_ok());
}
