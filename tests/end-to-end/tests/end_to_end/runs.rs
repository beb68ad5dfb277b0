//! `run` and `validate` as a user or a script sees them: what a run goes on from, how it ends, what it tells.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use millstream_end_to_end::{NodeCommand, Stopped};
use serde_json::Value;

use crate::project::{LINES, Project, RUN_LIMIT, json_lines, ran};
use crate::scene::{millstream, millstream_ok, produce};

#[test]
fn a_plain_run_goes_on_and_a_fresh_one_starts_over() -> Result<()> {
    let project = Project::new(LINES, "one\ntwo\nthree\n")?;
    let mut ran = Vec::new();
    for arguments in [&[][..], &["--fresh"], &[]] {
        let (summary, _) = project.ran_once(arguments)?;
        ran.push((
            summary["pipeline_id"].clone(),
            summary["records_in"].clone(),
        ));
    }
    assert_eq!(
        ran,
        [
            ("p".into(), 3.into()),
            ("p~2".into(), 3.into()),
            ("p~2".into(), 0.into())
        ]
    );
    Ok(())
}

#[test]
fn a_ready_made_plugin_needs_no_toolchain() -> Result<()> {
    let stage = "[stage.mask]\nplugin = \"mask-digits@0.1\"\ninputs = \"rows\"\noutputs = \"masked\"\n\
                 config = { keep = 1 }\n";
    let project = Project::new(&format!("{LINES}{stage}"), "1 of 22\nnone\n")?;
    let bare = project
        .run_once(&["--no-setup", "--print", "masked"])
        .environment("PATH", "/nowhere")
        .environment("XDG_CACHE_HOME", &project.dir().to_string_lossy());
    let (_, printed) = ran(bare)?;
    let values: Vec<_> = printed.iter().map(|record| &record["value"]).collect();
    assert_eq!(values, ["1 of ##", "none"], "{printed:?}");
    Ok(())
}

#[test]
fn what_a_run_commits_to_a_topic_is_printed() -> Result<()> {
    let project = Project::new(LINES, "one\ntwo\n")?;
    let (_, printed) = project.ran_once(&["--print", "rows"])?;
    let values: Vec<_> = printed.iter().map(|record| &record["value"]).collect();
    assert_eq!(values, ["one", "two"], "{printed:?}");
    // What was there before is not printed again.
    let (_, printed) = project.ran_once(&["--print", "rows"])?;
    assert!(printed.is_empty(), "{printed:?}");
    Ok(())
}

#[test]
fn a_topic_that_nobody_makes_cannot_be_printed() -> Result<()> {
    let project = Project::new(LINES, "one\n")?;
    let command = project.run_once(&["--print", "row"]);
    let stopped = command.start()?.wait_for(RUN_LIMIT)?;
    assert_eq!(stopped.status.code(), Some(4), "{stopped:?}");
    let failure = &json_lines(&stopped.stdout)?[0];
    assert_eq!(failure["kind"], "not-found", "{failure}");
    // Nothing was begun: a run after it finds everything to do.
    assert_eq!(project.ran_once(&[])?.0["records_in"], 1);
    Ok(())
}

#[test]
fn a_run_that_is_interrupted_says_so_after_its_summary() -> Result<()> {
    let rows: String = (0..1_000).map(|row| format!("{row}\n")).collect();
    let project = Project::new(&format!("{LINES}rate = 10\n"), &rows)?;
    let stopped: Stopped = project.run_once(&[]).start()?.stop()?;
    assert_eq!(stopped.status.code(), Some(130), "{stopped:?}");
    let [summary, failure] = &json_lines(&stopped.stdout)?[..] else {
        panic!("{stopped:?}");
    };
    assert_eq!(summary["pipeline"], "p");
    assert_eq!(failure["kind"], "interrupted");
    // Without --once to be stopped is the only way to end.
    let node = NodeCommand::run(&project.manifest(), &project.data()).start()?;
    assert!(node.stop()?.status.success());
    Ok(())
}

