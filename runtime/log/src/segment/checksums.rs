//! The sidecar of a segment's indexes: Kafka's formats carry no checksum, so a rolled segment gets one beside them.
//!
//! ```text
//! 0                        version
//! index 4096 1a2b3c4d      kind, bytes, CRC-32C in hexadecimal
//! timeindex 24 00c0ffee
//! txnindex 0 00000000      no file
//! ```

use std::io;

use super::Segment;
use super::names::{SegmentFile, path_of};
use crate::fs::{FileSystem, OpenMode};
use crate::index::Checksum;

const VERSION: &str = "0";
/// The file has four short lines.
const FILE_BYTES_MAX: u64 = 1024;

impl Segment {
    /// Whether the indexes are known to be what was once written: made in this run, or checked against the sidecar.
    pub(crate) fn indexes_are_trusted(&self) -> bool {
        self.trusted.load(std::sync::atomic::Ordering::Acquire)
    }

    pub(crate) fn trust_indexes(&self) {
        self.trusted
            .store(true, std::sync::atomic::Ordering::Release);
    }

    /// Whether the indexes have the lengths and checksums that the sidecar says. No sidecar is no proof.
    pub(crate) fn indexes_match_sidecar(&self, fs: &dyn FileSystem) -> io::Result<bool> {
        let path = path_of(&self.dir, self.base_offset, SegmentFile::Checksums);
        let expected = match fs.read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match self.index_checksums() {
            Ok(found) => Ok(text_of(&found).as_bytes() == expected),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the sidecar for the indexes as they are in their files now.
    pub(super) fn write_sidecar(&self, fs: &dyn FileSystem) -> io::Result<()> {
        let text = text_of(&self.index_checksums()?);
        let path = path_of(&self.dir, self.base_offset, SegmentFile::Checksums);
        let file = fs.open(&path, OpenMode::Create)?;
        file.set_len(text.len() as u64)?;
        file.write_at(text.as_bytes(), 0)
    }

    /// Makes the sidecar durable, if there is one.
    pub(super) fn sync_sidecar(&self, fs: &dyn FileSystem) -> io::Result<()> {
        let path = path_of(&self.dir, self.base_offset, SegmentFile::Checksums);
        match fs.open(&path, OpenMode::ReadWrite) {
            Ok(file) => file.sync_data(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn index_checksums(&self) -> io::Result<[Checksum; 3]> {
        let indexes = self.indexes.read();
        Ok([
            indexes.offset.checksum()?,
            indexes.time.checksum()?,
            indexes.aborted.checksum()?,
        ])
    }
}

fn text_of(checksums: &[Checksum; 3]) -> String {
    use std::fmt::Write;
    let mut text = format!("{VERSION}\n");
    for (kind, sum) in ["index", "timeindex", "txnindex"].iter().zip(checksums) {
        writeln!(text, "{kind} {} {:08x}", sum.bytes, sum.crc).expect("a String takes every write");
    }
    text
}
