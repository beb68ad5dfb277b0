//! `ClusterMetadata`: decides, appends, waits for the commit and publishes the image.
//!
//! Decisions are made on the *appended* image, under one short lock, so that two of them never contradict each other
//! and many can wait for one flush together. What others see is the *committed* image.

use std::{collections::HashSet, sync::Arc};

use arc_swap::ArcSwap;
use millstream_log::LogStore;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    image::{ApplyError, Image},
    leadership::register_node,
    quorum::{LogQuorum, METADATA_TOPIC, Position, Quorum, QuorumError},
    record::MetadataRecord,
};

/// This node, as it registers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    pub node_id: i32,
    /// The address that clients are told.
    pub host: String,
    pub port: u16,
}

/// Why the metadata cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    #[error("the metadata log contradicts itself before offset {offset}: {source}")]
    Contradiction { offset: i64, source: ApplyError },
    /// A store that knows which log is the metadata's is not opened then.
    #[error(
        "the cluster's metadata are empty, and the node has {logs} other logs: put {METADATA_TOPIC}-0 back from a copy of the disk"
    )]
    Lost { logs: usize },
    #[error("this node could not be registered: {0}")]
    Register(#[from] SubmitError),
}

/// Why a change was not committed.
#[derive(Debug, Error)]
pub enum SubmitError {
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    #[error("the change contradicts the metadata: {0}")]
    Contradiction(#[from] ApplyError),
}

/// A change was either not decided on or not committed.
#[derive(Debug, Error)]
pub enum ChangeError<E> {
    #[error("{0}")]
    Refused(E),
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

/// The newest image and where its last batch ends.
struct Appended {
    image: Arc<Image>,
    position: Option<Position>,
}

/// The cluster's metadata as this node knows it.
pub struct ClusterMetadata {
    node_id: i32,
    quorum: Box<dyn Quorum>,
    /// Everything that is appended; the lock also orders the appends.
    appended: Mutex<Appended>,
    committed: ArcSwap<Image>,
    changed: watch::Sender<u64>,
    /// Topics that were removed before this start.
    removed: HashSet<Uuid>,
}

impl ClusterMetadata {
    /// Reads the metadata log of the store and registers this node: its address, and new leader epochs for all that
    /// it leads. Returns when that is committed.
    pub async fn open(
        store: &Arc<LogStore>,
        identity: NodeIdentity,
    ) -> Result<Arc<ClusterMetadata>, OpenError> {
        let (quorum, batches) = LogQuorum::open(store)?;
        let logs = store.logs().len() + store.lost_logs().len();
        if batches.is_empty() && logs > 1 {
            return Err(OpenError::Lost { logs: logs - 1 });
        }
        let mut image = Image::default();
        let mut removed = HashSet::new();
        let mut has_lost_some = false;
        for batch in batches {
            let offset = batch.last_offset;
            removed.extend(
                batch
                    .records
                    .iter()
                    .filter_map(MetadataRecord::removed_topic),
            );
            if batch.lost_before > 0 {
                has_lost_some = true;
                image.after_loss(batch.lost_before, batch.first_offset - 1);
            }
            if !has_lost_some {
                image
                    .advance(&batch.records, offset)
                    .map_err(|source| OpenError::Contradiction { offset, source })?;
                continue;
            }
            for (record, reason) in image.advance_leniently(&batch.records, offset) {
                tracing::warn!(offset, ?record, %reason, "a metadata record is left out: what it rests on is lost");
            }
        }
        ClusterMetadata::start(Box::new(quorum), image, removed, identity).await
    }

    /// The same over any quorum, beginning with an image that is already committed.
    pub async fn with_quorum(
        quorum: Box<dyn Quorum>,
        image: Image,
        identity: NodeIdentity,
    ) -> Result<Arc<ClusterMetadata>, OpenError> {
        ClusterMetadata::start(quorum, image, HashSet::new(), identity).await
    }

