//! A transaction's outcome, its fences and its repetitions.

use millstream_wire::ErrorCode;

use crate::support::{ID, MODES, Node, TIMEOUT_MS, Task, eventually};

#[tokio::test]
async fn a_commit_shows_data_and_offsets_at_once_and_nothing_before() {
    for flush in MODES {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir.path(), flush).await;
        let mut task = node.task(1).await;
        task.begin().await.unwrap();
        task.append(0, "a").await.unwrap();
        task.append(1, "b").await.unwrap();
        task.offsets(7).await.unwrap();
        assert_eq!(node.committed(0), Vec::<String>::new());
        assert_eq!(node.position().await, Err(ErrorCode::UnstableOffsetCommit));
        task.end(true).await.unwrap();
        assert_eq!(node.committed(0), ["a"]);
        assert_eq!(node.committed(1), ["b"]);
        assert_eq!(node.position().await, Ok(Some(7)));
        assert!(!node.is_open(0) && !node.is_open(1));
    }
}

#[tokio::test]
async fn an_abort_leaves_nothing() {
    for flush in MODES {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir.path(), flush).await;
        let mut task = node.task(1).await;
        task.transact("kept", 1).await.unwrap();
        task.begin().await.unwrap();
        task.append(0, "dropped").await.unwrap();
        task.offsets(2).await.unwrap();
        task.end(false).await.unwrap();
        assert_eq!(node.committed(0), ["kept"]);
        assert_eq!(node.position().await, Ok(Some(1)));
        task.transact("next", 2).await.unwrap();
        assert_eq!(node.committed(0), ["kept", "next"]);
    }
}

#[tokio::test]
async fn the_older_of_two_producers_is_fenced_and_commits_nothing() {
    for flush in MODES {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir.path(), flush).await;
        let mut older = node.task(1).await;
        older.begin().await.unwrap();
        older.append(0, "older").await.unwrap();
        older.offsets(5).await.unwrap();

        let mut newer = node.task(2).await;
        assert_eq!(newer.id, older.id);
        assert!(newer.epoch > older.epoch);
        assert!(!node.is_open(0), "the forerunner's transaction is settled");
        assert_eq!(older.end(true).await, Err(ErrorCode::ProducerFenced));
        assert_eq!(older.begin().await, Err(ErrorCode::ProducerFenced));
        assert!(older.append(0, "late").await.is_err());
        assert!(older.append(1, "late").await.is_err());
        assert!(older.offsets(6).await.is_err());
        assert!(!node.is_open(0) && !node.is_open(1));

        newer.transact("newer", 6).await.unwrap();
        assert_eq!(older.end(true).await, Err(ErrorCode::ProducerFenced));
        assert_eq!(node.committed(0), ["newer"]);
        assert_eq!(node.position().await, Ok(Some(6)));
    }
}

#[tokio::test]
async fn an_end_may_be_repeated_and_not_turned_round() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), MODES[0]).await;
    let mut task = node.task(1).await;
    assert_eq!(task.end(true).await, Err(ErrorCode::InvalidTxnState));
    task.transact("a", 1).await.unwrap();
    assert_eq!(task.end(true).await, Ok(()));
    assert_eq!(task.end(false).await, Err(ErrorCode::InvalidTxnState));
    task.begin().await.unwrap();
    task.append(0, "b").await.unwrap();
    task.end(false).await.unwrap();
    assert_eq!(task.end(false).await, Ok(()));
    assert_eq!(task.end(true).await, Err(ErrorCode::InvalidTxnState));
    assert_eq!(node.committed(0), ["a"]);
}

#[tokio::test]
async fn data_outside_of_a_transaction_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), MODES[0]).await;
    let mut task = node.task(1).await;
    assert_eq!(
        task.append(0, "early").await,
        Err(ErrorCode::InvalidTxnState)
    );
    task.transact("a", 1).await.unwrap();
    assert_eq!(
        task.append(0, "late").await,
        Err(ErrorCode::InvalidTxnState)
    );
    assert!(!node.is_open(0), "a late record opens no transaction");
    // Offsets are verified in the same way.
    let member = millstream_broker::MemberStamp {
        member_id: crate::support::MEMBER.to_owned(),
        generation: 1,
    };
    let offset = millstream_broker::OffsetCommit {
        partition: millstream_broker::TopicPartition::new("in", 0),
        topic_id: crate::support::topic_id(&node.local, "in"),
        offset: 9,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let late = task
        .producer()
        .commit_offsets(crate::support::GROUP, &member, &[offset])
        .await;
    assert_eq!(late, Err(ErrorCode::InvalidTxnState));
    assert_eq!(node.position().await, Ok(Some(1)));
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), MODES[1]).await;
    let (id, epoch) = node.local.init_producer_id(ID, 50).await.unwrap();
    let mut task = node.task_of(id, epoch);
    task.begin().await.unwrap();
    task.append(0, "slow").await.unwrap();
    assert!(node.is_open(0));
    eventually(|| (!node.is_open(0)).then_some(())).await;
    assert_eq!(task.end(true).await, Err(ErrorCode::ProducerFenced));
    assert_eq!(node.committed(0), Vec::<String>::new());
}

#[tokio::test]
async fn time_outs_that_are_not_allowed_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), MODES[1]).await;
    for timeout_ms in [0, -1, 900_001] {
        assert_eq!(
            node.local.init_producer_id(ID, timeout_ms).await,
            Err(ErrorCode::InvalidTransactionTimeout)
        );
    }
    assert_eq!(
        node.local.init_producer_id("", TIMEOUT_MS).await,
        Err(ErrorCode::InvalidRequest)
    );
}

#[tokio::test]
async fn a_partition_that_does_not_exist_cannot_join() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), MODES[1]).await;
    let task = node.task(1).await;
    let stranger = [millstream_broker::TopicPartition::new("nowhere", 0)];
    assert_eq!(
        task.producer().add_partitions(&stranger).await,
        Err(ErrorCode::UnknownTopicOrPartition)
    );
}

#[tokio::test]
async fn a_topic_that_was_deleted_does_not_hold_a_commit_up() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), MODES[0]).await;
    node.local.ensure_topic("gone", Some(1), &[]).await.unwrap();
    let mut task = node.task(1).await;
    task.begin().await.unwrap();
    let gone = [millstream_broker::TopicPartition::new("gone", 0)];
    task.producer().add_partitions(&gone).await.unwrap();
    task.append(0, "a").await.unwrap();
    node.local.delete_topic("gone").await.unwrap();
    task.end(true).await.unwrap();
    assert_eq!(node.committed(0), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_producers_at_once_commit_everything_they_were_told() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), MODES[0]).await;
    let mut running = tokio::task::JoinSet::new();
    for number in 0..8 {
        let local = node.local.clone();
        running.spawn(async move {
            let name = format!("p/other/{number}");
            let (id, epoch) = local.init_producer_id(&name, TIMEOUT_MS).await.unwrap();
            let mut task = Task::new(local, &name, id, epoch, 0);
            for round in 0..20 {
                task.begin().await.unwrap();
                task.append(0, &format!("{number}-{round}")).await.unwrap();
                task.end(round % 3 != 0).await.unwrap();
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let mut committed = node.committed(0);
    committed.sort();
    let mut expected: Vec<String> = (0..8)
        .flat_map(|number| (0..20).map(move |round| (number, round)))
        .filter(|(_, round)| round % 3 != 0)
        .map(|(number, round)| format!("{number}-{round}"))
        .collect();
    expected.sort();
    assert_eq!(committed, expected);
}
