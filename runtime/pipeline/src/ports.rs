//! What the pipeline needs of an engine (a broker), as traits: topics, task ownership, input
//! partitions and transactions. The binary implements them over our own broker, `testing` over
//! memory; an external Kafka cluster can stand behind them too. Outcomes are therefore three:
//! done, failed, and [`PortError::Unknown`], from the first day.
//!
//! Every future must be safe to drop: a task that is stopped drops what it waits for. A dropped
//! [`Transaction`] is left open; the task's next [`Engine::acquire_task`] settles it.

use std::collections::BTreeMap;
use std::future::Future;

use bytes::Bytes;
use millstream_records::Compression;
use uuid::Uuid;

/// The compacted topic in which sources keep their progress, one record per source:
/// key `<pipeline id>/<source>`, value the progress as JSON. Written in the transaction that
/// produces the records themselves.
pub const SOURCES_TOPIC: &str = "__millstream_sources";

/// Topics, task ownership, committed offsets; and the two things a task works with:
/// its input partitions and its transactions.
pub trait Engine: Clone + Send + Sync + 'static {
    type Input: InputPartition;
    type Transaction: Transaction;

    /// Creates the topic if it is missing. An existing topic is left as it is: the caller
    /// compares its facts. `spec.partitions = None` means the engine's default.
    fn ensure_topic(
        &self,
        spec: &TopicSpec,
    ) -> impl Future<Output = Result<TopicInfo, PortError>> + Send;

    /// The facts of a topic, `None` when there is no such topic. Never creates one.
    fn topic(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<TopicInfo>, PortError>> + Send;

    /// Makes the caller the owner of a task: writes the task's metadata record (its epoch rises),
    /// then InitProducerId under `task.transactional_id()`, which settles what a forerunner left
    /// open and fences it. With a claim, the task's synthetic member joins the claim's group, and
    /// the group is held against foreign joins and commits for as long as the node runs.
    fn acquire_task(
        &self,
        task: &TaskId,
        claim: Option<&GroupClaim>,
    ) -> impl Future<Output = Result<TaskLease, PortError>> + Send;

    /// The committed offsets of a group, in the order of `partitions`; `None` where nothing was
    /// ever committed in the present topic of that name. To be asked for after the inputs were opened:
    /// an input of a topic that was made anew in between reads nothing. Reads with `require_stable`: [`PortError::UnstableOffsets`] while a
    /// transaction that commits one of them is undecided.
    fn committed(
        &self,
        group: &str,
        partitions: &[(String, i32)],
    ) -> impl Future<Output = Result<Vec<Option<i64>>, PortError>> + Send;

    /// Opens a partition for reading.
    fn input(
        &self,
        topic: &str,
        partition: i32,
    ) -> impl Future<Output = Result<Self::Input, PortError>> + Send;

    /// As [`Engine::input`], for the task that holds the lease: where it reads becomes the position that tools are
    /// shown for its member. An engine without such tools opens the partition like any other.
    fn task_input(
        &self,
        _lease: &TaskLease,
        topic: &str,
        partition: i32,
    ) -> impl Future<Output = Result<Self::Input, PortError>> + Send {
        self.input(topic, partition)
    }

    /// Changes whenever the settings of topics may have changed: then what a topic takes is looked at again. Cheap, since
    /// tasks ask for every batch that they work on.
    fn settings_version(&self) -> u64;

    /// A new transaction under the lease. Cheap: nothing is registered before the first data.
    /// A lease has at most one transaction at a time.
    fn begin(
        &self,
        lease: &TaskLease,
    ) -> impl Future<Output = Result<Self::Transaction, PortError>> + Send;
}

/// One partition, read as a stage task reads: committed records, and on the log's own node also
/// those that are appended and not flushed yet (`Isolation::CommittedUnflushed`, DESIGN §6 rule 5).
pub trait InputPartition: Send + Sync + 'static {
    /// The id of the topic that is read. When the topic is deleted, reads and waits end with
    /// [`PortError::Gone`], whatever has its name then.
    fn topic_id(&self) -> Uuid;

    /// Whole batches from the one that contains `offset` on, at least one when there is one,
    /// none at or beyond the last stable offset; about `max_bytes`. The first batch may begin
    /// before `offset`. [`PortError::OffsetOutOfRange`] outside `log_start..=log_end`.
    fn read(
        &self,
        offset: i64,
        max_bytes: usize,
    ) -> impl Future<Output = Result<InputChunk, PortError>> + Send;

    /// Where the partition begins and ends now.
    fn bounds(&self) -> impl Future<Output = Result<Bounds, PortError>> + Send;

    /// The first offset whose timestamp is at least `timestamp_ms`; `None` when all are older.
    fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
    ) -> impl Future<Output = Result<Option<i64>, PortError>> + Send;

    /// Returns once the last stable offset is beyond `offset`; at once when it is already.
    fn wait_beyond(&self, offset: i64) -> impl Future<Output = Result<(), PortError>> + Send;
}

