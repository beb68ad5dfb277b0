//! Takes over the tasks of an earlier run: what they have left open is settled, and nothing of them comes later.

use std::time::Duration;

use anyhow::Context;
use millstream_cluster::TaskKey;
use millstream_log::failpoint;
use millstream_pipeline::ports::{Engine, PortError, TaskId};
use tokio::time::Instant;

use crate::outcome::Outcome;

/// How long a decided transaction may take to be carried out, or a coordinator to be loaded.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// Fences the tasks, one after the other.
pub async fn fence<E: Engine>(engine: &E, tasks: &[TaskKey]) -> Outcome {
    for (done, key) in tasks.iter().enumerate() {
        if done > 0 {
            failpoint::hit("deployment.between_tasks");
        }
        let task = TaskId {
            pipeline_id: key.pipeline.clone(),
            stage: key.stage.clone(),
            partition: key.partition,
        };
        let fenced = take_over(engine, &task).await;
        fenced.with_context(|| {
            format!(
                "the task {} of an earlier run cannot be settled",
                task.transactional_id()
            )
        })?;
    }
    Ok(())
}

async fn take_over<E: Engine>(engine: &E, task: &TaskId) -> Result<(), PortError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match engine.acquire_task(task, None).await {
            Ok(_) => return Ok(()),
            Err(PortError::NotLeader { .. } | PortError::Unknown { .. })
                if Instant::now() < until =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}
