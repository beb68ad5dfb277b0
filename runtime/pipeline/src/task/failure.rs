//! Why a task stopped, in words for the pipeline's owner.

use std::fmt;

use crate::ports::PortError;

/// A task stopped because of this. `Display` names pipeline, stage, topic, partition, offsets and
/// reason, and says what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFailure {
    pub pipeline: String,
    /// The stage, or `source.<name>`.
    pub stage: String,
    /// What the task worked on.
    pub place: Option<Place>,
    pub reason: String,
    pub advice: String,
}

/// Records of an input partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub topic: String,
    pub partition: i32,
    /// First and last offset; `None` when no records can be blamed.
    pub offsets: Option<(i64, i64)>,
}

impl std::error::Error for TaskFailure {}

impl fmt::Display for TaskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pipeline, stage, ..
        } = self;
        write!(f, "pipeline {pipeline}, stage {stage}")?;
        if let Some(place) = &self.place {
            let Place {
                topic, partition, ..
            } = place;
            write!(f, ", topic {topic}, partition {partition}")?;
            match place.offsets {
                Some((first, last)) if first == last => write!(f, ", offset {first}")?,
                Some((first, last)) => write!(f, ", offsets {first} to {last}")?,
                None => {}
            }
        }
        write!(f, ": {}", self.reason)?;
        if !self.advice.is_empty() {
            write!(f, ". {}", self.advice)?;
        }
        Ok(())
    }
}

/// What interrupts a session.
#[derive(Debug)]
pub enum Trouble {
    /// Asked to stop; nothing is wrong.
    Stopped,
    /// The engine did not do what it was asked for.
    Port(PortError),
    /// The task cannot go on.
    Failure(Box<TaskFailure>),
    /// The plugin asks to be tried again later.
    Unavailable(Box<TaskFailure>),
}

impl From<PortError> for Trouble {
    fn from(error: PortError) -> Self {
        Trouble::Port(error)
    }
}

impl From<TaskFailure> for Trouble {
    fn from(failure: TaskFailure) -> Self {
        Trouble::Failure(Box::new(failure))
    }
}

/// What a task does about an engine's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// It passes: acquire the task anew and go on from the committed offsets.
    Retry,
    /// Another owner works on it.
    GiveUp,
    /// It does not pass by itself.
    Fail,
}

/// The one place where engine errors are judged.
pub fn reaction(error: &PortError) -> Reaction {
    match error {
        PortError::NotLeader { .. }
        | PortError::Unknown { .. }
        | PortError::UnstableOffsets { .. }
        | PortError::TopicChanged { .. }
        | PortError::Gone { .. } => Reaction::Retry,
        PortError::Fenced { .. } => Reaction::GiveUp,
        PortError::NotFound { .. }
        | PortError::OffsetOutOfRange { .. }
        | PortError::Storage { .. }
        | PortError::Full
        | PortError::Refused { .. } => Reaction::Fail,
    }
}

/// What the owner can do about an engine's error.
pub fn advice(error: &PortError) -> &'static str {
    match error {
        PortError::NotFound { .. } => "Create the topic again, or leave the stage out",
        PortError::OffsetOutOfRange { .. } => {
            "The records were deleted before they were processed: raise the topic's retention, and begin anew with `run --fresh`"
        }
        PortError::Storage { .. } => {
            "See the node's log for the file, and repair or replace the disk"
        }
        PortError::Full => {
            "Make room on the disk and start again: nothing that was committed is lost"
        }
        PortError::Fenced { .. } => "Two nodes or processes run this pipeline: stop one of them",
        PortError::Refused { .. } => "Correct what was refused and start again",
        PortError::NotLeader { .. }
        | PortError::Unknown { .. }
        | PortError::UnstableOffsets { .. }
        | PortError::TopicChanged { .. }
        | PortError::Gone { .. } => "",
    }
}
