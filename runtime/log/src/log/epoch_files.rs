//! `leader-epoch-checkpoint` and its checksum.
//!
//! No checksum of a batch covers its leader epoch. Below a recovery point the node's checkpoint tells which epoch wrote
//! what, and behind it the journal does. A log without a journal writes Kafka's file, and a checksum beside it, before
//! the first batch of an epoch: so a start after a kill knows the epochs of the batches. Neither file is synced before the
//! next checkpoint, so after a power cut they may be older ones, and then the log ends before the batches of a newer epoch.

use std::io;

use super::{AppendError, Appender, Log};
use crate::checkpoint::{EpochStart, LEADER_EPOCHS, leader_epochs_text, read_leader_epochs};
use crate::fs::OpenMode;

/// CRC-32C of `leader-epoch-checkpoint`, in hexadecimal.
const CHECKSUM: &str = "leader-epoch-checkpoint.crc";
/// Both files.
pub(super) const EPOCH_FILES: [&str; 2] = [LEADER_EPOCHS, CHECKSUM];
const CHECKSUM_BYTES_MAX: u64 = 64;
/// As for every checkpoint of Kafka's.
const EPOCHS_BYTES_MAX: u64 = 64 << 20;

impl Log {
    /// Replaces Kafka's file. Not atomically: what we read is the node's checkpoint, or the file with its checksum.
    pub(super) fn write_epochs(&self, epochs: &[EpochStart]) -> io::Result<()> {
        self.put_text(LEADER_EPOCHS, &leader_epochs_text(epochs))
    }

    /// Before a batch of this leader epoch is written at the log's end, the files of a log without a journal say so.
    pub(super) fn announce_epoch(
        &self,
        appender: &mut Appender,
        epoch: i32,
    ) -> Result<(), AppendError> {
        let is_known = epoch < 0 || appender.epochs.is_announced(epoch, appender.log_end);
        if self.shared.waits_for_flush() || is_known {
            return Ok(());
        }
        let entries = appender.epochs.announce(epoch, appender.log_end);
        let text = leader_epochs_text(&entries);
        let written = self
            .put_text(LEADER_EPOCHS, &text)
            .and_then(|()| self.put_text(CHECKSUM, &checksum_of(text.as_bytes())));
        written.map_err(|error| {
            appender.epochs.forget_announced();
            AppendError::write(self.dir.join(LEADER_EPOCHS), error)
        })
    }

    /// Which epoch wrote what by those files; none when they do not fit each other. A kill between the writing of both
    /// has come before the first batch of the epoch.
    pub(super) fn announced_epochs(&self) -> Option<Vec<EpochStart>> {
        let fs = &*self.shared.fs;
        let path = self.dir.join(LEADER_EPOCHS);
        let text = fs.read(&path, EPOCHS_BYTES_MAX).ok()?;
        let checksum = fs.read(&self.dir.join(CHECKSUM), CHECKSUM_BYTES_MAX).ok()?;
        if checksum != checksum_of(&text).as_bytes() {
            return None;
        }
        read_leader_epochs(fs, &path).ok()?
    }

    /// Before a cut is made durable: older files, which a power cut may bring back, would tell of what was cut.
    pub(super) fn forget_epoch_files(&self) -> io::Result<()> {
        match self.shared.fs.remove_file(&self.dir.join(CHECKSUM)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn put_text(&self, name: &str, text: &str) -> io::Result<()> {
        let file = self
            .shared
            .fs
            .open(&self.dir.join(name), OpenMode::Create)?;
        file.set_len(text.len() as u64)?;
        file.write_at(text.as_bytes(), 0)
    }
}

fn checksum_of(text: &[u8]) -> String {
    format!("{:08x}\n", crc32c::crc32c(text))
}
