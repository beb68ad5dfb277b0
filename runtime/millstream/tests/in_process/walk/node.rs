//! The small node that is damaged: idempotent and transactional records, an aborted and an open transaction, committed and
//! pending offsets, a compacted log, one whose first records were deleted, several segments, an idle partition.

use std::sync::Arc;
use std::time::Duration;

use millstream_broker::{MemberStamp, OffsetCommit, TopicPartition, TransactionalProducer};
use millstream_log::testing::{ManualClock, SimFs};
use millstream_log::{Appended, CleanerOptions, FlushMode, Log, LogConfig, StoreOptions};
use millstream_records::{BatchBuilder, BatchOptions, ProducerStamp};
use millstream_wire::ErrorCode;

use super::seen::Seen;
use crate::rig::Rig;

pub const DATA: &str = "/data";
const NOW_MS: i64 = 1_700_000_000_000;
/// The producer of `plain`, who is idempotent.
pub const IDEMPOTENT: i64 = 77_000;
pub const GROUP: &str = "readers";
/// A transactional id that has ended its transactions, and one that has not.
pub const SETTLED: &str = "settled";
pub const OPEN: &str = "open";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Close,
    Kill,
}

/// The node as it was stopped, and what it showed.
pub struct Base {
    pub flush: FlushMode,
    pub fs: SimFs,
    pub seen: Seen,
    /// Producer ids and epochs of the two transactional ids.
    pub settled: (i64, i16),
    pub open: (i64, i16),
    /// The last batch of the idempotent producer, and where it is.
    pub last_batch: (Vec<u8>, i64),
    /// The last record of `last` may be gone.
    pub may_lose_last: bool,
}

pub fn options(fs: &SimFs, flush: FlushMode) -> StoreOptions {
    StoreOptions {
        fs: Arc::new(fs.clone()),
        clock: Arc::new(ManualClock::new(NOW_MS)),
        journal_file_bytes_max: 8 << 10,
        // The node is damaged in the state that it was stopped in.
        checkpoint_interval_ms: 3_600_000,
        scrub_interval_ms: 0,
        cleaner: CleanerOptions {
            enabled: false,
            ..CleanerOptions::default()
        },
        ..StoreOptions::new(DATA, flush)
    }
}

/// A batch of records with these keys and values, a second apart.
fn batch(
    records: &[(Option<&str>, Option<&str>)],
    from_ms: i64,
    producer: Option<ProducerStamp>,
    transactional: bool,
) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer,
        transactional,
        ..BatchOptions::default()
    });
    for (at, (key, value)) in (0..).zip(records) {
        builder
            .append(
                from_ms + 1000 * at,
                key.map(str::as_bytes),
                value.map(str::as_bytes),
                [],
            )
            .unwrap();
    }
    builder.build().unwrap()
}

/// The batch of the idempotent producer with this number.
pub fn idempotent_batch(number: i32) -> Vec<u8> {
    let stamp = ProducerStamp {
        id: IDEMPOTENT,
        epoch: 3,
        base_sequence: 2 * number,
    };
    let values = [format!("plain {number} a"), format!("plain {number} b")];
    let records = [(None, Some(&*values[0])), (Some("key"), Some(&*values[1]))];
    batch(
        &records,
        NOW_MS + 10_000 * i64::from(number),
        Some(stamp),
        false,
    )
}

pub async fn append(
    rig: &Rig,
    topic: &str,
    mut batch: Vec<u8>,
    id: Option<&str>,
) -> Result<Appended, ErrorCode> {
    let info = rig.local.topic(topic);
    let topic_id = info.ok_or(ErrorCode::UnknownTopicOrPartition)?.id;
    let appended = rig
        .local
        .append(id, &topic_id, 0, &mut batch, Duration::ZERO)
        .await?;
    rig.local.partition(topic, 0)?.flushed(&appended).await?;
    Ok(appended)
}

/// One more record.
pub async fn append_one(rig: &Rig, topic: &str, value: &str) -> Result<i64, ErrorCode> {
    let batch = batch(&[(Some("k"), Some(value))], NOW_MS, None, false);
    Ok(append(rig, topic, batch, None).await?.base_offset)
}

/// The log of a topic, with segments of a few batches.
fn log_of(rig: &Rig, topic: &str) -> Arc<Log> {
    let log = Arc::clone(rig.local.partition(topic, 0).unwrap().log());
    let mut config: LogConfig = (*log.config()).clone();
    config.segment_bytes = 400;
    config.index_interval_bytes = 100;
    config.min_cleanable_dirty_ratio = 0.0;
    log.set_config(config);
    log
}

