//! The sidecar of a rolled segment: Kafka's formats carry no checksum of an index, no length of a segment, and none of
//! the places of its batches, so they are written beside them.
//!
//! ```text
//! 2                        version
//! log 81920                bytes of the segment
//! index 4096 1a2b3c4d      kind, bytes, CRC-32C in hexadecimal
//! timeindex 24 00c0ffee
//! txnindex 0 00000000      no file
//! end 5120                 the offset that follows the segment's last one, -1 when it is not known
//! places 1 9f00aa11        stretches of batches, CRC-32C of what follows the last line
//! sum 5e1f0a77             CRC-32C of the lines above
//! ................         of each stretch u32 position, u32 bytes, u32 CRC-32C (see `places.rs`), big-endian
//! ```
//!
//! Version 1 had neither `end` nor `places`, and no stretches. It is read still.

use std::io;
use std::path::Path;

use super::Segment;
use super::names::SegmentFile;
use super::places::{Places, Stretch};
use crate::fs::{FileSystem, OpenMode};
use crate::index::Checksum;

const KINDS: [&str; 3] = ["index", "timeindex", "txnindex"];
/// Lines of the versions 1 and 2.
const LINES: [usize; 2] = [6, 8];
const SUM_LINE_BYTES: usize = "sum 01234567\n".len();
/// Some 85,000 stretches.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a sidecar says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sidecar {
    /// Bytes of the segment's batches.
    pub(crate) log_bytes: u64,
    /// Of offset, time and aborted index.
    pub(crate) indexes: [Checksum; 3],
    /// The offset that follows the segment's last one, if it is known.
    pub(crate) end_offset: Option<i64>,
    /// By rising positions; they do not overlap, and need not cover all batches.
    pub(crate) stretches: Vec<Stretch>,
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

    /// The offset that follows the segment's last one, if its file has `len` bytes as it had then.
    pub(crate) fn end_at(&self, len: u64) -> Option<i64> {
        self.end_offset.filter(|_| self.log_bytes == len)
    }

    /// Whether every byte of the segment is in a stretch.
    pub(crate) fn covers_all(&self) -> bool {
        let mut to = 0;
        for stretch in &self.stretches {
            if stretch.begin() != to {
                return false;
            }
            to = stretch.end();
        }
        to == self.log_bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let lines = match bytes.first_chunk()? {
            b"1\n" => LINES[0],
            b"2\n" => LINES[1],
            _ => return None,
        };
        let line_ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let (last, _) = line_ends.take(lines).nth(lines - 1)?;
        let (text, entries) = bytes.split_at(last + 1);
        let (text, sum) = std::str::from_utf8(text)
            .ok()?
            .split_at_checked(last.checked_sub(SUM_LINE_BYTES - 1)?)?;
        if sum != sum_line(text) || (lines == LINES[0] && !entries.is_empty()) {
            return None;
        }
        // Under its own checksum the text is as it was written; no byte of it is believed blindly all the same.
        let mut lines = text.lines().skip(1);
        let mut numbers = |name| -> Option<Vec<&str>> {
            let mut words = lines.next()?.split(' ');
            (words.next()? == name).then(|| words.collect())
        };
        let log_bytes = numbers("log")?.first()?.parse().ok()?;
        let mut indexes = [Checksum::UNKNOWN; 3];
        for (kind, sum) in KINDS.iter().zip(&mut indexes) {
            *sum = checksum(&numbers(kind)?)?;
        }
        let (mut end_offset, mut stretches) = (None, Vec::new());
        if let Some(end) = numbers("end") {
            end_offset = Some(end.first()?.parse().ok()?).filter(|end| *end >= 0);
            let expected = checksum(&numbers("places")?)?;
            let count = u64::try_from(entries.len() / Stretch::BYTES).ok()?;
            let is_sound = expected.bytes == count
                && entries.len() % Stretch::BYTES == 0
                && expected.crc == crc32c::crc32c(entries);
            if !is_sound {
                return None;
            }
            stretches = entries
                .chunks_exact(Stretch::BYTES)
                .map(Stretch::decode)
                .collect();
        }
        let rises = stretches
            .windows(2)
            .all(|pair| pair[0].end() <= pair[1].begin());
        rises.then_some(Self {
            log_bytes,
            indexes,
            end_offset,
            stretches,
        })
    }

    fn encode(&self) -> Vec<u8> {
        use std::fmt::Write;
        let mut entries = Vec::with_capacity(self.stretches.len() * Stretch::BYTES);
        self.stretches
            .iter()
            .for_each(|stretch| stretch.encode(&mut entries));
        let mut text = format!("2\nlog {}\n", self.log_bytes);
        let mut line = |name: &str, count: u64, crc: u32| {
            writeln!(text, "{name} {count} {crc:08x}").expect("a String takes every write");
        };
        for (kind, sum) in KINDS.iter().zip(&self.indexes) {
            line(kind, sum.bytes, sum.crc);
        }
        let (end, crc) = (self.end_offset.unwrap_or(-1), crc32c::crc32c(&entries));
        writeln!(text, "end {end}").expect("a String takes every write");
        writeln!(text, "places {} {crc:08x}", self.stretches.len())
            .expect("a String takes every write");
        let sum = sum_line(&text);
        let mut bytes = (text + &sum).into_bytes();
        bytes.append(&mut entries);
        bytes
    }
}

