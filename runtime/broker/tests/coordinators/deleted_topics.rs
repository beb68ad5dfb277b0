//! A topic is deleted and made anew while groups have offsets in it, committed and pending, and the node is killed at
//! every step: a group sees the old topic with its offset, or no offset. As in `crash.rs`, this test program runs itself
//! as the process that is killed.

use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Command,
};

use millstream_broker::{SyntheticMember, TopicPartition};
use millstream_cluster::TopicSpec;
use millstream_log::{FlushMode, failpoint};
use millstream_wire::ErrorCode;

use crate::support::{MODES, Node, TIMEOUT_MS, Task, topic_id};

/// Tells the child where to work; it is alone in having it.
const DIR: &str = "MILLSTREAM_TEST_DELETED_TOPICS_DIR";
const FLUSH: &str = "MILLSTREAM_TEST_DELETED_TOPICS_FLUSH";
const LIFE: &str = "deleted_topics::a_topic_with_offsets_is_made_anew";

/// A stage whose transaction is open when the topic goes.
const PENDING_GROUP: &str = "millstream.q.clean";
const PENDING_ID: &str = "q/clean/0";

/// Positions in the old topic and in the new one.
const COMMITTED: i64 = 7;
const PENDING: i64 = 9;
const ANEW: i64 = 1;

/// Fail points on the way, each with the time at which it strikes.
const STEPS: [(&str, u64); 15] = [
    ("topic.before_removal", 1),
    ("topic.after_removal", 1),
    ("topic.before_files", 1),
    ("topic.after_files", 1),
    ("topic.after_creation", 1),
    // The end of the transaction that was open.
    ("transaction.before_prepare", 2),
    ("transaction.after_prepare", 2),
    ("transaction.after_markers", 2),
    ("transaction.after_complete", 2),
    // The first commit in the new topic.
    ("transaction.after_data", 3),
    ("group.after_offsets", 3),
    ("transaction.before_prepare", 3),
    ("transaction.after_prepare", 3),
    ("transaction.after_markers", 3),
    ("transaction.after_complete", 3),
];

/// Two groups get offsets in a topic, one within a transaction that stays open; the topic is deleted and made anew, the
/// transaction is committed, and the other group commits in the new topic. Without the child's environment it is the
/// undisturbed run.
#[tokio::test]
async fn a_topic_with_offsets_is_made_anew() {
    let own = tempfile::tempdir().unwrap();
    let dir = std::env::var_os(DIR).map_or(own.path().to_owned(), PathBuf::from);
    let flush: FlushMode = std::env::var(FLUSH).map_or(FlushMode::Os, |mode| mode.parse().unwrap());
    let node = Node::open(&dir, flush).await;
    let mut task = node.task(1).await;
    task.transact("first", COMMITTED).await.unwrap();
    let mut pending = pending_task(&node, 1).await;
    pending.begin().await.unwrap();
    pending.append(0, "pending").await.unwrap();
    pending.offsets(PENDING).await.unwrap();
    println!("\nformer {}", topic_id(&node.local, "in"));

    node.local.delete_topic("in").await.unwrap();
    println!("\ndeleted");
    assert_eq!(node.position().await, Ok(None));
    let spec = TopicSpec {
        partitions: 1,
        ..TopicSpec::named("in")
    };
    node.local.create_topic(&spec).await.unwrap();
    assert_eq!(node.position().await, Ok(None));
    assert_eq!(pending_position(&node).await, Ok(None));
    pending.end(true).await.unwrap();
    assert_eq!(pending_position(&node).await, Ok(None));
    task.transact("anew", ANEW).await.unwrap();
    println!("\ncommitted anew");
    assert_eq!(node.position().await, Ok(Some(ANEW)));
    assert_eq!(pending_position(&node).await, Ok(None));
}