#[test]
fn programs_get_a_manifests_mistakes_as_json_and_nothing_is_built_for_it() -> Result<()> {
    let manifest = "[topic.a]\nconfig = { \"retentions.ms\" = 5, \"compression.type\" = \"zip\" }\n\
[source.rows]\nfile = \"rows\"\nformat = \"csv\"\ntopic = \"a\"\nkey = \"nope\"\n\
[stage.s]\nplugin = \"./broken\"\ninputs = \"a\"\noutputs = \"b\"\n";
    let project = Project::new(manifest, "a,b\n1,2\n")?;
    // Cargo would refuse this crate at once, and say so.
    let broken = project.dir().join("broken");
    std::fs::create_dir(&broken)?;
    std::fs::write(broken.join("Cargo.toml"), "no TOML")?;
    let path = project.manifest().display().to_string();
    let output = millstream(&["validate", "--output", "json", &path])?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let failure: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(failure["kind"], "usage", "{failure}");
    let problems = failure["problems"].as_array().context("problems")?;
    let places: Vec<_> = problems
        .iter()
        .map(|problem| (problem["line"].as_u64(), problem["column"].as_u64()))
        .collect();
    assert_eq!(
        places,
        [(Some(4), Some(12)), (Some(4), Some(54)), (Some(9), Some(7))],
        "{failure}"
    );
    assert_eq!(problems[0]["help"], "did you mean `retention.ms`?");
    assert_eq!(problems[0]["file"], path.as_str());
    let label = problems[1]["label"].as_str().context("a label")?;
    assert!(label.contains("zstd"), "{failure}");
    Ok(())
}

/// To Kafka's metrics these two names are one, so that the node takes only the first of them.
#[test]
fn no_topic_is_created_when_one_cannot_be() -> Result<()> {
    let more = [("x", "a.b"), ("y", "a_b")].map(|(source, topic)| {
        format!("[source.{source}]\nfile = \"rows\"\nformat = \"lines\"\ntopic = \"{topic}\"\n")
    });
    let project = Project::new(&format!("{LINES}{}", more.concat()), "one\n")?;
    let stopped = project.run_once(&[]).start()?.wait_for(RUN_LIMIT)?;
    assert_eq!(stopped.status.code(), Some(2), "{stopped:?}");
    let problem = &json_lines(&stopped.stdout)?[0]["problems"][0];
    assert_eq!(problem["line"], 14, "{problem}");
    let node = NodeCommand::serve(&project.data()).start()?;
    let address = node.kafka.to_string();
    let listed = millstream_ok(&["topic", "list", "--output", "json", "--node", &address])?;
    assert!(
        !listed.contains("rows") && !listed.contains("a.b"),
        "{listed}"
    );
    Ok(())
}

const MASKED: &str = "[stage.mask]\nplugin = \"mask-digits\"\ninputs = \"in\"\noutputs = \"out\"\n\
start = { if_no_offset = { offsets = { \"3\" = 0 } } }\n";

/// The manifest names a partition that only the node's own topic has.
#[test]
fn a_stage_reads_a_topic_that_only_the_node_knows() -> Result<()> {
    let project = Project::new(MASKED, "")?;
    let node = NodeCommand::serve(&project.data()).start()?;
    let address = node.kafka.to_string();
    let create = ["topic", "create", "in", "--partitions", "4", "--node"];
    millstream_ok(&[&create[..], &[&address]].concat())?;
    produce(&address, "in", b"1\n2\n3\n4\n5\n")?;
    assert!(node.stop()?.status.success());

    let (summary, _) = project.ran_once(&[])?;
    assert_eq!(summary["records_in"], 5, "{summary}");

    // Now the group has offsets, and `start` has no effect: that is said once.
    let said = project.dir().join("said");
    let command = project.run_once(&[]).stderr(File::create(&said)?.into());
    assert!(command.start()?.wait_for(RUN_LIMIT)?.status.success());
    let said = std::fs::read_to_string(&said)?;
    assert!(
        said.contains("`start` of stage mask no longer applies") && said.contains("run --fresh"),
        "{said}"
    );
    // A topic that the node has otherwise than the manifest says is pointed at.
    declare(
        &project.manifest(),
        "[topic.in]\npartitions = 4\nconfig = { \"retention.ms\" = 5 }\n",
    )?;
    let stopped = project.run_once(&[]).start()?.wait_for(RUN_LIMIT)?;
    assert_eq!(stopped.status.code(), Some(2), "{stopped:?}");
    let failure = &json_lines(&stopped.stdout)?[0];
    assert_eq!(
        failure["problems"][0]["message"],
        "the topic `in` exists with `retention.ms` = `604800000`",
        "{failure}"
    );
    Ok(())
}

fn declare(manifest: &Path, more: &str) -> Result<()> {
    let text = std::fs::read_to_string(manifest)?;
    Ok(std::fs::write(manifest, text + more)?)
}