    async fn start(
        quorum: Box<dyn Quorum>,
        image: Image,
        removed: HashSet<Uuid>,
        identity: NodeIdentity,
    ) -> Result<Arc<ClusterMetadata>, OpenError> {
        let image = Arc::new(image);
        let metadata = Arc::new(ClusterMetadata {
            node_id: identity.node_id,
            quorum,
            appended: Mutex::new(Appended {
                image: Arc::clone(&image),
                position: None,
            }),
            changed: watch::Sender::new(version(&image)),
            removed,
            committed: ArcSwap::new(image),
        });
        let register = |image: &Image| {
            Ok::<_, std::convert::Infallible>((
                register_node(image, identity.node_id, &identity.host, identity.port),
                (),
            ))
        };
        match metadata.change(register).await {
            Ok(_) => Ok(metadata),
            Err(ChangeError::Submit(error)) => Err(error.into()),
            Err(ChangeError::Refused(never)) => match never {},
        }
    }

    /// This node's id.
    pub fn node_id(&self) -> i32 {
        self.node_id
    }

    /// Whether a record that was read at the start has removed the topic. One that the image does not have, and that no
    /// record has removed, is unknown: its log is somebody's.
    pub fn has_removed(&self, topic_id: &Uuid) -> bool {
        self.removed.contains(topic_id)
    }

    /// The committed image.
    pub fn image(&self) -> Arc<Image> {
        self.committed.load_full()
    }

    /// Tells of every newly committed image by the offset behind its last record.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Appends the records as one atomic batch, waits for the commit and returns an image that contains them.
    pub async fn submit(&self, records: Vec<MetadataRecord>) -> Result<Arc<Image>, SubmitError> {
        let decide = |_: &Image| Ok::<_, std::convert::Infallible>((records, ()));
        match self.change(decide).await {
            Ok((image, ())) => Ok(image),
            Err(ChangeError::Submit(error)) => Err(error),
            Err(ChangeError::Refused(never)) => match never {},
        }
    }

    /// Decides on the newest image which records to write, writes them, waits for the commit, and returns an image
    /// that contains them and what else the decision gave. Without records it
    /// only waits for what the decision rested on.
    pub async fn change<T, E>(
        &self,
        decide: impl FnOnce(&Image) -> Result<(Vec<MetadataRecord>, T), E>,
    ) -> Result<(Arc<Image>, T), ChangeError<E>> {
        let (image, position, decided) = {
            let mut appended = self.appended.lock();
            let (records, decided) = decide(&appended.image).map_err(ChangeError::Refused)?;
            if !records.is_empty() {
                // Tried on the image first: a record that cannot be applied must never reach the log.
                let last_offset = appended.image.offset().unwrap_or(-1);
                appended
                    .image
                    .with(&records, last_offset)
                    .map_err(SubmitError::from)?;
                let position = self.quorum.append(&records).map_err(SubmitError::from)?;
                let next = appended.image.with(&records, position.last_offset);
                appended.image = Arc::new(next.map_err(SubmitError::from)?);
                appended.position = Some(position);
            }
            (Arc::clone(&appended.image), appended.position, decided)
        };
        if let Some(position) = position {
            self.quorum
                .committed(position)
                .await
                .map_err(SubmitError::from)?;
            self.publish(&image);
        }
        Ok((image, decided))
    }

    /// Makes the image the committed one, unless a later one already is.
    fn publish(&self, image: &Arc<Image>) {
        self.committed.rcu(|current| {
            if current.offset() < image.offset() {
                Arc::clone(image)
            } else {
                Arc::clone(current)
            }
        });
        self.changed.send_if_modified(|seen| {
            let newer = version(image) > *seen;
            *seen = (*seen).max(version(image));
            newer
        });
    }
}

/// The offset behind an image's last record.
fn version(image: &Image) -> u64 {
    image
        .offset()
        .and_then(|offset| u64::try_from(offset + 1).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
