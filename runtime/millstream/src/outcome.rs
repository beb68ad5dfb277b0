//! How a command ends: one error type with the exit code that belongs to it.

use std::process::ExitCode;

/// The kinds of failure that programs can tell apart by the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FailureKind {
    /// Something went wrong while running.
    Failed = 1,
    /// The command line, a settings file or a manifest is wrong. Nothing was changed.
    Usage = 2,
    /// A running node said no.
    Refused = 3,
    /// What was asked for is not there.
    NotFound = 4,
    /// Stopped by a signal.
    Interrupted = 130,
}

/// A command that did not do what it was asked to do.
#[derive(Debug)]
pub struct Failure {
    pub kind: FailureKind,
    pub error: anyhow::Error,
}

pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub fn new(kind: FailureKind, error: impl Into<anyhow::Error>) -> Failure {
        Failure {
            kind,
            error: error.into(),
        }
    }

    pub fn usage(message: impl std::fmt::Display) -> Failure {
        Failure {
            kind: FailureKind::Usage,
            error: anyhow::anyhow!("{message}"),
        }
    }

    /// Prints the error for people and gives the exit code for programs.
    pub fn report(&self) -> ExitCode {
        eprintln!("error: {:#}", self.error);
        ExitCode::from(self.kind as u8)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure {
            kind: FailureKind::Failed,
            error: error.into(),
        }
    }
}
