//! Bytes of a rolled segment's file that are not the segment's.

use std::io;
use std::path::Path;

use millstream_records::{BatchHeader, HEADER_LEN};

use super::checksums::Sidecar;
use crate::fs::{FileSystem, OpenMode};

/// How many bytes of a rolled segment's file, which has `len`, are the segment's.
///
/// A segment that has lost its end is closed as long as it was at the last checkpoint, and the log goes on in the next one.
/// If somebody puts the whole file back, it has batches that the next segment has too. They are left in the file and not
/// counted.
pub(crate) fn own_bytes(
    fs: &dyn FileSystem,
    path: &Path,
    len: u64,
    sidecar: &Sidecar,
    next_base: i64,
) -> io::Result<u64> {
    if len < sidecar.log_bytes.saturating_add(HEADER_LEN as u64) {
        return Ok(len);
    }
    let mut bytes = [0; HEADER_LEN];
    fs.open(path, OpenMode::Read)?
        .read_exact_at(&mut bytes, sidecar.log_bytes)?;
    match BatchHeader::parse(&bytes) {
        Ok(header) if header.base_offset >= next_base => Ok(sidecar.log_bytes),
        _ => Ok(len),
    }
}
