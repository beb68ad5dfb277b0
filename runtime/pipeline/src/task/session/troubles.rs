//! Why a session ends: who is to blame, at which record, and what the owner can do.

use millstream_plugin_host::frames::EventsFrame;
use millstream_plugin_host::{PluginFailure, ProcessError};
use millstream_records::BatchError;

use super::Session;
use crate::ports::{Engine, PortError};
use crate::processor::{Processor, ProcessorFactory};
use crate::task::failure::{Place, Trouble, advice};
use crate::task::outbox::Misfit;
use crate::task::route::RouteError;
use crate::task::writer::unbuildable;

impl<E: Engine, F: ProcessorFactory> Session<'_, E, F> {
    pub(super) fn place(&self, index: usize, offsets: Option<(i64, i64)>) -> Place {
        Place {
            topic: self.inputs[index].topic.clone(),
            partition: self.inputs[index].partition,
            offsets,
        }
    }

    pub(super) fn failure(&self, place: Place, reason: String, advice: String) -> Trouble {
        self.context.failure(Some(place), reason, advice).into()
    }

    pub(super) fn corrupt(&self, index: usize, error: &BatchError) -> Trouble {
        let at = self.inputs[index].read;
        let reason = format!("a batch at or behind offset {at} is damaged: {error}");
        let storage = PortError::Storage {
            reason: String::new(),
        };
        self.failure(self.place(index, None), reason, advice(&storage).into())
    }

    pub(super) fn route_trouble(&self, index: usize, error: RouteError) -> Trouble {
        let (offset, reason, advice) = match error {
            RouteError::Build(error) => return unbuildable(error).into(),
            RouteError::Unavailable { event, message } => {
                let offset = self.frames.events[event as usize].offset;
                return self.unavailable(index, offset, &message);
            }
            RouteError::DeadLetter { offset, misfit } => (
                offset,
                format!("a refused record cannot be sent to the dead letters: {misfit}"),
                match misfit {
                    Misfit::CompactedDeadLetters { .. } => {
                        "Take `compact` out of the cleanup.policy of the dead-letter topic, or name another one"
                    }
                    _ => "Raise max.message.bytes of the dead-letter topic",
                },
            ),
            RouteError::Rejected {
                offset,
                code,
                message,
            } => (
                offset,
                format!(
                    "the plugin refused the record: {message} (code {code}), and on_error.reject is \"fail\""
                ),
                "Mend the record's producer or the plugin, or choose `dead-letter` or `skip`",
            ),
        };
        let place = self.place(index, Some((offset, offset)));
        self.failure(place, reason, advice.into())
    }

    /// The plugin cannot work on this record yet.
    pub(super) fn unavailable(&self, index: usize, offset: i64, message: &str) -> Trouble {
        let place = self.place(index, Some((offset, offset)));
        let reason = format!("the plugin is unavailable for this record: {message}");
        let advice = "See to what the plugin needs and start again: it goes on with this record";
        let failure = self.context.failure(Some(place), reason, advice.to_owned());
        Trouble::Unavailable(Box::new(failure))
    }

    /// Why the plugin failed, with the offsets of the call; narrowed to one record when a run with
    /// marks finds it.
    pub(super) async fn plugin_trouble(
        &mut self,
        index: usize,
        frame: &EventsFrame,
        error: ProcessError,
    ) -> Trouble {
        let events = &self.frames.events;
        let range = events
            .first()
            .zip(events.last())
            .map(|(first, last)| (first.offset, last.offset));
        let place = self.place(index, range);
        let failure = match error {
            ProcessError::Host(failure) => {
                let advice = "This is a mistake in Millstream, not in the plugin".to_owned();
                return self.failure(place, failure.to_string(), advice);
            }
            ProcessError::Plugin(failure) => failure,
        };
        let guilty = matches!(
            failure,
            PluginFailure::Trap { .. }
                | PluginFailure::CpuLimit { .. }
                | PluginFailure::MemoryLimit { .. }
                | PluginFailure::OutputLimit { .. }
        );
        let mut advice = String::from(
            "Nothing of these records was committed: correct the plugin (or its limits) and start again, it goes on there",
        );
        if guilty && let Some(offset) = self.find_suspect(frame).await {
            advice = format!("The plugin was at offset {offset}. {advice}");
        }
        let reason = format!("the plugin failed: {failure}");
        let task_failure = self.context.failure(Some(place), reason, advice);
        match failure {
            PluginFailure::Unavailable { .. } => Trouble::Unavailable(Box::new(task_failure)),
            _ => task_failure.into(),
        }
    }

    /// Runs the frame once more with marks; its effects are thrown away.
    async fn find_suspect(&mut self, frame: &EventsFrame) -> Option<i64> {
        let marked = self.frames.rest(frame, 0, true);
        self.processor.process(&marked).await.err()?;
        let event = self.processor.last_mark()? as usize;
        self.frames.events.get(event).map(|event| event.offset)
    }
}
