//! Records that must survive a power cut in either mode: the cluster's metadata.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Log;
use super::epoch_files::EPOCH_FILES;
use crate::checkpoint::{EpochStart, PARTITION_METADATA};
use crate::fs::OpenMode;
use crate::journal::Lsn;
use crate::store::StoreError;

/// What [`Log::durable`] has synced in this run, where no journal does.
#[derive(Debug, Default)]
pub(super) struct Synced {
    /// Everything below.
    end: i64,
    /// With the names of all segments up to this one.
    last_segment: Option<i64>,
    /// With the files that say which leader epoch wrote what, up to this epoch.
    last_epoch: Option<EpochStart>,
}

impl Log {
    /// Returns when everything that was appended so far, `lsn` being the last of it, will survive a power cut, with
    /// files and directories, in either mode.
    ///
    /// # Errors
    /// A failed sync stops all writes of the store, as one of a checkpoint does.
    pub async fn durable(self: &Arc<Self>, lsn: Lsn) -> Result<(), StoreError> {
        if self.shared.waits_for_flush() {
            return self.flushed(lsn).await;
        }
        let log = Arc::clone(self);
        tokio::task::spawn_blocking(move || log.sync_appended())
            .await
            .map_err(|_| StoreError::Closed)?
    }

    fn sync_appended(&self) -> Result<(), StoreError> {
        let end = self.offsets().log_end;
        // One sync at a time; who has waited for another's may find everything done.
        let mut synced = self.synced.lock();
        if end <= synced.end {
            return Ok(());
        }
        self.shared
            .check_healthy()
            .map_err(|reason| StoreError::Poisoned { reason })?;
        let end = self.offsets().log_end;
        let result = self.sync_from(&mut synced);
        match &result {
            Ok(()) => synced.end = end,
            Err(error) => self.shared.poison(&format!("a sync failed: {error}")),
        }
        result
    }

    fn sync_from(&self, synced: &mut Synced) -> Result<(), StoreError> {
        let fs = &*self.shared.fs;
        let segments = self.segments_from(synced.end);
        for segment in &segments {
            segment
                .sync(fs)
                .map_err(|source| StoreError::io("syncing", &segment.path(), source))?;
        }
        let last_segment = segments.last().map(|segment| segment.base_offset());
        let last_epoch = self.epochs.entries().last().copied();
        if last_segment == synced.last_segment && last_epoch == synced.last_epoch {
            return Ok(());
        }
        let dir = self.dir();
        let io = |source| StoreError::io("syncing", dir, source);
        let sync = |name: &str| fs.open(&dir.join(name), OpenMode::ReadWrite)?.sync_data();
        sync(PARTITION_METADATA).map_err(io)?;
        for name in EPOCH_FILES {
            match sync(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(io)?,
            }
        }
        fs.sync_dir(dir).map_err(io)?;
        fs.sync_dir(dir.parent().unwrap_or(Path::new(".")))
            .map_err(io)?;
        synced.last_segment = last_segment;
        synced.last_epoch = last_epoch;
        Ok(())
    }
}
