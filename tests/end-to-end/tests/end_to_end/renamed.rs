//! A stage or a source under a new name: what that means is said before it happens.

use std::fs::File;

use anyhow::Result;
use millstream_end_to_end::{Client, NodeCommand, kcat};

use crate::project::{LINES, Project, RUN_LIMIT, committed};

const ROWS: &str = "a1\nb2\n";

fn manifest(source: &str, stage: &str) -> String {
    let source = LINES.replace("source.rows", &format!("source.{source}"));
    format!(
        "{source}[stage.{stage}]\nplugin = \"mask-digits\"\ninputs = \"rows\"\noutputs = \"masked\"\n"
    )
}

#[test]
fn a_renamed_stage_processes_everything_again_only_when_somebody_agrees() -> Result<()> {
    let project = Project::new(&manifest("rows", "mask"), ROWS)?;
    project.ran_once(&[])?;
    project.write_manifest(&manifest("rows", "hide"))?;
    let error = project.refused(&[])?;
    for said in [
        "the manifest has no stage mask any more, which ran before, and stage hide instead",
        "stage mask leaves behind its group millstream.p.mask with the offsets in rows",
        "stage hide begins at the earliest record of rows",
        "again after mask",
        "--yes",
        "under its old name",
    ] {
        assert!(error.contains(said), "{said}: {error}");
    }
    // Nothing was changed: under its old name it goes on.
    project.write_manifest(&manifest("rows", "mask"))?;
    assert_eq!(project.ran_once(&[])?.0["stages"][0]["records_in"], 0);

    project.write_manifest(&manifest("rows", "hide"))?;
    let said = project.dir().join("said");
    let command = project.run_once(&["--yes"]);
    let command = command.stderr(File::create(&said)?.into());
    assert!(command.start()?.wait_for(RUN_LIMIT)?.status.success());
    let said = std::fs::read_to_string(&said)?;
    assert!(
        said.contains("note: the manifest has no stage mask"),
        "{said}"
    );
    let twice = ["a#", "a#", "b#", "b#"];
    assert_eq!(committed(&project.data(), &["masked"])?["masked"], twice);
    // It was asked once, and the old stage's group is open to everybody.
    assert_eq!(project.ran_once(&[])?.0["stages"][0]["records_in"], 0);
    if let Some(program) = Client::Kcat.find() {
        let node = NodeCommand::serve(&project.data()).start()?;
        let address = node.kafka.to_string();
        let join = |group| {
            let read = ["-b", &address, "-G", group, "-e", "-q", "rows"];
            kcat(&program, &read, b"")
        };
        assert_eq!(join("millstream.p.mask")?, b"");
        node.stop()?;
    }
    Ok(())
}

#[test]
fn a_renamed_source_reads_its_file_again_only_when_somebody_agrees() -> Result<()> {
    let project = Project::new(&manifest("rows", "mask"), ROWS)?;
    project.ran_once(&[])?;
    project.write_manifest(&manifest("lines", "mask"))?;
    let error = project.refused(&[])?;
    assert!(
        error.contains("source lines reads its file from the beginning into rows"),
        "{error}"
    );
    assert_eq!(project.ran_once(&["--yes"])?.0["records_in"], 2);
    assert_eq!(committed(&project.data(), &["rows"])?["rows"].len(), 4);
    // Under its old name it knows how far it has read.
    project.write_manifest(&manifest("rows", "mask"))?;
    let error = project.refused(&[])?;
    assert!(
        error.contains("source rows goes on in its file behind the 2 records"),
        "{error}"
    );
    assert_eq!(project.ran_once(&["--yes"])?.0["records_in"], 0);
    Ok(())
}

/// Nothing is lost by it, and nothing is done again.
#[test]
fn stages_that_only_come_or_only_go_are_not_asked_about() -> Result<()> {
    let both = format!(
        "{}[stage.more]\nplugin = \"mask-digits\"\ninputs = \"rows\"\noutputs = \"more\"\n",
        manifest("rows", "mask")
    );
    let project = Project::new(&manifest("rows", "mask"), ROWS)?;
    for (manifest, records_in) in [
        (manifest("rows", "mask"), 2),
        (both.clone(), 0),
        (manifest("rows", "mask"), 0),
        (both, 0),
    ] {
        project.write_manifest(&manifest)?;
        let (summary, _) = project.ran_once(&[])?;
        assert_eq!(summary["records_in"], records_in, "{summary}");
    }
    let found = committed(&project.data(), &["masked", "more"])?;
    assert_eq!(found["masked"], ["a#", "b#"]);
    assert_eq!(
        found["more"],
        ["a#", "b#"],
        "it came and went, and came back"
    );
    Ok(())
}
