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

/// The tests here that are run as processes of their own.
const COMMITS: &str = "crash::two_transactions";
const LIFE: &str = "crash::a_nodes_whole_life";

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

/// Runs one of the tests here in a process of its own until the fail point strikes; what it printed.
fn run_until_killed(test: &str, dir: &Path, flush: FlushMode, (point, nth): (&str, u64)) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
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
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_kill_at_any_step_leaves_all_or_nothing() {
    for flush in MODES {
        for (point, nth, decided) in STEPS {
            if flush == FlushMode::Os && point.starts_with("journal.") {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            run_until_killed(COMMITS, dir.path(), flush, (point, nth));
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
    let step = ("transaction.after_prepare", 2);
    run_until_killed(COMMITS, dir.path(), FlushMode::Os, step);
    let node = Node::open(dir.path(), FlushMode::Os).await;
    crate::support::eventually(|| (!node.is_open(0) && !node.is_open(1)).then_some(())).await;
    assert_eq!(node.committed(0), ["first", "second"]);
    crate::support::eventually_async(async || node.position().await == Ok(Some(2))).await;
}

/// Fail points of the log, and the time at which each strikes in a node's whole life.
const LOG_STEPS: [(&str, u64); 14] = [
    ("journal.before_write", 20),
    ("journal.before_sync", 30),
    ("journal.after_sync", 25),
    ("journal.before_cut", 1),
    ("checkpoint.before_rename", 4),
    ("log.after_segment_write", 60),
    ("log.before_roll", 3),
    ("retention.after_log_start", 1),
    ("segments.after_swap", 1),
    ("segments.between_renames", 2),
    ("segments.before_delete", 2),
    ("store.before_checkpoint", 2),
    ("store.after_log_sync", 2),
    ("store.before_clean_marker", 1),
];
/// Enough to fill a few segments of [`SETTINGS`].
const VALUE_BYTES: usize = 2_000;
const SETTINGS: [(&str, &str); 3] = [
    ("log.segment.bytes", "8192"),
    ("log.retention.bytes", "16384"),
    ("log.segment.delete.delay.ms", "0"),
];

fn value(position: i64) -> String {
    format!("{position:0width$}", width = VALUE_BYTES)
}

/// Commits, segments that roll, a checkpoint, retention, files that are removed, and a clean stop. Says which commits
/// were acknowledged.
#[tokio::test]
async fn a_nodes_whole_life() {
    let own = tempfile::tempdir().unwrap();
    let dir = std::env::var_os(DIR).map_or(own.path().to_owned(), PathBuf::from);
    let node = Node::with(&dir, FlushMode::Journal, &SETTINGS).await;
    let mut task = node.task(1).await;
    for position in 1..=30 {
        task.transact(&value(position), position).await.unwrap();
        println!("\nacknowledged {position}");
        if position % 10 == 0 {
            let store = node.store.clone();
            let tidy = move || {
                store.checkpoint().unwrap();
                store.apply_retention().unwrap();
                store.checkpoint().unwrap();
                store.apply_retention().unwrap();
                store.remove_deleted_files();
            };
            tokio::task::spawn_blocking(tidy).await.unwrap();
        }
    }
    drop(task);
    node.close().await;
}

#[tokio::test]
async fn a_kill_at_any_moment_of_a_nodes_life_loses_nothing_acknowledged() {
    for step in LOG_STEPS {
        let dir = tempfile::tempdir().unwrap();
        let said = run_until_killed(LIFE, dir.path(), FlushMode::Journal, step);
        let acknowledged = said.lines().rev();
        let acknowledged = acknowledged
            .filter_map(|line| line.strip_prefix("acknowledged "))
            .find_map(|position| position.parse::<i64>().ok())
            .unwrap_or(0);
        let node = Node::with(dir.path(), FlushMode::Journal, &SETTINGS).await;
        let mut task = node.task(2).await;
        let position = node.position().await.unwrap().unwrap_or(0);
        assert!(
            (acknowledged..=acknowledged + 1).contains(&position),
            "{step:?}: {acknowledged} acknowledged, {position} there"
        );
        for partition in 0..2 {
            let committed = node.committed(partition);
            let kept = i64::try_from(committed.len()).unwrap();
            let expected: Vec<String> = (position - kept + 1..=position).map(value).collect();
            assert!(committed == expected, "{step:?}: partition {partition}");
            // Retention may have taken the oldest; a few segments' worth it leaves alone.
            assert!(kept >= position.min(6), "{step:?}: {kept} of {position}");
        }
        task.transact(&value(position + 1), position + 1)
            .await
            .unwrap();
        assert_eq!(node.position().await, Ok(Some(position + 1)), "{step:?}");
        node.close().await;
    }
}