fn sum_line(text: &str) -> String {
    format!("sum {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

/// A count and a CRC-32C in hexadecimal.
fn checksum(words: &[&str]) -> Option<Checksum> {
    let &[bytes, crc] = words else {
        return None;
    };
    Some(Checksum {
        bytes: bytes.parse().ok()?,
        crc: u32::from_str_radix(crc, 16).ok()?,
    })
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
        self.write_sidecar(fs, log_bytes, None)
    }

    /// Writes the sidecar for the indexes as they are in their files now, with the stretches that are known, which are
    /// forgotten then.
    pub(super) fn write_sidecar(
        &self,
        fs: &dyn FileSystem,
        log_bytes: u64,
        end_offset: Option<i64>,
    ) -> io::Result<()> {
        let indexes = self.index_checksums()?;
        let stretches = self.indexes.write().places.stretches().to_vec();
        self.put_sidecar(
            fs,
            &Sidecar {
                log_bytes,
                indexes,
                end_offset,
                stretches,
            },
        )?;
        self.indexes.write().places = Places::default();
        Ok(())
    }

    /// Lets the sidecar say more of the batches' places than it does, and makes that durable.
    pub(crate) fn add_places(
        &self,
        fs: &dyn FileSystem,
        sidecar: Sidecar,
        stretches: &[Stretch],
    ) -> io::Result<()> {
        let sidecar = Sidecar {
            stretches: stretches.to_vec(),
            ..sidecar
        };
        self.put_sidecar(fs, &sidecar)?;
        self.sync_sidecar(fs)
    }

    fn put_sidecar(&self, fs: &dyn FileSystem, sidecar: &Sidecar) -> io::Result<()> {
        let bytes = sidecar.encode();
        let path = self.file_path(SegmentFile::Checksums);
        let file = fs.open(&path, OpenMode::Create)?;
        file.set_len(bytes.len() as u64)?;
        file.write_at(&bytes, 0)
    }

    /// Before the segment is read through and its sidecar written anew: what the sidecar says of the batches' places
    /// stays as it is.
    pub(crate) fn recall_places(&self, sidecar: &Sidecar) {
        self.indexes.write().places = Places::recalled(&sidecar.stretches);
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

    fn sidecar() -> Sidecar {
        let sum = |bytes, crc| Checksum { bytes, crc };
        let stretch = |position, bytes, crc| Stretch {
            position,
            bytes,
            crc,
        };
        Sidecar {
            log_bytes: 81_920,
            indexes: [sum(4096, 0x1a2b_3c4d), sum(24, 0xc0_ffee), sum(0, 0)],
            end_offset: Some(5120),
            stretches: vec![stretch(0, 1920, 0x0a0a_0a0a), stretch(1920, 80_000, 0)],
        }
    }

    #[test]
    fn a_sidecar_comes_back_and_a_changed_one_does_not() {
        let sidecar = sidecar();
        let bytes = sidecar.encode();
        assert_eq!(Sidecar::parse(&bytes), Some(sidecar));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(Sidecar::parse(&changed), None, "byte {at}, bit {bit}");
            }
            assert_eq!(Sidecar::parse(&bytes[..at]), None, "{at} bytes");
        }
        let longer = [&bytes[..], &[0; Stretch::BYTES]].concat();
        assert_eq!(Sidecar::parse(&longer), None);
    }

    #[test]
    fn one_of_the_first_version_is_read_still() {
        let text =
            "1\nlog 81920\nindex 4096 1a2b3c4d\ntimeindex 24 00c0ffee\ntxnindex 0 00000000\n";
        let text = text.to_owned() + &sum_line(text);
        let expected = Sidecar {
            end_offset: None,
            stretches: Vec::new(),
            ..sidecar()
        };
        assert_eq!(Sidecar::parse(text.as_bytes()), Some(expected));
        assert_eq!(Sidecar::parse((text + " ").as_bytes()), None);
    }

    #[test]
    fn it_is_told_whether_every_batch_is_in_a_stretch() {
        let full = sidecar();
        assert!(full.covers_all());
        let without = |index| {
            let mut less = full.clone();
            less.stretches.remove(index);
            less
        };
        assert!(!without(0).covers_all() && !without(1).covers_all());
        let unknown = Sidecar {
            end_offset: None,
            ..full
        };
        assert_eq!(Sidecar::parse(&unknown.encode()), Some(unknown));
    }
}
