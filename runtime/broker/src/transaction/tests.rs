//! The coordinator over real logs: what it appends when, with a clock that
//! stands and a disk whose flush can be held.

use std::sync::Arc;
use std::time::Duration;

use millstream_log::clock::Clock;
use millstream_log::testing::{Fault, FaultyCall};
use millstream_log::{FlushMode, VerificationGuard};
use millstream_records::NO_SEQUENCE;
use millstream_wire::ErrorCode;
use tokio::task::JoinHandle;

use super::{Durability, Producer};
use crate::InternalTopic;
use crate::coordinator::testing::TestNode;
use crate::coordinator::{Background, Ports, TopicPartition, batch_of, partition_for};
use crate::group::{Committer, OffsetToCommit};

const ID: &str = "p/clean/0";
const GROUP: &str = "millstream.p.clean";
const DAY: Duration = Duration::from_secs(86_400);
const HOUR_MS: i64 = 3_600_000;

fn out() -> TopicPartition {
    TopicPartition::new("out", 0)
}

async fn init(node: &TestNode) -> Producer {
    node.transactions
        .init_producer_id(ID, 60_000, None)
        .await
        .unwrap()
}

fn append(node: &TestNode, producer: Producer, guard: Option<VerificationGuard>) {
    let batch = batch_of(
        [(&b"key"[..], Some(&b"value"[..]))],
        0,
        Some((producer.id, producer.epoch)),
    )
    .unwrap();
    node.ports
        .led("out", 0)
        .unwrap()
        .append(batch, guard)
        .unwrap();
}

/// Who commits offsets without being in the group.
const NO_MEMBER: Committer<'_> = Committer {
    member_id: "",
    instance_id: None,
    generation: -1,
};

fn offset(node: &TestNode, offset: i64) -> OffsetToCommit {
    OffsetToCommit {
        partition: TopicPartition::new("in", 0),
        topic_id: node.ports.topic_id("in").unwrap_or_default(),
        offset,
        leader_epoch: -1,
        metadata: String::new(),
    }
}

/// Asks for the commit, and does not wait for the answer.
fn commit_later(node: &TestNode, producer: Producer) -> JoinHandle<Result<(), ErrorCode>> {
    let transactions = Arc::clone(&node.transactions);
    tokio::spawn(async move { transactions.end(ID, producer, true).await })
}

/// Adds the partition as a client does, and does not wait for the answer.
fn add_later(node: &TestNode, producer: Producer) -> JoinHandle<Result<(), ErrorCode>> {
    let transactions = Arc::clone(&node.transactions);
    tokio::spawn(async move {
        transactions
            .add_partitions(ID, producer, &[out()], Durability::Flushed)
            .await
    })
}

/// Opens a transaction with a record and an offset, not yet ended.
async fn open(node: &TestNode, producer: Producer) {
    let transactions = &node.transactions;
    transactions
        .add_partitions(ID, producer, &[out()], Durability::Appended)
        .await
        .unwrap();
    let log = node.ports.led("out", 0).unwrap().log;
    let guard = log.verification_guard(producer.id, producer.epoch, NO_SEQUENCE);
    transactions
        .verify_partition(ID, producer, &out())
        .await
        .unwrap();
    append(node, producer, guard);
    transactions
        .add_offsets(ID, producer, GROUP, Durability::Appended)
        .await
        .unwrap();
    let offsets = vec![offset(node, 5)];
    let results = transactions
        .commit_offsets(
            ID,
            producer,
            GROUP,
            NO_MEMBER,
            offsets,
            Durability::Appended,
        )
        .await
        .unwrap();
    assert_eq!(results, [ErrorCode::None]);
}

fn state_end(node: &TestNode) -> i64 {
    node.log_end(InternalTopic::TransactionState.name(), partition_for(ID, 2))
}

