//! `run --fresh`: afterwards the topics of the pipeline hold one run, whenever it was killed; and what is not the
//! pipeline's alone is removed only when somebody agrees.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use millstream_end_to_end::{Client, NodeCommand, kcat};

use crate::project::{LINES, Project, RUN_LIMIT, committed, ran};
use crate::scene::{millstream_ok, produce};

/// Two partitions, so that there are several tasks to be fenced.
const MASK: &str = "[topic.rows]\npartitions = 2\n\
[stage.mask]\nplugin = \"mask-digits\"\ninputs = \"rows\"\noutputs = \"masked\"\n";
const ROWS: &str = "a1\nb22\nc333\n";

fn one_run() -> BTreeMap<String, Vec<String>> {
    let values = |values: &[&str]| values.iter().map(ToString::to_string).collect();
    BTreeMap::from([
        ("rows".to_owned(), values(&["a1", "b22", "c333"])),
        ("masked".to_owned(), values(&["a#", "b##", "c###"])),
    ])
}

#[test]
fn the_topics_hold_one_run_after_a_fresh_one() -> Result<()> {
    let project = Project::new(&format!("{LINES}{MASK}"), ROWS)?;
    for (arguments, id) in [
        (&[][..], "p"),
        (&["--fresh"], "p~2"),
        (&["--fresh"], "p~3"),
        (&[], "p~3"),
    ] {
        let (summary, _) = project.ran_once(arguments)?;
        assert_eq!(summary["pipeline_id"], id, "{summary}");
        let found = committed(&project.data(), &["rows", "masked"])?;
        assert_eq!(found, one_run(), "{arguments:?}");
    }
    Ok(())
}

/// What a client has produced is an input: it is read once more, and stays.
#[test]
fn an_input_that_no_source_feeds_is_never_touched() -> Result<()> {
    let project = Project::new(MASK, "")?;
    let node = NodeCommand::serve(&project.data()).start()?;
    let address = node.kafka.to_string();
    let create = ["topic", "create", "rows", "--partitions", "2", "--node"];
    millstream_ok(&[&create[..], &[&address]].concat())?;
    produce(&address, "rows", ROWS.as_bytes())?;
    node.stop()?;
    for arguments in [&[][..], &["--fresh"]] {
        let (summary, _) = project.ran_once(arguments)?;
        assert_eq!(summary["records_in"], 3, "{summary}");
        let found = committed(&project.data(), &["rows", "masked"])?;
        assert_eq!(found, one_run(), "{arguments:?}");
    }
    Ok(())
}

/// A fail point, and how often it is reached at least: it strikes at each time from the first to this.
const STEPS: [(&str, u64); 11] = [
    ("deployment.before_fencing", 1),
    ("deployment.between_tasks", 2),
    ("deployment.before_metadata", 1),
    ("deployment.after_metadata", 1),
    ("store.after_delete_entry", 4),
    ("store.after_delete_name", 4),
    ("topic.before_files", 1),
    ("deployment.after_logs", 1),
    ("transaction.after_markers", 3),
    ("journal.before_sync", 14),
    ("journal.after_sync", 14),
];

#[test]
fn a_kill_at_any_step_of_a_fresh_run_leaves_one_run() -> Result<()> {
    let project = Project::new(&format!("{LINES}{MASK}"), ROWS)?;
    for (flush, first) in [("journal", 0), ("os", 1)] {
        let before = project.dir().join(flush);
        ran(project.run_once_over(&before, &["--flush", flush]))?;
        let points = STEPS
            .iter()
            .filter(|(point, _)| flush == "journal" || !point.starts_with("journal."));
        let steps = points.flat_map(|(point, times)| (1..=*times).map(move |nth| (*point, nth)));
        let mut ids = Vec::new();
        for (step, turn) in steps.zip(first..) {
            // What comes next is in turn a run that goes on and another fresh one; the other mode has them the other
            // way round.
            let next = [&[][..], &["--fresh"]][turn % 2];
            let id = kill_and_go_on(&project, &before, flush, step, next)?;
            if next.is_empty() {
                ids.push(id);
            }
        }
        // Kills fell on both sides of the change.
        for id in ["p", "p~2"] {
            assert!(ids.iter().any(|one| one == id), "{id} in {ids:?}");
        }
    }
    Ok(())
}