async fn pending_task(node: &Node, generation: i32) -> Task {
    let member = SyntheticMember {
        member_id: crate::support::MEMBER.to_owned(),
        client_id: PENDING_ID.to_owned(),
        generation,
        partitions: vec![TopicPartition::new("in", 0)],
    };
    node.local
        .hold_group(PENDING_GROUP, &[member])
        .await
        .unwrap();
    let (id, epoch) = node
        .local
        .init_producer_id(PENDING_ID, TIMEOUT_MS)
        .await
        .unwrap();
    let task = Task::new(node.local.clone(), PENDING_ID, id, epoch, generation);
    task.in_group(PENDING_GROUP)
}

async fn pending_position(node: &Node) -> Result<Option<i64>, ErrorCode> {
    node.position_in(PENDING_GROUP).await
}

/// Runs the child with a fail point; what it printed, and whether it was killed.
fn run(dir: &Path, flush: FlushMode, (point, nth): (&str, u64)) -> (String, bool) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", LIFE, "--nocapture"])
        .env(DIR, dir)
        .env(FLUSH, flush.as_str())
        .env(failpoint::ENVIRONMENT, format!("{point}=kill@{nth}"))
        .output()
        .unwrap();
    let killed = output.status.signal() == Some(9);
    assert!(
        killed || output.status.success(),
        "{point}@{nth} in {flush:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (String::from_utf8(output.stdout).unwrap(), killed)
}

#[tokio::test]
async fn a_kill_at_any_step_leaves_the_old_topic_with_its_offset_or_no_offset() {
    for flush in MODES {
        for step in STEPS {
            let dir = tempfile::tempdir().unwrap();
            let (said, killed) = run(dir.path(), flush, step);
            assert!(killed, "{step:?} in {flush:?} was not reached");
            check_after(dir.path(), flush, &said, step).await;
        }
    }
}

/// Everything that is durable in between becomes so by a flush.
#[tokio::test]
async fn a_kill_around_any_flush_does_too() {
    for point in ["journal.before_sync", "journal.after_sync"] {
        let mut nth = 0;
        loop {
            nth += 1;
            let dir = tempfile::tempdir().unwrap();
            let (said, killed) = run(dir.path(), FlushMode::Journal, (point, nth));
            if !killed {
                break;
            }
            check_after(dir.path(), FlushMode::Journal, &said, (point, nth)).await;
        }
        assert!(nth > 10, "{point} strikes {nth} times only");
    }
}

async fn check_after(dir: &Path, flush: FlushMode, said: &str, step: (&str, u64)) {
    let step = format!("killed at {step:?} in {flush:?}");
    let has_said = |line: &str| said.lines().any(|one| one == line);
    let former = said.lines().find_map(|line| line.strip_prefix("former "));
    // Twice, with an expiry in between that removes what is to go.
    for life in 0..2 {
        let expiry = [("offsets.retention.check.interval.ms", "5")];
        let node = Node::with(dir, flush, &expiry).await;
        let present = topic_id(&node.local, "in").to_string();
        let is_former = former == Some(present.as_str());
        // What was open or decided is settled.
        drop((
            node.task(2 + life).await,
            pending_task(&node, 2 + life).await,
        ));
        let position = node.position().await.unwrap();
        let pending = pending_position(&node).await.unwrap();
        match former {
            // It was killed before it had said so; there is the one topic, whatever is committed in it.
            None => assert!([None, Some(COMMITTED)].contains(&position), "{step}"),
            Some(_) if is_former => {
                assert!(!has_said("deleted"), "{step}: the old topic is back");
                assert_eq!(position, Some(COMMITTED), "{step}: the old topic");
            }
            Some(_) if has_said("committed anew") => {
                assert_eq!(position, Some(ANEW), "{step}: the new topic");
            }
            Some(_) => assert!(
                [None, Some(ANEW)].contains(&position),
                "{step}: {position:?} in the new topic"
            ),
        }
        assert_eq!(pending, None, "{step}");
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        node.close().await;
    }
}