async fn position(node: &TestNode, require_stable: bool) -> Result<Option<i64>, ErrorCode> {
    let fetched = node
        .groups
        .fetch_offsets(GROUP, Some(&[TopicPartition::new("in", 0)]), require_stable)
        .await
        .unwrap();
    fetched[0]
        .1
        .clone()
        .map(|committed| committed.map(|committed| committed.offset))
}

fn is_stable(node: &TestNode) -> bool {
    let offsets = node.ports.led("out", 0).unwrap().log.offsets();
    offsets.last_stable == offsets.high_watermark && offsets.high_watermark == offsets.log_end
}

async fn a_while() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}

#[tokio::test]
async fn a_fused_commit_appends_everything_and_answers_after_its_flush() {
    let node = TestNode::new(FlushMode::Journal, true);
    let producer = init(&node).await;
    let held = node.fs.hold_syncs();
    open(&node, producer).await;
    let before = state_end(&node);
    let end = commit_later(&node, producer);
    a_while().await;
    assert_eq!(
        state_end(&node),
        before + 2,
        "Prepare and Complete are appended"
    );
    assert!(!end.is_finished(), "and nobody was told");
    assert_eq!(position(&node, false).await, Ok(None));
    assert!(!is_stable(&node));
    drop(held);
    end.await.unwrap().unwrap();
    assert_eq!(position(&node, true).await, Ok(Some(5)));
    assert!(is_stable(&node));
}

#[tokio::test]
async fn a_commit_in_order_waits_for_the_data_before_it_decides() {
    let node = TestNode::new(FlushMode::Journal, false);
    let producer = init(&node).await;
    let held = node.fs.hold_syncs();
    open(&node, producer).await;
    let before = state_end(&node);
    let end = commit_later(&node, producer);
    a_while().await;
    assert_eq!(state_end(&node), before, "no decision without its data");
    // Whoever comes meanwhile waits for the decision.
    let next = add_later(&node, producer);
    a_while().await;
    assert!(!end.is_finished() && !next.is_finished());
    drop(held);
    end.await.unwrap().unwrap();
    next.await.unwrap().unwrap();
    assert_eq!(
        state_end(&node),
        before + 3,
        "Prepare, Complete, and the next transaction"
    );
    assert_eq!(position(&node, true).await, Ok(Some(5)));
    assert!(is_stable(&node));
}

#[tokio::test]
async fn answers_to_clients_wait_for_the_flush() {
    let node = TestNode::new(FlushMode::Journal, true);
    let producer = init(&node).await;
    let held = node.fs.hold_syncs();
    let added = add_later(&node, producer);
    let groups = Arc::clone(&node.groups);
    let offsets = vec![offset(&node, 9)];
    let committed =
        tokio::spawn(async move { groups.commit_offsets(GROUP, NO_MEMBER, None, offsets).await });
    a_while().await;
    assert!(!added.is_finished() && !committed.is_finished());
    assert_eq!(position(&node, true).await, Ok(None), "not yet committed");
    drop(held);
    added.await.unwrap().unwrap();
    assert_eq!(committed.await.unwrap(), [ErrorCode::None]);
    assert_eq!(position(&node, true).await, Ok(Some(9)));
}

#[tokio::test]
async fn in_order_the_outcome_is_the_same() {
    for commit in [true, false] {
        let node = TestNode::new(FlushMode::Os, false);
        let producer = init(&node).await;
        open(&node, producer).await;
        node.transactions.end(ID, producer, commit).await.unwrap();
        // The next one waits for the markers instead of being told to come again.
        let next = init(&node).await;
        assert_eq!(next.epoch, producer.epoch + 1);
        assert_eq!(position(&node, true).await, Ok(commit.then_some(5)));
        assert!(is_stable(&node));
    }
}

