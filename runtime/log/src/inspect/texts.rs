//! The text files of a partition.

use std::io;
use std::path::Path;

use super::Damage;
use super::data_dir::Report;
use crate::checkpoint::{
    CheckpointError, EpochStart, LEADER_EPOCHS, PARTITION_METADATA, PartitionMetadata,
    read_leader_epochs,
};
use crate::fs::FileSystem;
use crate::repair::AcceptedLosses;

/// Reads the text files; the leader epochs, as far as they are sound.
pub(super) fn read_texts(
    fs: &dyn FileSystem,
    dir: &Path,
    report: &mut Report,
) -> io::Result<Vec<EpochStart>> {
    let metadata = dir.join(PARTITION_METADATA);
    match PartitionMetadata::read(fs, &metadata) {
        Ok(Some(_)) => {}
        Ok(None) => report
            .damages
            .push(Damage::new(&metadata, 0, "the file is missing")),
        Err(error) => report.damages.push(text_damage(error)?),
    }
    match AcceptedLosses::read(fs, dir) {
        Ok(accepted) => report
            .accepted
            .extend(accepted.iter().map(|loss| (dir.to_owned(), loss.clone()))),
        Err(error) => report.damages.push(text_damage(error)?),
    }
    match read_leader_epochs(fs, &dir.join(LEADER_EPOCHS)) {
        Ok(epochs) => Ok(epochs.unwrap_or_default()),
        Err(error) => {
            report.damages.push(text_damage(error)?);
            Ok(Vec::new())
        }
    }
}

/// A text file that is not what it should be; another trouble is handed on.
pub(super) fn text_damage(error: CheckpointError) -> io::Result<Damage> {
    match error {
        CheckpointError::Malformed { path, line, reason } => {
            Ok(Damage::new(&path, 0, format!("line {line}: {reason}")))
        }
        CheckpointError::Io {
            path,
            source,
            action,
        } => Err(io::Error::new(
            source.kind(),
            format!("{action} {}: {source}", path.display()),
        )),
    }
}
