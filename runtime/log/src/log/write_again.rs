//! What a failed sync may have lost though it can still be read, written once more.

use std::io;

use super::{Log, LogCheckpoint};
use crate::checkpoint::PARTITION_METADATA;
use crate::fs::OpenMode;
use crate::segment::SegmentFile;

/// A producer snapshot or a text file that is larger was not read by anybody either.
const SMALL_FILE_BYTES_MAX: u64 = 256 << 20;

impl Log {
    /// Writes the bytes behind the checkpoint again, all of them without one, so that the next sync makes them durable.
    /// Indexes and leader epochs are built anew by every such start.
    pub(super) fn write_again(&self, from: Option<&LogCheckpoint>) -> io::Result<()> {
        let fs = &*self.shared.fs;
        let (base, size) = from.map_or((i64::MIN, 0), |at| (at.segment_base, at.segment_size));
        for segment in self.segments.read().iter() {
            if segment.base_offset() >= base {
                let is_first = segment.base_offset() == base;
                segment.write_again(if is_first { size } else { 0 })?;
            }
        }
        for entry in fs.read_dir(&self.dir)? {
            let kind = SegmentFile::parse(&entry.name).map(|(kind, _)| kind);
            if kind == Some(SegmentFile::ProducerSnapshot) || entry.name == PARTITION_METADATA {
                let path = self.dir.join(&entry.name);
                let bytes = fs.read(&path, SMALL_FILE_BYTES_MAX)?;
                fs.open(&path, OpenMode::ReadWrite)?.write_at(&bytes, 0)?;
            }
        }
        Ok(())
    }
}