#[tokio::test]
async fn an_overdue_transaction_is_aborted_by_the_clock() {
    let node = TestNode::new(FlushMode::Os, true);
    let producer = init(&node).await;
    open(&node, producer).await;
    node.clock.advance(Duration::from_millis(60_000));
    node.transactions.abort_overdue().await;
    assert!(!is_stable(&node), "not a moment too early");
    node.clock.advance(Duration::from_millis(1));
    node.transactions.abort_overdue().await;
    assert!(is_stable(&node));
    assert_eq!(position(&node, true).await, Ok(None));
    assert_eq!(
        node.transactions.end(ID, producer, true).await,
        Err(ErrorCode::ProducerFenced)
    );
}

/// An administrator, or a time server, sets the clock by an hour.
#[tokio::test]
async fn a_wall_clock_that_jumps_aborts_no_transaction_and_puts_none_off() {
    for jump_ms in [HOUR_MS, -HOUR_MS] {
        let node = TestNode::new(FlushMode::Os, true);
        let producer = init(&node).await;
        open(&node, producer).await;
        node.clock.advance(Duration::from_millis(55_000));
        node.clock.set_date(node.clock.now_ms() + jump_ms);
        node.transactions.abort_overdue().await;
        assert!(!is_stable(&node), "{jump_ms}");
        assert_eq!(
            node.transactions.run_due().await,
            Some(5_001),
            "the timer sleeps as long as before"
        );
        node.clock.advance(Duration::from_millis(5_000));
        node.transactions.abort_overdue().await;
        assert!(!is_stable(&node), "{jump_ms}: not a moment too early");
        node.clock.advance(Duration::from_millis(1));
        node.transactions.abort_overdue().await;
        assert!(is_stable(&node), "{jump_ms}");
        assert_eq!(position(&node, true).await, Ok(None));
    }
}

#[tokio::test]
async fn a_transaction_that_outlives_a_jump_of_the_wall_clock_commits() {
    for jump_ms in [HOUR_MS, -HOUR_MS] {
        let node = TestNode::new(FlushMode::Journal, true);
        let producer = init(&node).await;
        open(&node, producer).await;
        node.clock.set_date(node.clock.now_ms() + jump_ms);
        node.transactions.abort_overdue().await;
        assert_eq!(node.transactions.end(ID, producer, true).await, Ok(()));
        assert_eq!(position(&node, true).await, Ok(Some(5)), "{jump_ms}");
    }
}

/// Its record has wall times only, which say nothing about how long it was open.
#[tokio::test]
async fn an_open_transaction_has_its_whole_time_out_again_after_a_start() {
    for jump_ms in [0, HOUR_MS, -HOUR_MS] {
        let node = TestNode::new(FlushMode::Os, true);
        let producer = init(&node).await;
        open(&node, producer).await;
        node.clock.advance(Duration::from_millis(59_000));
        node.clock.set_date(node.clock.now_ms() + jump_ms);
        let node = node.reloaded();
        // The first who asks loads the partition, and with it the deadline.
        let known = node
            .transactions
            .verify_partition(ID, producer, &out())
            .await;
        assert_eq!(known, Ok(()));
        node.clock.advance(Duration::from_millis(60_000));
        node.transactions.abort_overdue().await;
        assert!(!is_stable(&node), "{jump_ms}");
        node.clock.advance(Duration::from_millis(1));
        node.transactions.abort_overdue().await;
        // The group's partition has to be loaded first, which a task of ours does.
        while !is_stable(&node) {
            a_while().await;
        }
        assert_eq!(position(&node, true).await, Ok(None));
    }
}

/// Its data wait for the disk; the timer must not spin meanwhile.
#[tokio::test]
async fn an_overdue_transaction_that_is_being_decided_is_left_alone() {
    let node = TestNode::new(FlushMode::Journal, false);
    let producer = init(&node).await;
    let held = node.fs.hold_syncs();
    open(&node, producer).await;
    let end = commit_later(&node, producer);
    a_while().await;
    node.clock.advance(Duration::from_millis(60_001));
    let looked = tokio::time::timeout(Duration::from_secs(5), node.transactions.abort_overdue());
    assert!(looked.await.is_ok(), "it looks again later");
    drop(held);
    end.await.unwrap().unwrap();
    assert_eq!(position(&node, true).await, Ok(Some(5)));
}