/// A transaction of two records in `out` and an offset of the group in `plain`.
async fn transaction(
    rig: &Rig,
    id: &str,
    (producer_id, epoch): (i64, i16),
    number: i32,
    ends: Option<bool>,
) {
    let producer: TransactionalProducer<'_> =
        rig.local.transactional_producer(id, producer_id, epoch);
    let out = TopicPartition::new("out".to_owned(), 0);
    producer.add_partitions(&[out]).await.unwrap();
    producer.add_offsets(GROUP).await.unwrap();
    let stamp = ProducerStamp {
        id: producer_id,
        epoch,
        base_sequence: 2 * number,
    };
    let values = [format!("{id} {number} a"), format!("{id} {number} b")];
    let records = [
        (Some("a"), Some(&*values[0])),
        (Some("b"), Some(&*values[1])),
    ];
    let bytes = batch(&records, NOW_MS, Some(stamp), true);
    append(rig, "out", bytes, Some(id)).await.unwrap();
    let partition = i32::from(id == OPEN);
    let member = MemberStamp {
        member_id: String::new(),
        generation: -1,
    };
    let offset = OffsetCommit {
        partition: TopicPartition::new("plain".to_owned(), partition),
        topic_id: rig.topic("plain").id,
        offset: 2 + i64::from(number),
        leader_epoch: -1,
        metadata: format!("of {id} {number}"),
    };
    producer
        .commit_offsets(GROUP, &member, &[offset])
        .await
        .unwrap();
    if let Some(commits) = ends {
        producer.end(commits).await.unwrap();
    }
}

impl Base {
    pub async fn build(flush: FlushMode, stop: Stop) -> Base {
        let fs = SimFs::new(1);
        let rig = Rig::over(options(&fs, flush)).await.unwrap();
        for (topic, partitions, configs) in [
            ("plain", 3, &[][..]),
            ("old", 1, &[("retention.ms", "-1")][..]),
            // No pass is due again.
            (
                "keys",
                1,
                &[
                    ("cleanup.policy", "compact"),
                    ("min.cleanable.dirty.ratio", "1"),
                ][..],
            ),
            ("out", 1, &[][..]),
            ("last", 1, &[][..]),
        ] {
            let configs: Vec<_> = configs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let made = rig
                .local
                .ensure_topic(topic, Some(partitions), &configs)
                .await;
            made.map_err(|failure| failure.message).unwrap();
        }
        let settled = rig.local.init_producer_id(SETTLED, 600_000).await.unwrap();
        let open = rig.local.init_producer_id(OPEN, 600_000).await.unwrap();
        let mut base = Base {
            flush,
            fs,
            seen: Seen::default(),
            settled,
            open,
            last_batch: (Vec::new(), 0),
            may_lose_last: stop == Stop::Kill,
        };
        base.fill(&rig).await;
        base.seen = Seen::of(&rig, &["plain", "old", "keys", "out", "last"]).await;
        base.seen.check_is_whole();
        base.stop(rig, stop).await
    }

    /// Writes all records. A journal has what comes behind the checkpoint; without one nothing does, but the last record.
    async fn fill(&mut self, rig: &Rig) {
        self.fill_half(rig, 0).await;
        rig.store.checkpoint().unwrap();
        rig.store.clean_dirtiest().unwrap().expect("`keys` is due");
        if self.flush == FlushMode::Journal {
            rig.store.checkpoint().unwrap();
        }
        self.fill_half(rig, 1).await;
        transaction(rig, OPEN, self.open, 0, None).await;
        append_one(rig, "last", "first").await.unwrap();
        if self.flush == FlushMode::Os {
            rig.store.checkpoint().unwrap();
        }
        append_one(rig, "last", "last").await.unwrap();
    }

    async fn fill_half(&mut self, rig: &Rig, half: i32) {
        let logs = ["plain", "old", "keys", "out"].map(|topic| log_of(rig, topic));
        for number in 4 * half..4 * half + 4 {
            let bytes = idempotent_batch(number);
            let appended = append(rig, "plain", bytes.clone(), None).await.unwrap();
            self.last_batch = (bytes, appended.base_offset);
            append_one(rig, "old", &format!("old {number}"))
                .await
                .unwrap();
            let key = format!("key {}", number % 3);
            let value = format!("value {number}");
            let value = (number != 2).then_some(&*value);
            let bytes = batch(&[(Some(&key), value)], NOW_MS, None, false);
            append(rig, "keys", bytes, None).await.unwrap();
        }
        transaction(rig, SETTLED, self.settled, 2 * half, Some(true)).await;
        transaction(rig, SETTLED, self.settled, 2 * half + 1, Some(false)).await;
        for log in &logs {
            log.roll_active().unwrap();
        }
        let old = &logs[1];
        old.delete_records(i64::from(3 * half + 2)).unwrap();
    }

    async fn stop(mut self, rig: Rig, stop: Stop) -> Base {
        match stop {
            Stop::Close => rig.close().await,
            Stop::Kill => {
                self.fs = self.fs.kill(1);
                rig.broker.shutdown(Duration::ZERO).await;
            }
        }
        self
    }
}
