//! A segment's files on their way out: renamed when it leaves its log, removed when nobody reads them any more.

use std::io;
use std::path::PathBuf;

use super::names::{SegmentFile, Suffix, path_with};
use super::{OpenFiles, Segment};
use crate::failpoint;
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
    /// At the first file that cannot be renamed; those behind it keep their names. The same call again goes on.
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
        for kind in SegmentFile::ALL {
            if kind == SegmentFile::ProducerSnapshot && keeps_snapshot {
                continue;
            }
            let indexes = self.indexes.read();
            let renamed = match kind {
                SegmentFile::Log => self.log.rename(name(kind, to)),
                SegmentFile::OffsetIndex => indexes.offset.rename(name(kind, to)),
                SegmentFile::TimeIndex => indexes.time.rename(name(kind, to)),
                SegmentFile::AbortedIndex => indexes.aborted.rename(name(kind, to)),
                SegmentFile::Checksums | SegmentFile::ProducerSnapshot => {
                    match fs.rename(&name(kind, *suffix), &name(kind, to)) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                        renamed => renamed,
                    }
                }
            };
            drop(indexes);
            renamed?;
            failpoint::hit("segments.between_files");
        }
        *suffix = to;
        Ok(())
    }

    /// Whether the segment has left its log.
    pub(crate) fn has_departed(&self) -> bool {
        matches!(*self.suffix.lock(), Suffix::Deleted(_))
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
