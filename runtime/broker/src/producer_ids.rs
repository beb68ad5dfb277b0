//! Producer ids of this node: taken one by one from a block that the metadata log gave.

use std::{ops::Range, sync::Arc};

use millstream_cluster::{ClusterMetadata, allocate_producer_ids};
use millstream_wire::ErrorCode;
use tokio::sync::Mutex;

/// The present block of producer ids.
pub struct ProducerIds {
    cluster: Arc<ClusterMetadata>,
    /// Held over the wait for a new block, so that one caller fetches it and the others wait for that one.
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    pub(crate) fn new(cluster: Arc<ClusterMetadata>) -> ProducerIds {
        ProducerIds {
            cluster,
            block: Mutex::new(0..0),
        }
    }

    /// A producer id that nobody has ever had.
    pub async fn next(&self) -> Result<i64, ErrorCode> {
        let mut block = self.block.lock().await;
        if let Some(id) = block.next() {
            return Ok(id);
        }
        let allocate = |image: &_| allocate_producer_ids(image).ok_or(());
        match self.cluster.change(allocate).await {
            Ok((_, fresh)) => {
                *block = fresh;
                block.next().ok_or(ErrorCode::UnknownServerError)
            }
            Err(error) => {
                tracing::error!(?error, "no block of producer ids");
                Err(ErrorCode::CoordinatorNotAvailable)
            }
        }
    }
}
