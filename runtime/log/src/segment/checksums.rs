//! The sidecar of a rolled segment: Kafka's formats carry no checksum of an index and no length of a segment, so both
//! are written beside them.
//!
//! ```text
//! 1                        version
//! log 81920                bytes of the segment
//! index 4096 1a2b3c4d      kind, bytes, CRC-32C in hexadecimal
//! timeindex 24 00c0ffee
//! txnindex 0 00000000      no file
//! sum 5e1f0a77             CRC-32C of the lines above
//! ```

use std::io;
use std::path::Path;

use super::Segment;
use super::names::SegmentFile;
use crate::fs::{FileSystem, OpenMode};
use crate::index::Checksum;

const VERSION: &str = "1";
const KINDS: [&str; 3] = ["index", "timeindex", "txnindex"];
/// The file has six short lines.
const FILE_BYTES_MAX: u64 = 1024;

/// What a sidecar says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sidecar {
    /// Bytes of the segment's batches.
    pub(crate) log_bytes: u64,
    /// Of offset, time and aborted index.
    pub(crate) indexes: [Checksum; 3],
}

impl Sidecar {
    /// The sidecar in this file; `None` when there is none, or none that is sound.
    pub(crate) fn read(fs: &dyn FileSystem, path: &Path) -> io::Result<Option<Self>> {
        match fs.read(path, FILE_BYTES_MAX) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // Longer than any sidecar.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let numbers: Vec<u64> = text
            .lines()
            .enumerate()
            .flat_map(|(line, text)| {
                // What a number means is told by its place; that the words are right too, by comparing below.
                text.split(' ').skip(usize::from(line > 0)).enumerate().map(
                    move |(column, word)| {
                        let radix = if column == 1 || line == 5 { 16 } else { 10 };
                        u64::from_str_radix(word, radix)
                    },
                )
            })
            .collect::<Result<_, _>>()
            .ok()?;
        let &[_, log_bytes, b0, c0, b1, c1, b2, c2, _] = numbers.as_slice() else {
            return None;
        };
        let sum = |bytes, crc| {
            let crc = u32::try_from(crc).ok()?;
            Some(Checksum { bytes, crc })
        };
        let sidecar = Self {
            log_bytes,
            indexes: [sum(b0, c0)?, sum(b1, c1)?, sum(b2, c2)?],
        };
        (sidecar.text() == text).then_some(sidecar)
    }

    fn text(&self) -> String {
        use std::fmt::Write;
        let mut text = format!("{VERSION}\nlog {}\n", self.log_bytes);
        for (kind, sum) in KINDS.iter().zip(&self.indexes) {
            writeln!(text, "{kind} {} {:08x}", sum.bytes, sum.crc)
                .expect("a String takes every write");
        }
        let crc = crc32c::crc32c(text.as_bytes());
        writeln!(text, "sum {crc:08x}").expect("a String takes every write");
        text
    }
}

impl Segment {
    /// Whether the indexes are known to be what was once written: made in this run, or checked against the sidecar.
    pub(crate) fn indexes_are_trusted(&self) -> bool {
        self.trusted.load(std::sync::atomic::Ordering::Acquire)
    }

    pub(crate) fn trust_indexes(&self) {
        self.trusted
            .store(true, std::sync::atomic::Ordering::Release);
    }

    /// They are to be compared again before their next use.
    pub(crate) fn distrust_indexes(&self) {
        *self.expected.lock() = None;
        self.trusted
            .store(false, std::sync::atomic::Ordering::Release);
    }

    pub(crate) fn sidecar(&self, fs: &dyn FileSystem) -> io::Result<Option<Sidecar>> {
        Sidecar::read(fs, &self.file_path(SegmentFile::Checksums))
    }

    /// Whether the indexes have the lengths and checksums that a sidecar says.
    pub(crate) fn indexes_match(&self, sidecar: &Sidecar) -> io::Result<bool> {
        match self.index_checksums() {
            Ok(found) => Ok(found == sidecar.indexes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends a segment that has lost its end: its sidecar goes on telling how many bytes it had.
    pub(crate) fn seal_short(&self, fs: &dyn FileSystem, log_bytes: u64) -> io::Result<()> {
        self.finish_indexes()?;
        self.write_sidecar(fs, log_bytes)
    }

    /// Writes the sidecar for the indexes as they are in their files now.
    pub(super) fn write_sidecar(&self, fs: &dyn FileSystem, log_bytes: u64) -> io::Result<()> {
        let sidecar = Sidecar {
            log_bytes,
            indexes: self.index_checksums()?,
        };
        let text = sidecar.text();
        let path = self.file_path(SegmentFile::Checksums);
        let file = fs.open(&path, OpenMode::Create)?;
        file.set_len(text.len() as u64)?;
        file.write_at(text.as_bytes(), 0)
    }

    /// Makes the sidecar durable, if there is one.
    pub(super) fn sync_sidecar(&self, fs: &dyn FileSystem) -> io::Result<()> {
        let path = self.file_path(SegmentFile::Checksums);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_comes_back_and_a_changed_one_does_not() {
        let sum = |bytes, crc| Checksum { bytes, crc };
        let sidecar = Sidecar {
            log_bytes: 81_920,
            indexes: [sum(4096, 0x1a2b_3c4d), sum(24, 0xc0_ffee), sum(0, 0)],
        };
        let text = sidecar.text().into_bytes();
        assert_eq!(Sidecar::parse(&text), Some(sidecar));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(Sidecar::parse(&changed), None, "byte {at}, bit {bit}");
            }
            assert_eq!(Sidecar::parse(&text[..at]), None, "{at} bytes");
        }
    }
}
