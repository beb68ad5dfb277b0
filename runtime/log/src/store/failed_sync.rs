//! A sync that has failed, remembered for the next start of a node without a journal.
//!
//! After a failed sync the kernel goes on showing the bytes and takes them for written: a process that starts after this
//! one reads them, syncs, is told that all is well, and they are gone with the next power cut. So the failure leaves a
//! file behind, and the next start writes again whatever is not below a recovery point. A power cut that takes the file
//! with it takes those bytes with it as well. A journal repeats them anyway.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fs::{FileSystem, OpenMode};
use crate::{FlushMode, StoreOptions};

/// The file's name in the data directory.
const FILE_NAME: &str = "failed-sync";

#[derive(Debug)]
pub(crate) struct FailedSync {
    path: PathBuf,
    flush: FlushMode,
    /// The run before has left the file.
    is_found: AtomicBool,
}

impl FailedSync {
    pub(super) fn new(options: &StoreOptions) -> Self {
        let path = options.dir.join(FILE_NAME);
        let is_found = options.fs.exists(&path).unwrap_or(false);
        Self {
            path,
            flush: options.flush,
            is_found: AtomicBool::new(is_found),
        }
    }

    /// Whether this start has to write again what it finds behind the recovery points.
    pub(super) fn is_found(&self) -> bool {
        self.is_found.load(Ordering::Relaxed)
    }

    /// A sync has failed.
    pub(super) fn leave(&self, fs: &dyn FileSystem) {
        if self.flush == FlushMode::Os
            && let Err(error) = fs.open(&self.path, OpenMode::Create)
        {
            tracing::error!(path = %self.path.display(), %error, "the next start will not know that a sync has failed");
        }
    }

    /// A checkpoint has made durable what was written again.
    pub(super) fn settle(&self, fs: &dyn FileSystem) {
        if self.is_found.swap(false, Ordering::Relaxed)
            && let Err(error) = fs.remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the next start writes again what is durable");
        }
    }
}
