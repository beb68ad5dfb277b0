//! What a run changes on its node before its tasks start: decided first, agreed to where that is needed, then carried
//! out. `fresh` and `renamed` decide, without a node; `facts` asks the node for what they need to know.

mod facts;
mod fencing;
mod fresh;
mod renamed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_broker::Broker;
use millstream_cluster::{Image, TaskKey, TaskTopics};
use millstream_log::failpoint;
use millstream_pipeline::plan::Plan;
use millstream_pipeline::ports::TaskId;
use millstream_wire::ErrorCode;

use super::creation;
use super::incarnation::{self, Start};
use crate::asking::Question;
use crate::engine::LocalEngine;
use crate::outcome::{Failure, FailureKind, Outcome};

/// Changes that are decided on and not made yet.
pub struct Deployment {
    change: millstream_cluster::Deployment,
    /// Tasks of an earlier run that must be out of the way before the change.
    fenced: Vec<TaskKey>,
    /// What the pipeline's owner has to agree to.
    pub question: Option<Question>,
    /// What the owner should know, though nobody has to agree to it.
    pub notice: Option<String>,
}

impl Deployment {
    /// Decides what a run of this plan changes. Nothing is changed yet.
    pub async fn decide(plan: &Plan, broker: &Arc<Broker>, start: Start) -> Outcome<Deployment> {
        let image = broker.cluster().image();
        let mut deployment = Deployment {
            change: millstream_cluster::Deployment {
                pipeline: plan.pipeline.clone(),
                created: plan.topics_to_create.iter().map(creation::spec).collect(),
                tasks: tasks(plan),
                ..millstream_cluster::Deployment::default()
            },
            fenced: Vec::new(),
            question: None,
            notice: None,
        };
        match start {
            Start::Fresh => deployment.renew(plan, &image, broker).await?,
            Start::Resume => deployment.replace_parts(plan, &image, broker).await?,
        }
        Ok(deployment)
    }

    /// A new incarnation: whatever its forerunners have written goes, and their tasks with it.
    async fn renew(&mut self, plan: &Plan, image: &Image, broker: &Arc<Broker>) -> Outcome {
        let written: BTreeSet<String> = written(plan).map(str::to_owned).collect();
        let records = facts::records(broker, &written);
        let names: BTreeSet<String> = records.keys().cloned().collect();
        let groups = facts::groups(broker, &names).await?;
        let renewals = fresh::renewals(plan, image, &records, &groups);
        if !renewals.is_empty() && !broker.config().delete_topic_enable {
            return Err(Failure::new(
                FailureKind::Refused,
                anyhow::anyhow!(
                    "`run --fresh` removes {}, and this node removes no topic (delete.topic.enable is false): nothing was changed",
                    fresh::names(&renewals)
                ),
            ));
        }
        self.question = fresh::question(&renewals);
        self.notice = fresh::notice(&renewals);
        let renewed = renewals.into_iter();
        self.change.renewed = renewed.map(|one| (one.topic, one.id)).collect();
        self.end(image, |key| {
            incarnation::number(&key.pipeline, &plan.pipeline).is_some()
        });
        Ok(())
    }

    /// The same incarnation. Parts that it had before and that the manifest has no more are let go when others have come
    /// in their place; else they are kept, since the manifest may get them back.
    async fn replace_parts(&mut self, plan: &Plan, image: &Image, broker: &Arc<Broker>) -> Outcome {
        let recorded = image.tasks();
        let recorded = recorded.filter(|(key, _)| key.pipeline == plan.pipeline_id);
        let recorded: BTreeMap<&str, &TaskTopics> = recorded
            .map(|(key, task)| (key.stage.as_str(), &task.topics))
            .collect();
        let Some(replaced) = renamed::replaced(plan, &recorded) else {
            return Ok(());
        };
        let facts = facts::of_parts(plan, &replaced, broker).await?;
        self.question = Some(renamed::question(plan, &replaced, &facts));
        self.end(image, |key| {
            key.pipeline == plan.pipeline_id && replaced.gone.contains_key(key.stage.as_str())
        });
        Ok(())
    }

    /// These tasks are fenced, and their records go.
    fn end(&mut self, image: &Image, is_over: impl Fn(&TaskKey) -> bool) {
        let over = image.tasks().map(|(key, _)| key).filter(|key| is_over(key));
        self.fenced = over.cloned().collect();
        self.change.ended = self.fenced.clone();
    }

    /// Makes the changes. Whatever interrupts it, the node is afterwards as before, or as the run begins.
    pub async fn carry_out(self, broker: &Arc<Broker>) -> Outcome {
        failpoint::hit("deployment.before_fencing");
        fencing::fence(&LocalEngine::new(broker), &self.fenced).await?;
        let deployed = broker.local().deploy(&self.change).await;
        deployed.map_err(|failure| {
            let kind = match failure.code {
                ErrorCode::KafkaStorageError => FailureKind::Failed,
                _ => FailureKind::Refused,
            };
            Failure::new(
                kind,
                anyhow::anyhow!("the run cannot begin: {}", failure.message),
            )
        })
    }
}

/// Every task of a plan with its topics.
fn tasks(plan: &Plan) -> Vec<(TaskKey, TaskTopics)> {
    let mut tasks = Vec::new();
    for source in &plan.sources {
        let topics = TaskTopics {
            reads: Vec::new(),
            writes: vec![source.topic.clone()],
        };
        tasks.push((key(&source.task), topics));
    }
    for stage in &plan.stages {
        let topics = TaskTopics {
            reads: each_once(stage.inputs.iter().map(|input| input.topic.as_str())),
            writes: each_once(stage.written()),
        };
        for partition in 0..stage.partitions {
            let task = stage.task(&plan.pipeline_id, partition);
            tasks.push((key(&task), topics.clone()));
        }
    }
    tasks
}

fn key(task: &TaskId) -> TaskKey {
    TaskKey {
        pipeline: task.pipeline_id.clone(),
        stage: task.stage.clone(),
        partition: task.partition,
    }
}

/// The topics that a pipeline writes, in the order of their flow; one may come several times.
fn written(plan: &Plan) -> impl Iterator<Item = &str> {
    let fed = plan.sources.iter().map(|source| source.topic.as_str());
    fed.chain(plan.stages.iter().flat_map(|stage| stage.written()))
}

fn each_once<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for name in names {
        if !out.iter().any(|known| known == name) {
            out.push(name.to_owned());
        }
    }
    out
}

#[cfg(test)]
mod testing;