/// Kills a fresh run over a copy of the data at a step, runs again, and checks what is there then; the id of that run.
fn kill_and_go_on(
    project: &Project,
    before: &Path,
    flush: &str,
    (point, nth): (&str, u64),
    next: &[&str],
) -> Result<String> {
    let place = format!("{point}@{nth} in {flush}, then {next:?}");
    let data = project.dir().join("killed");
    copy(before, &data)?;
    let killed = project
        .run_once_over(&data, &["--flush", flush, "--fresh"])
        .environment("MILLSTREAM_FAILPOINTS", &format!("{point}=kill@{nth}"))
        .stderr(Stdio::null())
        .start();
    // It may be killed before it listens.
    if let Ok(node) = killed {
        let stopped = node.wait_for(RUN_LIMIT)?;
        ensure!(stopped.status.signal() == Some(9), "{place}: {stopped:?}");
    }
    let arguments = [&["--flush", flush][..], next].concat();
    let again = project.run_once_over(&data, &arguments);
    let (summary, _) = ran(again.stderr(Stdio::null()))?;
    let found = committed(&data, &["rows", "masked"])?;
    assert_eq!(found, one_run(), "{place}: {summary}");
    std::fs::remove_dir_all(&data)?;
    Ok(summary["pipeline_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cp: {status}");
    Ok(())
}

#[test]
fn what_is_not_the_pipelines_alone_is_removed_only_when_somebody_agrees() -> Result<()> {
    let project = Project::new(&format!("{LINES}{MASK}"), ROWS)?;
    let node = NodeCommand::serve(&project.data()).start()?;
    let address = node.kafka.to_string();
    let create = ["topic", "create", "rows", "--partitions", "2", "--node"];
    millstream_ok(&[&create[..], &[&address]].concat())?;
    node.stop()?;
    // While the topic is empty there is nothing to lose.
    project.ran_once(&["--fresh"])?;

    let error = project.refused(&["--fresh"])?;
    assert!(
        error.contains("rows (up to") && error.contains("this pipeline did not create it"),
        "{error}"
    );
    assert!(error.contains("--yes"), "{error}");
    assert!(error.contains("its own: masked"), "{error}");
    let (summary, _) = project.ran_once(&[])?;
    assert_eq!(summary["pipeline_id"], "p", "nothing was changed");
    assert_eq!(summary["records_in"], 0, "nothing was changed");

    let (summary, _) = project.ran_once(&["--fresh", "--yes"])?;
    assert_eq!(summary["pipeline_id"], "p~2", "{summary}");
    assert_eq!(committed(&project.data(), &["rows", "masked"])?, one_run());
    // Now it is a topic that the pipeline has made.
    project.ran_once(&["--fresh"])?;

    let Some(program) = Client::Kcat.find() else {
        return Ok(());
    };
    let node = NodeCommand::serve(&project.data()).start()?;
    let address = node.kafka.to_string();
    let begin = "auto.offset.reset=earliest";
    let read = [
        "-b",
        &address,
        "-X",
        begin,
        "-G",
        "dashboard",
        "-e",
        "-q",
        "masked",
    ];
    kcat(&program, &read, b"")?;
    node.stop()?;
    let error = project.refused(&["--fresh"])?;
    assert!(
        error.contains("group dashboard has offsets in it"),
        "{error}"
    );
    project.ran_once(&["--fresh", "--yes"])?;
    assert_eq!(committed(&project.data(), &["rows", "masked"])?, one_run());
    Ok(())
}

/// A second pipeline reads what the first one writes, and has not committed anything there.
#[test]
fn a_topic_on_which_another_pipeline_works_is_not_removed_unasked() -> Result<()> {
    let project = Project::new(&format!("{LINES}{MASK}"), ROWS)?;
    project.ran_once(&[])?;
    let other = project.dir().join("other.toml");
    let text = "manifest = 1\npipeline = \"q\"\n\
                [stage.again]\nplugin = \"mask-digits\"\ninputs = \"masked\"\noutputs = \"again\"\n";
    std::fs::write(&other, text)?;
    ran(NodeCommand::run(&other, &project.data()).argument("--once"))?;
    let error = project.refused(&["--fresh"])?;
    assert!(
        error.contains("masked (up to") && error.contains("pipeline q works on it (stage again)"),
        "{error}"
    );
    assert!(!error.contains("rows (up to"), "{error}");
    Ok(())
}

#[test]
fn a_node_that_deletes_no_topics_refuses_a_fresh_run() -> Result<()> {
    let project = Project::new(LINES, ROWS)?;
    project.ran_once(&[])?;
    let kept = ["--fresh", "--yes", "--set", "delete.topic.enable=false"];
    let stopped = project.run_once(&kept).start()?.wait_for(RUN_LIMIT)?;
    assert_eq!(stopped.status.code(), Some(3), "{stopped:?}");
    assert!(
        stopped.stdout.contains("delete.topic.enable"),
        "{stopped:?}"
    );
    assert_eq!(project.ran_once(&[])?.0["pipeline_id"], "p");
    Ok(())
}
