//! Why a log was not repaired.

use std::io;
use std::path::{Path, PathBuf};

use super::AcceptedLoss;
use crate::checkpoint::CheckpointError;
use crate::cleaner::CleanError;
use crate::log::AppendError;
use crate::store::StoreError;

/// Why nothing was repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error("{} is not the data directory of a node: it has no {missing}", dir.display())]
    NotANode { dir: PathBuf, missing: &'static str },
    #[error("a node has {} open: stop it first", dir.display())]
    Locked { dir: PathBuf },
    #[error("there is no log {log} in {}", dir.display())]
    UnknownLog { log: String, dir: PathBuf },
    #[error("nothing is damaged in {log}: there is nothing to repair")]
    NothingDamaged {
        log: String,
        /// What earlier repairs have given up.
        accepted: Vec<AcceptedLoss>,
    },
    #[error("{log} has changed meanwhile")]
    Changed { log: String },
    #[error("{action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Swap(#[from] CleanError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl RepairError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

impl From<StoreError> for RepairError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked { dir } => Self::Locked { dir },
            other => Self::Store(other),
        }
    }
}
