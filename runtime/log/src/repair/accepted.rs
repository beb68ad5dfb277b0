//! Losses that somebody has accepted, noted beside the log for as long as it has the offsets.
//!
//! ```text
//! 1                        version
//! loss 17 42 1700000000000 00000000000000000000.log 1234 the batch has …
//!                          offsets from and to below, when it was accepted (ms), file, position, reason
//! sum 5e1f0a77             CRC-32C of the lines above
//! ```

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::{CheckpointError, write_atomically};
use crate::fs::FileSystem;

/// The file's name in the partition's directory.
pub(crate) const ACCEPTED_LOSSES: &str = "accepted-losses";
const VERSION: &str = "1";
const FILE_BYTES_MAX: u64 = 16 << 20;
const MALFORMED: &str =
    "its checksum is not that of its text, and nothing else says which losses were accepted";

/// Offsets whose records were damaged, and are given up: the log has empty batches in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedLoss {
    pub offsets: Range<i64>,
    /// When it was accepted, ms since 1970.
    pub accepted_ms: i64,
    /// The file that was damaged, by its name in the partition's directory.
    pub file: String,
    /// Where in the file.
    pub position: u64,
    pub reason: String,
}

impl std::fmt::Display for AcceptedLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, last) = (self.offsets.start, self.offsets.end - 1);
        write!(
            f,
            "offsets {first} to {last} are lost, {} was damaged at position {}: {}",
            self.file, self.position, self.reason
        )
    }
}

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AcceptedLosses(Vec<AcceptedLoss>);

impl AcceptedLosses {
    /// Empty when there is no file.
    pub(crate) fn read(fs: &dyn FileSystem, dir: &Path) -> Result<Self, CheckpointError> {
        let path = dir.join(ACCEPTED_LOSSES);
        let malformed = || CheckpointError::Malformed {
            path: path.clone(),
            line: 1,
            reason: MALFORMED.to_owned(),
        };
        match fs.read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => Self::parse(&bytes).ok_or_else(malformed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(malformed()),
            Err(source) => Err(CheckpointError::Io {
                action: "reading",
                path,
                source: Arc::new(source),
            }),
        }
    }

    /// Replaces the file, durably; one without losses goes.
    pub(crate) fn write(&self, fs: &dyn FileSystem, dir: &Path) -> Result<(), CheckpointError> {
        let path = dir.join(ACCEPTED_LOSSES);
        if !self.0.is_empty() {
            return write_atomically(fs, &path, self.text().as_bytes());
        }
        let removed = match fs.remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.and_then(|()| fs.sync_dir(dir)),
        };
        removed.map_err(|source| CheckpointError::Io {
            action: "removing",
            path,
            source: Arc::new(source),
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &AcceptedLoss> {
        self.0.iter()
    }

    /// With these. What they contain is told by them alone.
    #[must_use]
    pub(crate) fn with(&self, more: &[AcceptedLoss]) -> Self {
        let contains = |outer: &AcceptedLoss, inner: &AcceptedLoss| {
            outer.offsets.start <= inner.offsets.start && inner.offsets.end <= outer.offsets.end
        };
        let mut losses = self.0.clone();
        losses.retain(|one| !more.iter().any(|new| contains(new, one)));
        losses.extend_from_slice(more);
        losses.sort_unstable_by_key(|one| (one.offsets.start, one.offsets.end));
        Self(losses)
    }

    /// Of a log that ends here now: others get the offsets behind.
    #[must_use]
    pub(crate) fn below(&self, end: i64) -> Self {
        let mut losses = self.0.clone();
        losses.retain(|one| one.offsets.start < end);
        for one in &mut losses {
            one.offsets.end = one.offsets.end.min(end);
        }
        Self(losses)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut found = Self::default();
        for line in text.lines().skip(1) {
            let Some(rest) = line.strip_prefix("loss ") else {
                break;
            };
            let mut words = rest.splitn(6, ' ');
            found.0.push(AcceptedLoss {
                offsets: words.next()?.parse().ok()?..words.next()?.parse().ok()?,
                accepted_ms: words.next()?.parse().ok()?,
                file: words.next()?.to_owned(),
                position: words.next()?.parse().ok()?,
                reason: words.next()?.to_owned(),
            });
        }
        // What the lines above do not look at, this does.
        (found.text() == text).then_some(found)
    }

    fn text(&self) -> String {
        use std::fmt::Write;
        const TAKEN: &str = "a String takes every write";
        let mut text = format!("{VERSION}\n");
        for loss in &self.0 {
            let Range { start, end } = loss.offsets;
            let reason = loss.reason.replace(['\n', '\r'], " ");
            writeln!(
                text,
                "loss {start} {end} {} {} {} {reason}",
                loss.accepted_ms, loss.file, loss.position
            )
            .expect(TAKEN);
        }
        let crc = crc32c::crc32c(text.as_bytes());
        writeln!(text, "sum {crc:08x}").expect(TAKEN);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SimFs;

    fn loss(offsets: Range<i64>) -> AcceptedLoss {
        AcceptedLoss {
            offsets,
            accepted_ms: 1_700_000_000_000,
            file: "00000000000000000000.log".to_owned(),
            position: 1234,
            reason: "the CRC is wrong".to_owned(),
        }
    }

    #[test]
    fn losses_come_back_and_changed_ones_do_not() {
        let losses = AcceptedLosses(vec![loss(17..42), loss(50..51)]);
        let text = losses.text().into_bytes();
        assert_eq!(AcceptedLosses::parse(&text), Some(losses));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(
                    AcceptedLosses::parse(&changed),
                    None,
                    "byte {at}, bit {bit}"
                );
            }
            assert_eq!(AcceptedLosses::parse(&text[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn a_file_without_losses_goes() {
        let fs = SimFs::new(1);
        let dir = Path::new("/data");
        fs.create_dir_all(dir).unwrap();
        let losses = AcceptedLosses::default().with(&[loss(3..4)]);
        losses.write(&fs, dir).unwrap();
        assert_eq!(AcceptedLosses::read(&fs, dir).unwrap(), losses);
        losses.below(3).write(&fs, dir).unwrap();
        assert!(!fs.exists(&dir.join(ACCEPTED_LOSSES)).unwrap());
        AcceptedLosses::default().write(&fs, dir).unwrap();
        assert_eq!(
            AcceptedLosses::read(&fs, dir).unwrap(),
            AcceptedLosses::default()
        );
    }

    #[test]
    fn what_is_told_again_is_told_once_and_what_is_cut_off_is_forgotten() {
        let losses = AcceptedLosses::default().with(&[loss(50..51), loss(17..42)]);
        let again = losses.with(&[loss(17..42), loss(49..51)]);
        let offsets = |losses: &AcceptedLosses| -> Vec<_> {
            losses.iter().map(|one| one.offsets.clone()).collect()
        };
        assert_eq!(offsets(&again), [17..42, 49..51]);
        assert_eq!(offsets(&again.below(50)), [17..42, 49..50]);
        assert_eq!(offsets(&again.below(17)), []);
    }
}
