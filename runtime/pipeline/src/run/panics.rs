//! Tasks that panic end as failed tasks: nobody waits for them, and their failure is told.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use crate::ports::TaskId;
use crate::task::TaskFailure;

/// Runs `task`; when it panics, it is dropped and `ended` is called with the panic's message. What
/// the task leaves behind is settled when it is acquired anew, as after a crash.
pub async fn caught(task: impl Future<Output = ()>, ended: impl FnOnce(String)) {
    let message = {
        let mut task = std::pin::pin!(task);
        let poll = |context: &mut std::task::Context<'_>| {
            let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
            match polled {
                Ok(Poll::Ready(())) => Poll::Ready(None),
                Ok(Poll::Pending) => Poll::Pending,
                Err(payload) => Poll::Ready(Some(message(payload.as_ref()))),
            }
        };
        std::future::poll_fn(poll).await
    };
    if let Some(message) = message {
        ended(message);
    }
}

/// What a panicked task tells the pipeline's owner.
pub fn failure(pipeline: &str, task: &TaskId, message: &str) -> TaskFailure {
    let failure = TaskFailure {
        pipeline: pipeline.to_owned(),
        stage: task.stage.clone(),
        place: None,
        reason: format!("the task panicked: {message}"),
        advice: "This is a mistake in Millstream, not in the plugin: nothing that was not committed counts, and a new start goes on there".to_owned(),
    };
    tracing::error!("{failure}");
    failure
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    text.or(owned).unwrap_or("without a message").to_owned()
}