/// Its topic is deleted and made anew while the transaction is open.
#[tokio::test]
async fn a_pending_offset_of_a_deleted_topic_does_not_become_one_of_the_next() {
    for commit in [true, false] {
        for restarts in [false, true] {
            let node = TestNode::new(FlushMode::Journal, true);
            let producer = init(&node).await;
            open(&node, producer).await;
            assert_eq!(
                position(&node, true).await,
                Err(ErrorCode::UnstableOffsetCommit)
            );
            let former = node.ports.remove_topic("in");
            node.groups.topics_deleted(&[former]);
            node.ports.add_topic("in");
            let node = match restarts {
                true => node.reloaded(),
                false => node,
            };
            // Nobody has to wait for it.
            assert_eq!(position(&node, true).await, Ok(None));
            assert_eq!(node.transactions.end(ID, producer, commit).await, Ok(()));
            assert_eq!(position(&node, true).await, Ok(None));
            node.groups.expire();
            let node = node.reloaded();
            assert_eq!(position(&node, true).await, Ok(None));
        }
    }
}

#[tokio::test]
async fn idle_ids_are_forgotten_and_open_ones_are_not() {
    let node = TestNode::new(FlushMode::Os, true);
    let producer = init(&node).await;
    open(&node, producer).await;
    node.clock.advance(DAY * 8);
    node.transactions.expire();
    node.transactions.end(ID, producer, true).await.unwrap();
    node.clock.advance(DAY * 7);
    node.transactions.expire();
    let unknown = Err(ErrorCode::InvalidProducerIdMapping);
    assert_eq!(node.transactions.end(ID, producer, true).await, unknown);
    let node = node.reloaded();
    assert_eq!(node.transactions.end(ID, producer, true).await, unknown);
    assert_eq!(init(&node).await.epoch, 0);
}

/// Fails the next flush of the journal, and with it the node.
fn fail_next_flush(node: &TestNode) {
    node.fs.inject(Fault {
        call: FaultyCall::Sync,
        path_contains: ".journal".to_owned(),
        nth: 1,
        kind: std::io::ErrorKind::Other,
    });
}

/// Nothing that is asked of a node whose flush failed can be had by waiting: it says so at once,
/// whatever the transaction was in the middle of.
#[tokio::test]
async fn a_node_that_takes_no_writes_says_so_instead_of_asking_to_wait() {
    for sole_replica in [true, false] {
        let node = TestNode::new(FlushMode::Journal, sole_replica);
        let producer = init(&node).await;
        let held = node.fs.hold_syncs();
        open(&node, producer).await;
        fail_next_flush(&node);
        let storage = Err(ErrorCode::KafkaStorageError);
        let ended = commit_later(&node, producer);
        a_while().await;
        drop(held);
        assert_eq!(
            ended.await.unwrap(),
            storage,
            "sole replica: {sole_replica}"
        );
        for expected in [None, Some(producer)] {
            let begun = node.transactions.init_producer_id(ID, 60_000, expected);
            assert_eq!(begun.await.map(|_| ()), storage);
        }
        assert_eq!(node.transactions.end(ID, producer, true).await, storage);
        node.transactions.close().await;
    }
}

/// A wait for replicas ends when the node fails, not when its time is over.
#[tokio::test]
async fn a_wait_for_the_high_watermark_ends_when_the_node_fails() {
    let node = TestNode::new(FlushMode::Journal, false);
    let producer = init(&node).await;
    let held = node.fs.hold_syncs();
    open(&node, producer).await;
    fail_next_flush(&node);
    let led = node.ports.led("out", 0).unwrap();
    let waits = tokio::spawn(async move { led.all_committed().await });
    a_while().await;
    drop(held);
    assert_eq!(waits.await.unwrap(), Err(ErrorCode::KafkaStorageError));
}
