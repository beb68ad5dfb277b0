//! A repair that is killed goes on.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result};
use millstream_end_to_end::{Client, NodeCommand, program};
use millstream_log::failpoint;
use rustix::process::Signal;

use super::{BATCHES, consume, copied, damaged, losses, produce, repair, repair_words};
use crate::scene::millstream_ok;

/// What a kill has left: the old damage, or none and a note of it.
fn check_left_behind(data: &Path, case: &str) -> Result<()> {
    let shown = repair(data, &[])?;
    let found = losses(&shown, "losses").with_context(|| format!("{case}: {shown:?}"))?;
    let given_up = losses(&shown, "accepted_losses")?;
    let is_old = found == [(6, 9)] && shown.status.code() == Some(1);
    let is_new = found.is_empty() && given_up == [(6, 9)] && shown.status.code() == Some(4);
    assert!(is_old || is_new, "{case}: {shown:?}");
    Ok(())
}

/// The same command goes on, and the node serves all but what was damaged.
fn check_goes_on(data: &Path, case: &str) -> Result<()> {
    let again = repair(data, &["--accept-loss"])?;
    assert!(again.status.success(), "{case}: {again:?}");
    let verified = millstream_ok(&["log", "verify", &data.display().to_string()])?;
    assert!(verified.contains("given up"), "{case}: {verified}");
    let node = NodeCommand::serve(data).start()?;
    let mut expected = BATCHES.concat();
    expected.retain(|value| !value.starts_with('c'));
    assert_eq!(consume(&node)?, expected, "{case}");
    produce(&node, &["on"])?;
    expected.push("on");
    assert_eq!(consume(&node)?, expected, "{case}");
    Ok(())
}

fn was_killed(ended: &Output) -> bool {
    ended.status.signal() == Some(Signal::KILL.as_raw())
}

#[test]
fn a_repair_that_is_killed_at_any_step_leaves_the_old_damage_or_none_and_goes_on() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let original = dir.path().join("original");
    damaged(&original)?;
    let mut killed = BTreeSet::new();
    for (name, _) in failpoint::list() {
        for nth in 1..=3 {
            let case = format!("{name}, {nth}");
            let data = dir.path().join(format!("{name}-{nth}"));
            copied(&original, &data)?;
            let ended = Command::new(program())
                .args(repair_words(&data))
                .arg("--accept-loss")
                .env(failpoint::ENVIRONMENT, format!("{name}=kill@{nth}"))
                .output()?;
            if !was_killed(&ended) {
                assert!(ended.status.success(), "{case}: {ended:?}");
                std::fs::remove_dir_all(&data)?;
                break;
            }
            killed.insert(*name);
            check_left_behind(&data, &case)?;
            check_goes_on(&data, &case)?;
            std::fs::remove_dir_all(&data)?;
        }
    }
    for step in [
        "repair.after_copies",
        "repair.after_note",
        "cleaner.before_sync",
        "cleaner.before_swap_name",
        "cleaner.after_swap_name",
        "segments.after_swap",
        "segments.between_files",
        "segments.between_renames",
        "segments.before_own_name",
        "store.before_checkpoint",
        "checkpoint.before_rename",
        "store.before_clean_marker",
    ] {
        assert!(killed.contains(step), "{step} is not reached: {killed:?}");
    }
    Ok(())
}

/// System calls that change a disk, and how many of each are passed over between two kills.
const CALLS: [(&str, usize); 7] = [
    ("pwrite64", 5),
    ("ftruncate", 2),
    ("fsync", 2),
    ("fdatasync", 2),
    ("syncfs", 1),
    ("rename", 1),
    ("unlink", 1),
];

#[test]
fn a_repair_that_is_killed_at_a_system_call_leaves_the_old_damage_or_none_and_goes_on() -> Result<()>
{
    let Some(strace) = Client::Strace.find() else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let original = dir.path().join("original");
    damaged(&original)?;
    let mut kills = 0;
    for (call, step) in CALLS {
        for nth in (1..).step_by(step) {
            let case = format!("{call}, {nth}");
            let data = dir.path().join(format!("{call}-{nth}"));
            copied(&original, &data)?;
            let ended = Command::new(&strace)
                .args(["-f", "-qq", "-o", "/dev/null"])
                .args(["-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=KILL:when={nth}")])
                .arg(program())
                .args(repair_words(&data))
                .arg("--accept-loss")
                .output()?;
            if !was_killed(&ended) {
                assert!(ended.status.success(), "{case}: {ended:?}");
                std::fs::remove_dir_all(&data)?;
                break;
            }
            kills += 1;
            check_left_behind(&data, &case)?;
            check_goes_on(&data, &case)?;
            std::fs::remove_dir_all(&data)?;
        }
    }
    assert!(kills > 20, "{kills}");
    Ok(())
}
