//! The pipeline's ports over our own broker, in process: no sockets, the same coordinators and the same
//! fencing as for any client.

mod errors;
mod input;
mod transaction;

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_broker::{Broker, Local, SyntheticMember, TopicPartition};
use millstream_cluster::configs::{EffectiveConfig, TOPIC_SETTINGS};
use millstream_cluster::{ChangeError, TaskKey, TopicImage, acquire_task};
use millstream_pipeline::ports::{
    Engine, GroupClaim, PortError, TaskId, TaskLease, TopicInfo, TopicSpec,
};
use millstream_records::Compression;
use millstream_wire::ErrorCode;

use errors::{Asked, port_error};
pub use input::LocalInput;
pub use transaction::LocalTransaction;

/// How long a task's transaction may stay open before the coordinator aborts it. Tasks commit after
/// milliseconds; one that is stuck for so long is better started anew.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;

/// Our own node as a pipeline's engine. Cheap to clone.
#[derive(Clone)]
pub struct LocalEngine {
    broker: Arc<Broker>,
    local: Local,
}

impl LocalEngine {
    pub fn new(broker: &Arc<Broker>) -> LocalEngine {
        LocalEngine {
            local: broker.local(),
            broker: Arc::clone(broker),
        }
    }

    /// The settings in effect of a topic that has none of its own.
    pub fn default_settings(&self) -> BTreeMap<String, String> {
        self.settings_in_effect(&BTreeMap::new())
    }

    fn settings_in_effect(&self, of_topic: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let config = self.broker.config();
        let effective = EffectiveConfig {
            topic: of_topic,
            node: &config.topic_defaults,
        };
        let in_effect = TOPIC_SETTINGS.iter().map(|setting| {
            let value = effective.text(setting.name).into_owned();
            (setting.name.to_owned(), value)
        });
        in_effect.collect()
    }

    fn info(&self, topic: &TopicImage) -> Result<TopicInfo, PortError> {
        let settings = self.broker.partitions().settings(topic);
        let partitions = i32::try_from(topic.partitions.len());
        Ok(TopicInfo {
            id: topic.id,
            partitions: partitions.map_err(|_| PortError::Refused {
                reason: format!("{} has too many partitions", topic.name),
            })?,
            message_bytes_max: settings.log.max_message_bytes as usize,
            settings: self.settings_in_effect(&topic.configs),
            compacted: settings.log.cleanup.compact,
            compression: settings.compression.unwrap_or(Compression::None),
        })
    }

    fn existing(&self, name: &str) -> Result<Option<TopicInfo>, PortError> {
        let image = self.broker.cluster().image();
        image.topic(name).map(|topic| self.info(topic)).transpose()
    }

    /// Writes the task's metadata record; its epoch fences whoever held it before.
    async fn take_ownership(&self, task: &TaskId) -> Result<i32, PortError> {
        let cluster = self.broker.cluster();
        let node_id = cluster.node_id();
        let key = TaskKey {
            pipeline: task.pipeline_id.clone(),
            stage: task.stage.clone(),
            partition: task.partition,
        };
        let changed = cluster
            .change(|image| acquire_task(image, &key, node_id).ok_or(()))
            .await;
        match changed {
            Ok((_, acquired)) => Ok(acquired.epoch),
            Err(ChangeError::Refused(())) => Err(PortError::Refused {
                reason: format!("the epochs of {} have run out", task.transactional_id()),
            }),
            Err(ChangeError::Submit(error)) => Err(PortError::Storage {
                reason: error.to_string(),
            }),
        }
    }

    async fn join(
        &self,
        claim: &GroupClaim,
        member_id: &str,
        task_epoch: i32,
    ) -> Result<(), PortError> {
        let partitions = claim.partitions.iter();
        let member = SyntheticMember {
            member_id: member_id.to_owned(),
            client_id: member_id.to_owned(),
            generation: task_epoch,
            partitions: partitions
                .map(|(topic, partition)| TopicPartition::new(topic, *partition))
                .collect(),
        };
        let held = self.local.hold_group(&claim.group, &[member]).await;
        held.map_err(|code| port_error(code, Asked::group(&claim.group, member_id)))
    }
}

impl Engine for LocalEngine {
    type Input = LocalInput;
    type Transaction = LocalTransaction;

    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<TopicInfo, PortError> {
        let ensured = self
            .local
            .ensure_topic(&spec.name, spec.partitions, &spec.config)
            .await;
        ensured.map_err(|failure| PortError::Refused {
            reason: failure.message,
        })?;
        let missing = || PortError::NotFound {
            topic: spec.name.clone(),
        };
        self.existing(&spec.name)?.ok_or_else(missing)
    }

    async fn topic(&self, name: &str) -> Result<Option<TopicInfo>, PortError> {
        self.existing(name)
    }

    async fn acquire_task(
        &self,
        task: &TaskId,
        claim: Option<&GroupClaim>,
    ) -> Result<TaskLease, PortError> {
        let transactional_id = task.transactional_id();
        let task_epoch = self.take_ownership(task).await?;
        let (producer_id, producer_epoch) = self
            .local
            .init_producer_id(&transactional_id, TRANSACTION_TIMEOUT_MS)
            .await
            .map_err(|code| port_error(code, Asked::transaction(&transactional_id)))?;
        let mut member_id = String::new();
        if let Some(claim) = claim {
            member_id = format!("{}-{}", task.stage, task.partition);
            self.join(claim, &member_id, task_epoch).await?;
        }
        Ok(TaskLease {
            transactional_id,
            producer_id,
            producer_epoch,
            task_epoch,
            member_id,
            group: claim.map(|claim| claim.group.clone()),
        })
    }

    async fn committed(
        &self,
        group: &str,
        partitions: &[(String, i32)],
    ) -> Result<Vec<Option<i64>>, PortError> {
        let asked: Vec<TopicPartition> = partitions
            .iter()
            .map(|(topic, partition)| TopicPartition::new(topic, *partition))
            .collect();
        let in_group = |code: ErrorCode| port_error(code, Asked::group(group, group));
        let fetched = self.local.fetch_offsets(group, &asked, true).await;
        let offset = |(_, result): millstream_broker::FetchedOffset| match result {
            Ok(committed) => Ok(committed.map(|committed| committed.offset)),
            Err(code) => Err(in_group(code)),
        };
        fetched.map_err(in_group)?.into_iter().map(offset).collect()
    }

    async fn input(&self, topic: &str, partition: i32) -> Result<LocalInput, PortError> {
        LocalInput::open(&self.local, topic, partition)
    }

    async fn task_input(
        &self,
        lease: &TaskLease,
        topic: &str,
        partition: i32,
    ) -> Result<LocalInput, PortError> {
        let input = LocalInput::open(&self.local, topic, partition)?;
        let Some(group) = &lease.group else {
            return Ok(input);
        };
        let positions = self
            .local
            .read_positions(group, &lease.member_id, lease.task_epoch)
            .await
            .map_err(|code| port_error(code, Asked::group(group, &lease.member_id)))?;
        Ok(input.noted_in(positions))
    }

    fn settings_version(&self) -> u64 {
        self.broker.partitions().settings_version()
    }

    async fn begin(&self, lease: &TaskLease) -> Result<LocalTransaction, PortError> {
        Ok(LocalTransaction::new(self.local.clone(), lease.clone()))
    }
}
