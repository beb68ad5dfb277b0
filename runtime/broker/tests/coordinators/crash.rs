//! SIGKILL at every step of a commit: this test program runs itself as the process that is killed.

use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Command,
};

use millstream_log::{FlushMode, failpoint};

use crate::support::{MODES, Node};

/// Tells the child where to work; it is alone in having it.
const DIR: &str = "MILLSTREAM_TEST_CRASH_DIR";
const FLUSH: &str = "MILLSTREAM_TEST_CRASH_FLUSH";

/// Fail point, the time at which it strikes, and whether the outcome was decided by then.
const STEPS: [(&str, u64, bool); 9] = [
    ("transaction.after_data", 2, false),
    ("group.after_offsets", 2, false),
    ("transaction.before_prepare", 2, false),
    ("transaction.after_prepare", 2, true),
    ("transaction.between_markers", 3, true),
    ("transaction.between_markers", 4, true),
    ("transaction.after_markers", 2, true),
    ("transaction.after_complete", 2, true),
    ("journal.before_sync", 4, false),
];

/// Two transactions; fail points strike in the second. Without the child's environment it is the undisturbed run.
#[tokio::test]
async fn two_transactions() {
    let own = tempfile::tempdir().unwrap();
    let dir = std::env::var_os(DIR).map_or(own.path().to_owned(), PathBuf::from);
    let flush: FlushMode = std::env::var(FLUSH).map_or(FlushMode::Os, |mode| mode.parse().unwrap());
    let node = Node::open(&dir, flush).await;
    let mut task = node.task(1).await;
    task.transact("first", 1).await.unwrap();
    task.transact("second", 2).await.unwrap();
    assert_eq!(node.committed(0), ["first", "second"]);
    assert_eq!(node.position().await, Ok(Some(2)));
}

fn run_until_killed(dir: &Path, flush: FlushMode, point: &str, nth: u64) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::two_transactions", "--nocapture"])
        .env(DIR, dir)
        .env(FLUSH, flush.as_str())
        .env(failpoint::ENVIRONMENT, format!("{point}=kill@{nth}"))
        .output()
        .unwrap();
    assert_eq!(
        output.status.signal(),
        Some(9),
        "{point}@{nth} in {flush:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn a_kill_at_any_step_leaves_all_or_nothing() {
    for flush in MODES {
        for (point, nth, decided) in STEPS {
            if flush == FlushMode::Os && point.starts_with("journal.") {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            run_until_killed(dir.path(), flush, point, nth);
            check_after(dir.path(), flush, point, decided).await;
        }
    }
}

async fn check_after(dir: &Path, flush: FlushMode, point: &str, decided: bool) {
    let step = format!("killed at {point} in {flush:?}");
    let node = Node::open(dir, flush).await;
    // The forerunner's transaction is settled by the next task: finished when it was decided, else aborted.
    let mut task = node.task(2).await;
    let position = node.position().await.unwrap();
    let committed = node.committed(0);
    assert_eq!(committed, node.committed(1), "{step}: torn");
    let second = committed.iter().any(|value| value == "second");
    assert_eq!(
        position == Some(2),
        second,
        "{step}: data and position part"
    );
    match flush {
        // What was written is there: the page cache outlives the process.
        FlushMode::Os => assert_eq!(second, decided, "{step}"),
        // What was flushed is there, which a kill may leave short of the decision; never the reverse.
        FlushMode::Journal => assert!(decided || !second, "{step}"),
    }
    // The task goes on where it stands, and in the end everything is there once.
    for (value, next) in [("first", 1), ("second", 2), ("third", 3)] {
        if position.unwrap_or(0) < next {
            task.transact(value, next).await.unwrap();
        }
    }
    for partition in 0..2 {
        assert_eq!(
            node.committed(partition),
            ["first", "second", "third"],
            "{step}"
        );
        assert!(!node.is_open(partition), "{step}");
    }
    assert_eq!(node.position().await, Ok(Some(3)));
}

#[tokio::test]
async fn a_decision_is_carried_out_after_a_crash_without_anybody_asking() {
    let dir = tempfile::tempdir().unwrap();
    run_until_killed(dir.path(), FlushMode::Os, "transaction.after_prepare", 2);
    let node = Node::open(dir.path(), FlushMode::Os).await;
    crate::support::eventually(|| (!node.is_open(0) && !node.is_open(1)).then_some(())).await;
    assert_eq!(node.committed(0), ["first", "second"]);
    crate::support::eventually_async(async || node.position().await == Ok(Some(2))).await;
}
