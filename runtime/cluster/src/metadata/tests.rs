use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
};

use millstream_log::Lsn;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::*;
use crate::{
    record::TaskKey,
    tasks::acquire_task,
    topics::{TopicDefaults, TopicError, TopicSpec, create_topic},
};

const DEFAULTS: TopicDefaults = TopicDefaults {
    partitions: 1,
    replication_factor: 1,
};

/// A quorum in memory whose commits wait until the test lets them through.
struct HeldQuorum {
    end: Mutex<i64>,
    held: AtomicBool,
    open: Semaphore,
}

impl Quorum for Arc<HeldQuorum> {
    fn append(&self, records: &[MetadataRecord]) -> Result<Position, QuorumError> {
        let mut end = self.end.lock();
        *end += i64::try_from(records.len()).unwrap();
        Ok(Position {
            last_offset: *end - 1,
            lsn: Lsn::default(),
        })
    }

    fn committed(
        &self,
        _: Position,
    ) -> Pin<Box<dyn Future<Output = Result<(), QuorumError>> + Send + '_>> {
        Box::pin(async {
            if self.held.load(Ordering::SeqCst) {
                let permit = self.open.acquire().await.expect("the semaphore stays open");
                permit.forget();
            }
            Ok(())
        })
    }
}

fn identity() -> NodeIdentity {
    NodeIdentity {
        node_id: 1,
        host: "localhost".to_owned(),
        port: 9092,
    }
}

async fn opened() -> (Arc<HeldQuorum>, Arc<ClusterMetadata>) {
    let quorum = Arc::new(HeldQuorum {
        end: Mutex::new(0),
        held: AtomicBool::new(false),
        open: Semaphore::new(0),
    });
    let metadata =
        ClusterMetadata::with_quorum(Box::new(Arc::clone(&quorum)), Image::default(), identity());
    (quorum, metadata.await.unwrap())
}

fn create(
    name: &str,
) -> impl FnOnce(&Image) -> Result<(Vec<MetadataRecord>, ()), TopicError> + use<> {
    let spec = TopicSpec::named(name);
    move |image| Ok((create_topic(image, &spec, DEFAULTS, Uuid::new_v4())?, ()))
}

#[tokio::test]
async fn a_change_is_seen_by_later_decisions_at_once_and_by_readers_after_the_commit() {
    let (quorum, metadata) = opened().await;
    quorum.held.store(true, Ordering::SeqCst);
    let mut changes = metadata.subscribe();
    let first = tokio::spawn({
        let metadata = Arc::clone(&metadata);
        async move { metadata.change(create("a")).await.map(|(image, ())| image) }
    });
    while *quorum.end.lock() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(metadata.image().topic("a").is_none(), "not committed yet");
    let second = metadata.change(create("a")).await;
    assert!(matches!(
        second,
        Err(ChangeError::Refused(TopicError::Exists { .. }))
    ));
    quorum.open.add_permits(1);
    let image = first.await.unwrap().unwrap();
    assert!(image.topic("a").is_some());
    assert!(metadata.image().topic("a").is_some());
    changes.changed().await.unwrap();
    assert_eq!(
        i64::try_from(*changes.borrow()).unwrap(),
        image.offset().unwrap() + 1
    );
}

#[tokio::test]
async fn a_decision_without_records_waits_for_what_it_rested_on() {
    let (quorum, metadata) = opened().await;
    quorum.held.store(true, Ordering::SeqCst);
    let task = |metadata: &Arc<ClusterMetadata>, name: &'static str| {
        let metadata = Arc::clone(metadata);
        tokio::spawn(async move {
            let ensure = |image: &Image| match image.topic(name) {
                Some(_) => Ok((Vec::new(), ())),
                None => create(name)(image),
            };
            metadata.change(ensure).await.map(|(image, ())| image)
        })
    };
    let first = task(&metadata, "a");
    while *quorum.end.lock() < 2 {
        tokio::task::yield_now().await;
    }
    let second = task(&metadata, "a");
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(
        !second.is_finished(),
        "the topic is appended and not committed"
    );
    quorum.open.add_permits(2);
    assert!(first.await.unwrap().unwrap().topic("a").is_some());
    assert!(second.await.unwrap().unwrap().topic("a").is_some());
}

#[tokio::test]
async fn a_record_that_contradicts_the_image_never_reaches_the_log() {
    let (quorum, metadata) = opened().await;
    let before = *quorum.end.lock();
    let error = metadata
        .submit(vec![MetadataRecord::RemoveTopic {
            id: Uuid::from_u128(5),
        }])
        .await;
    assert!(matches!(
        error,
        Err(SubmitError::Contradiction(
            ApplyError::UnknownTopicId { .. }
        ))
    ));
    assert_eq!(*quorum.end.lock(), before);
}

mod on_disk {
    use millstream_log::{FlushMode, StoreOptions};

    use super::*;

    async fn open(
        dir: &std::path::Path,
        flush: FlushMode,
    ) -> (Arc<LogStore>, Arc<ClusterMetadata>) {
        let (store, _) = LogStore::open(StoreOptions::new(dir, flush)).unwrap();
        let metadata = ClusterMetadata::open(&store, identity()).await.unwrap();
        (store, metadata)
    }

    #[tokio::test]
    async fn metadata_survives_a_restart_and_the_leader_epochs_rise() {
        for flush in [FlushMode::Journal, FlushMode::Os] {
            let dir = tempfile::tempdir().unwrap();
            let key = TaskKey {
                pipeline: "p".to_owned(),
                stage: "s".to_owned(),
                partition: 0,
            };
            let (store, metadata) = open(dir.path(), flush).await;
            metadata.change(create("a")).await.unwrap();
            let acquire = |image: &Image| acquire_task(image, &key, 1).ok_or(());
            assert_eq!(metadata.change(acquire).await.unwrap().1.epoch, 0);
            let before = metadata.image();
            drop(metadata);
            store.close().await.unwrap();
            drop(store);

            let (store, metadata) = open(dir.path(), flush).await;
            let image = metadata.image();
            assert_eq!(image.topic("a").unwrap().id, before.topic("a").unwrap().id);
            assert_eq!(image.topic("a").unwrap().partitions[0].leader_epoch, 1);
            assert_eq!(image.brokers().len(), 1);
            let acquire = |image: &Image| acquire_task(image, &key, 1).ok_or(());
            assert_eq!(metadata.change(acquire).await.unwrap().1.epoch, 1);
            drop(metadata);
            store.close().await.unwrap();
        }
    }
}
