//! A refused record.

use std::fmt::Display;

use millstream_frames::{CODE_REJECTED, CODE_UNAVAILABLE};

/// The plugin refuses a record: it goes to the dead letters, is skipped or stops the stage, as the manifest's
/// `on_error` says. Made of any error by `?`, or by the macro [`crate::reject!`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    code: u32,
    message: String,
}

impl Reject {
    /// The record itself is at fault.
    pub fn new(message: impl Display) -> Self {
        Self {
            code: CODE_REJECTED,
            message: message.to_string(),
        }
    }

    /// Something that the record needs is not there now; trying again may help.
    pub fn unavailable(message: impl Display) -> Self {
        Self {
            code: CODE_UNAVAILABLE,
            message: message.to_string(),
        }
    }

    /// The contract's number: 0 rejected, 1 unavailable.
    pub fn code(&self) -> u32 {
        self.code
    }

    pub fn message(&self) -> &str {
        &self.message
    }
}

impl<E: std::error::Error> From<E> for Reject {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// Refuses the record: `reject!("no column {name}")` returns from the function with that message.
#[macro_export]
macro_rules! reject {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::Reject::new(::std::format!($($message)+)))
    };
}