/// One transaction of a task. Any error but those of `commit` leaves it open: the caller aborts.
pub trait Transaction: Send {
    /// Appends one finished batch (uncompressed or compressed, transactional, carrying the lease's
    /// producer id, epoch and the sequence that the caller counts per partition). The partition is
    /// registered in the transaction before its first data. Base offset and leader epoch may be
    /// assigned in place. [`PortError::Gone`] when the topic is there no more. After [`PortError::NotLeader`] nothing was appended, and the same batch
    /// may be given again.
    fn append(
        &mut self,
        topic: TopicRef<'_>,
        partition: i32,
        batch: &mut [u8],
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Adds the positions of the lease's group: the offsets of the next records to read.
    /// [`PortError::Gone`] when one is of a topic that is there no more.
    fn offsets(
        &mut self,
        positions: &[Position],
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Commits. `Ok` means decided, durable and visible, markers included.
    /// [`PortError::Unknown`]: only `acquire_task` and `committed` can tell.
    fn commit(self) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Aborts. `Ok` means that the lease may begin another transaction.
    fn abort(self) -> impl Future<Output = Result<(), PortError>> + Send;
}

/// A topic by name and id. What a task has found out about a topic holds for that topic alone, and
/// not for another one that gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicRef<'t> {
    pub name: &'t str,
    pub id: Uuid,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    /// `None`: the engine's default.
    pub partitions: Option<i32>,
    /// Kafka's topic settings, by Kafka's names.
    pub config: Vec<(String, String)>,
}

/// What is known about an existing topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Another one after the topic was deleted and made anew.
    pub id: Uuid,
    pub partitions: i32,
    /// The largest batch that the topic takes, in bytes (`max.message.bytes`).
    pub message_bytes_max: usize,
    /// Of each key the last record stays (`cleanup.policy` names `compact`), so that a record needs a key.
    pub compacted: bool,
    /// The topic's settings in effect, by Kafka's names.
    pub settings: BTreeMap<String, String>,
    /// What batches should be compressed with (`compression.type`); none where the topic keeps
    /// what producers send.
    pub compression: Compression,
}

impl TopicInfo {
    /// Whether it is the same topic, and takes what it took.
    pub fn takes_the_same(&self, other: &TopicInfo) -> bool {
        let facts = |info: &TopicInfo| {
            (
                info.id,
                info.partitions,
                info.message_bytes_max,
                info.compacted,
                info.compression,
            )
        };
        facts(self) == facts(other)
    }
}

/// One task: a stage (or a source) on one input partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    pub pipeline_id: String,
    /// The stage's name; a source's is `source.<name>`.
    pub stage: String,
    pub partition: i32,
}

impl TaskId {
    /// `<pipeline id>/<stage>/<partition>` (DESIGN §6 rule 8).
    pub fn transactional_id(&self) -> String {
        format!("{}/{}/{}", self.pipeline_id, self.stage, self.partition)
    }
}

/// The consumer group in which a task keeps its positions, and what it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupClaim {
    /// `millstream.<pipeline id>.<stage>`.
    pub group: String,
    /// The task's input partitions: what the synthetic member is shown to be assigned.
    pub partitions: Vec<(String, i32)>,
}

/// Proof of ownership; a newer lease of the same task fences this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLease {
    pub transactional_id: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// The generation with which offsets are committed.
    pub task_epoch: i32,
    /// The synthetic member of the group; empty without a group.
    pub member_id: String,
    /// The group of the claim; `None` for a source.
    pub group: Option<String>,
}

/// The next offset to read of one input partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub topic: String,
    /// The topic that was read.
    pub topic_id: Uuid,
    pub partition: i32,
    pub offset: i64,
}

/// What one read returned.
#[derive(Debug, Clone, Default)]
pub struct InputChunk {
    /// Whole batches, control batches included.
    pub bytes: Bytes,
    /// Aborted transactions that may touch these bytes: (producer id, first offset).
    pub aborted: Vec<(i64, i64)>,
    /// The last stable offset at the time of the read.
    pub last_stable: i64,
    pub log_start: i64,
}

/// The ends of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub log_start: i64,
    pub last_stable: i64,
    /// The end of what is appended, decided or not.
    pub log_end: i64,
}

/// Why an engine did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Leadership moved (or is not there yet): try again.
    #[error("this node does not lead {topic}-{partition} at the moment")]
    NotLeader { topic: String, partition: i32 },
    /// Another owner of the task took over: stop, touch nothing.
    #[error("a newer owner of {owner} has taken over")]
    Fenced { owner: String },
    /// Nobody knows whether it happened: acquire the task anew and read the offsets again.
    #[error("the outcome of {operation} is not known")]
    Unknown { operation: String },
    /// A transaction over these offsets is still undecided: try again.
    #[error("offsets of group {group} wait for an undecided transaction")]
    UnstableOffsets { group: String },
    #[error("there is no topic {topic}")]
    NotFound { topic: String },
    /// Another topic may have its name by now: acquire the task anew and look.
    #[error("topic {topic} was deleted while it was in use")]
    Gone { topic: String },
    /// What the topic takes has changed since the task looked: look again.
    #[error("the settings of {topic} have changed")]
    TopicChanged { topic: String },
    #[error(
        "offset {offset} of {topic}-{partition} is not there (the log holds {log_start} to {log_end})"
    )]
    OffsetOutOfRange {
        topic: String,
        partition: i32,
        offset: i64,
        log_start: i64,
        log_end: i64,
    },
    /// Damage or a failed disk, with file and position where known.
    #[error("{reason}")]
    Storage { reason: String },
    #[error("the disk is full")]
    Full,
    /// The request itself was wrong.
    #[error("{reason}")]
    Refused { reason: String },
}
