//! Kafka's file names within a partition's directory.

use std::path::{Path, PathBuf};

/// Digits of a base offset in a file name.
const DIGITS: usize = 20;

/// What stands behind the names of a segment's files while the segment comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suffix {
    /// Nothing: the segment belongs to its log.
    None,
    /// `.cleaned`: it comes of compaction and is not whole yet.
    Cleaned,
    /// `.swap`: it is whole, and about to take the place of those that it was made of.
    Swap,
    /// `.deleted`: it has left its log and its files are removed later. The number tells segments apart that had the
    /// same name one after the other; 0 is not written.
    Deleted(u32),
}

/// End the names of files whose segment is not in its log yet.
const CLEANED: &str = ".cleaned";
const SWAP: &str = ".swap";
/// Ends the name of a file whose segment has left its log.
const DELETED: &str = ".deleted";

impl Suffix {
    /// Whether a file name says that its segment has left the log.
    pub(crate) fn is_deleted(name: &str) -> bool {
        name.strip_suffix(DELETED)
            .is_some_and(|name| name.contains('.'))
    }
}

impl std::fmt::Display for Suffix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Cleaned => f.write_str(CLEANED),
            Self::Swap => f.write_str(SWAP),
            Self::Deleted(0) => f.write_str(DELETED),
            Self::Deleted(number) => write!(f, ".{number}{DELETED}"),
        }
    }
}

/// The kinds of files that are named after an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentFile {
    Log,
    OffsetIndex,
    TimeIndex,
    AbortedIndex,
    ProducerSnapshot,
    /// Ours: checksums of the three indexes.
    Checksums,
}

impl SegmentFile {
    /// The files of a segment, the batches first: without them the others are nothing. A snapshot at its base offset
    /// describes what lies before it, but goes with it too.
    pub(crate) const ALL: [Self; 6] = [
        Self::Log,
        Self::OffsetIndex,
        Self::TimeIndex,
        Self::AbortedIndex,
        Self::ProducerSnapshot,
        Self::Checksums,
    ];

    /// Those that are nothing without the batches.
    pub(crate) const OF_INDEXES: [Self; 4] = [
        Self::OffsetIndex,
        Self::TimeIndex,
        Self::AbortedIndex,
        Self::Checksums,
    ];

    fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::OffsetIndex => "index",
            Self::TimeIndex => "timeindex",
            Self::AbortedIndex => "txnindex",
            Self::ProducerSnapshot => "snapshot",
            Self::Checksums => "checksums",
        }
    }

    /// The kind and the offset that a file name stands for.
    pub(crate) fn parse(name: &str) -> Option<(Self, i64)> {
        let (digits, extension) = name.split_once('.')?;
        if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let kind = Self::ALL
            .into_iter()
            .find(|kind| kind.extension() == extension)?;
        Some((kind, digits.parse().ok()?))
    }
}

impl SegmentFile {
    /// As [`SegmentFile::parse`] for the names of segments that come or go.
    pub(crate) fn parse_with(name: &str, suffix: Suffix) -> Option<(Self, i64)> {
        Self::parse(name.strip_suffix(suffix.to_string().as_str())?)
    }
}

/// The path of a file of the segment at `base_offset`.
pub(crate) fn path_of(dir: &Path, base_offset: i64, kind: SegmentFile) -> PathBuf {
    path_with(dir, base_offset, kind, Suffix::None)
}

/// The same while the segment comes or goes.
pub(crate) fn path_with(
    dir: &Path,
    base_offset: i64,
    kind: SegmentFile,
    suffix: Suffix,
) -> PathBuf {
    dir.join(format!(
        "{base_offset:0DIGITS$}.{}{suffix}",
        kind.extension()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_twenty_digits_and_come_back() {
        for kind in SegmentFile::ALL {
            let path = path_of(Path::new("d"), 42, kind);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with("00000000000000000042."));
            assert_eq!(SegmentFile::parse(name), Some((kind, 42)));
            assert!(!Suffix::is_deleted(name));
            for (number, end) in [(0, ".deleted"), (2, ".2.deleted")] {
                let gone = path_with(Path::new("d"), 42, kind, Suffix::Deleted(number));
                let gone = gone.file_name().unwrap().to_str().unwrap();
                assert_eq!(gone.strip_prefix(name), Some(end));
                assert!(Suffix::is_deleted(gone));
                assert_eq!(SegmentFile::parse(gone), None);
            }
            for suffix in [Suffix::Cleaned, Suffix::Swap] {
                let coming = path_with(Path::new("d"), 42, kind, suffix);
                let coming = coming.file_name().unwrap().to_str().unwrap();
                assert_eq!(SegmentFile::parse_with(coming, suffix), Some((kind, 42)));
                assert_eq!(SegmentFile::parse_with(name, suffix), None);
                assert_eq!(SegmentFile::parse(coming), None);
                assert!(!Suffix::is_deleted(coming));
            }
        }
        for foreign in [
            "42.log",
            "0000000000000000004x.log",
            "00000000000000000042.log.deleted",
            "99999999999999999999.log",
        ] {
            assert_eq!(SegmentFile::parse(foreign), None, "{foreign}");
        }
    }
}
