//! A segment's files on their way out: renamed when it leaves its log, removed when nobody reads them any more.

use std::io;
use std::path::PathBuf;

use super::names::{SegmentFile, Suffix, path_with};
use super::{OpenFiles, Segment};
use crate::fs::FileSystem;

impl Segment {
    /// The name that a file of this segment has now.
    pub(super) fn file_path(&self, kind: SegmentFile) -> PathBuf {
        path_with(&self.dir, self.base_offset, kind, *self.suffix.lock())
    }

    /// Renames the segment's files; reads go on meanwhile and afterwards. With `keeps_snapshot` the producer snapshot
    /// at the base offset stays: another segment takes this one's place.
    ///
    /// # Errors
    /// The first one; what could be renamed is.
    pub(crate) fn rename(
        &self,
        fs: &dyn FileSystem,
        to: Suffix,
        keeps_snapshot: bool,
    ) -> io::Result<()> {
        let mut suffix = self.suffix.lock();
        if *suffix == to {
            return Ok(());
        }
        let name = |kind, suffix| path_with(&self.dir, self.base_offset, kind, suffix);
        // The batches first: without them the other files are nothing.
        let mut result = self.log.rename(name(SegmentFile::Log, to));
        {
            let indexes = self.indexes.read();
            for renamed in [
                indexes.offset.rename(name(SegmentFile::OffsetIndex, to)),
                indexes.time.rename(name(SegmentFile::TimeIndex, to)),
                indexes.aborted.rename(name(SegmentFile::AbortedIndex, to)),
            ] {
                result = result.and(renamed);
            }
        }
        for kind in [SegmentFile::Checksums, SegmentFile::ProducerSnapshot] {
            if kind == SegmentFile::ProducerSnapshot && keeps_snapshot {
                continue;
            }
            match fs.rename(&name(kind, *suffix), &name(kind, to)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    result = result.and(Err(error));
                }
                _ => {}
            }
        }
        *suffix = to;
        result
    }

    /// Whether the files have the names that those of a segment of a log should have. If not, a swap has failed half
    /// way, and a start finishes it.
    pub(crate) fn has_own_name(&self) -> bool {
        *self.suffix.lock() == Suffix::None
    }

    /// Removes the segment's files, under the names that they have now.
    pub(crate) fn remove(&self, files: &OpenFiles) -> io::Result<()> {
        let mut paths = vec![self.path()];
        {
            let indexes = self.indexes.read();
            paths.extend([
                indexes.offset.path(),
                indexes.time.path(),
                indexes.aborted.path(),
            ]);
        }
        paths.push(self.file_path(SegmentFile::Checksums));
        paths.push(self.file_path(SegmentFile::ProducerSnapshot));
        for path in paths {
            match files.fs().remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
