//! A pipeline's deployment on this node: its metadata in one change, then the logs of the topics that it renewed.

use std::sync::Arc;

use millstream_cluster::{Deployment, Image, TopicImage, deploy};
use millstream_log::failpoint;
use millstream_wire::ErrorCode;
use uuid::Uuid;

use crate::{broker::Broker, internal_topics::is_internal, topics::TopicFailure};

impl Broker {
    /// Returns when the deployment is durable and the logs of the topics that it renewed are gone. Logs that a crash
    /// leaves are removed by the next start.
    pub(crate) async fn deploy(&self, deployment: &Deployment) -> Result<(), TopicFailure> {
        for (name, _) in &deployment.renewed {
            self.check_deletion()?;
            if is_internal(name) {
                return Err(TopicFailure {
                    code: ErrorCode::InvalidTopicException,
                    message: format!("topic {name} belongs to the node and cannot be renewed"),
                });
            }
        }
        if !deployment.renewed.is_empty() {
            self.before_topics_go().await;
        }
        failpoint::hit("deployment.before_metadata");
        let defaults = self.config().topic_creation_defaults();
        let node_id = self.cluster().node_id();
        let decide = |image: &Image| {
            let records = deploy(image, deployment, node_id, defaults, Uuid::new_v4)?;
            let renewed = deployment.renewed.iter();
            let removed: Vec<Arc<TopicImage>> = renewed
                .filter_map(|(name, _)| image.topic(name).cloned())
                .collect();
            Ok((records, removed))
        };
        let changed = self.cluster().change(decide).await;
        let (image, removed) = changed.map_err(TopicFailure::from)?;
        failpoint::hit("deployment.after_metadata");
        self.after_topics_went(&removed, &image).await?;
        failpoint::hit("deployment.after_logs");
        Ok(())
    }
}
