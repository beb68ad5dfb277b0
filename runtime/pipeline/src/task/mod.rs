//! Stage tasks: one per stage and input partition, each an endless "read, process, commit" under a
//! lease that is acquired anew after anything went wrong.

pub mod dead_letter;
pub mod partitioner;

mod aborted;
mod delay;
mod failure;
mod frames;
mod input;
pub(crate) mod outbox;
mod route;
mod session;
mod status;
pub(crate) mod stop;
pub(crate) mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use failure::{Place, TaskFailure};
pub use status::{Counts, FileStatus, InputStatus, TaskSnapshot, TaskState, TaskStatus};

pub(crate) use aborted::{AbortedFilter, Verdict};
use failure::{Reaction, reaction};
pub(crate) use failure::{Trouble, advice};
pub(crate) use input::first_offset;
use session::{Session, UNAVAILABLE_PATIENCE};
use stop::{Backoff, StopSender, StopSignal};

use crate::plan::StagePlan;
use crate::ports::{Engine, PortError};
use crate::processor::ProcessorFactory;

/// What the tasks of one stage share.
pub struct StageContext<E: Engine, F: ProcessorFactory> {
    pub engine: E,
    pub pipeline: String,
    pub pipeline_id: String,
    pub stage: StagePlan,
    pub factory: Arc<F>,
    pub commit_interval_max: Duration,
    /// A task that fails stops the others of its stage.
    pub stop: StopSender,
}

/// Runs one stage task until it is stopped, fenced, or cannot go on. The outcome is left in
/// `status`.
pub async fn run_stage_task<E: Engine, F: ProcessorFactory>(
    context: Arc<StageContext<E, F>>,
    partition: i32,
    status: Arc<TaskStatus>,
) {
    let mut stop = context.stop.signal();
    let mut retry = Retry::default();
    loop {
        let session = Session::open(&context, partition, &status, stop.clone()).await;
        let trouble = match session {
            Ok(mut session) => {
                let trouble = session.work().await;
                if session.commits > 0 {
                    retry = Retry::default();
                }
                trouble
            }
            Err(trouble) => trouble,
        };
        let describe =
            |error: &PortError| context.failure(None, error.to_string(), advice(error).to_owned());
        let Some(state) = retry.after(trouble, describe, &status, &mut stop).await else {
            continue;
        };
        if let TaskState::Failed(failure) = &state {
            tracing::error!("{failure}");
            context.stop.stop();
        }
        status.set_state(state);
        return;
    }
}

/// What a task remembers between its attempts.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    backoff: Backoff,
    unavailable_since: Option<Instant>,
}

impl Retry {
    /// What to do after a session ended: `None` to try again (after a pause), or the state in which
    /// the task ends.
    pub async fn after(
        &mut self,
        trouble: Trouble,
        describe: impl Fn(&PortError) -> TaskFailure,
        status: &TaskStatus,
        stop: &mut StopSignal,
    ) -> Option<TaskState> {
        let error = match trouble {
            Trouble::Stopped => return Some(TaskState::Stopped),
            Trouble::Failure(failure) => return Some(TaskState::Failed(*failure)),
            Trouble::Unavailable(failure) => {
                let since = *self.unavailable_since.get_or_insert_with(Instant::now);
                if since.elapsed() > UNAVAILABLE_PATIENCE {
                    return Some(TaskState::Failed(*failure));
                }
                failure.to_string()
            }
            Trouble::Port(error) => match reaction(&error) {
                Reaction::GiveUp => return Some(TaskState::Fenced(describe(&error))),
                Reaction::Fail => return Some(TaskState::Failed(describe(&error))),
                Reaction::Retry => describe(&error).to_string(),
            },
        };
        tracing::debug!("{error}; trying again");
        status.retrying(error);
        match self.backoff.pause(stop).await {
            Ok(()) => None,
            Err(_) => Some(TaskState::Stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::stop::StopSender;
    use super::*;
    use crate::ports::TaskId;

    fn unavailable() -> Trouble {
        Trouble::Unavailable(Box::new(TaskFailure {
            pipeline: "p".into(),
            stage: "s".into(),
            place: None,
            reason: "no table yet".into(),
            advice: String::new(),
        }))
    }

    #[tokio::test]
    async fn a_plugin_that_stays_unavailable_stops_its_stage_when_patience_is_over() {
        let task = TaskId {
            pipeline_id: "p".into(),
            stage: "s".into(),
            partition: 0,
        };
        let status = TaskStatus::new(task, Vec::new());
        let sender = StopSender::default();
        let mut stop = sender.signal();
        let mut retry = Retry::default();
        let describe = |_: &PortError| unreachable!("the engine is not at fault");
        let again = retry.after(unavailable(), describe, &status, &mut stop);
        assert_eq!(again.await, None);
        assert_eq!(status.snapshot().retries, 1);
        let last_error = status.snapshot().last_error.unwrap();
        assert!(last_error.contains("no table yet"), "{last_error}");
        retry.unavailable_since = Instant::now().checked_sub(UNAVAILABLE_PATIENCE);
        assert!(
            retry.unavailable_since.is_some(),
            "the machine has just started"
        );
        let ended = retry
            .after(unavailable(), describe, &status, &mut stop)
            .await;
        assert!(matches!(ended, Some(TaskState::Failed(_))), "{ended:?}");
    }
}
