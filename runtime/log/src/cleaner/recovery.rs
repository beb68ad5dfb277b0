//! Swaps that a crash, a panic or a failed rename has cut short. After a crash, what is done about a file is decided by its suffix:
//!
//! | found | means | done |
//! |---|---|---|
//! | `.cleaned` | the new segment may not be whole | removed, and with it every `.swap` from its base offset on |
//! | `.log.swap` | it is whole and durable, the old ones may still be there | those that it covers are removed, it gets its name |
//! | another `.swap` | its `.log` has its name already | removed: indexes are built anew |

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use millstream_records::{BatchHeader, HEADER_LEN};

use super::error::CleanError;
use crate::fs::{DirEntry, FileSystem, OpenMode};
use crate::log::Log;
use crate::segment::{SegmentFile, Suffix, path_of, path_with};

/// Ends or undoes the swaps in a partition's directory, which has these entries. True when names were changed.
pub(crate) fn finish_swaps(
    fs: &dyn FileSystem,
    dir: &Path,
    entries: &[DirEntry],
) -> io::Result<bool> {
    let suffixed = |suffix: Suffix| {
        entries
            .iter()
            .filter_map(move |entry| SegmentFile::parse_with(&entry.name, suffix))
    };
    let first_cleaned = suffixed(Suffix::Cleaned).map(|(_, base)| base).min();
    let mut is_changed = false;
    let mut whole = BTreeSet::new();
    let has_log: BTreeSet<i64> = suffixed(Suffix::Swap)
        .filter_map(|(kind, base)| (kind == SegmentFile::Log).then_some(base))
        .collect();
    // A crash in here must not leave a `.swap` whose `.cleaned` is gone.
    for (kind, base) in suffixed(Suffix::Swap) {
        let is_whole = first_cleaned.is_none_or(|first| base < first) && has_log.contains(&base);
        if is_whole {
            whole.insert(base);
        } else {
            fs.remove_file(&path_with(dir, base, kind, Suffix::Swap))?;
            is_changed = true;
        }
    }
    for (kind, base) in suffixed(Suffix::Cleaned) {
        fs.remove_file(&path_with(dir, base, kind, Suffix::Cleaned))?;
        is_changed = true;
    }
    for base in &whole {
        tracing::info!(dir = %dir.display(), base, "a compacted segment takes its place");
        let end = end_of(fs, &path_with(dir, *base, SegmentFile::Log, Suffix::Swap))?;
        remove_covered(fs, dir, entries, *base, end)?;
    }
    if is_changed || !whole.is_empty() {
        fs.sync_dir(dir)?;
    }
    for base in &whole {
        // The batches last: while they have the suffix, all this is done again.
        let mut found: Vec<_> = suffixed(Suffix::Swap)
            .filter(|one| one.1 == *base)
            .collect();
        found.sort_unstable_by_key(|(kind, _)| *kind == SegmentFile::Log);
        for (kind, base) in found {
            let from = path_with(dir, base, kind, Suffix::Swap);
            fs.rename(&from, &path_of(dir, base, kind))?;
        }
        fs.sync_dir(dir)?;
        is_changed = true;
    }
    Ok(is_changed)
}

/// Ends a swap that could not rename all its files.
pub(super) fn finish_swap(log: &Log) -> Result<(), CleanError> {
    match log.finish_replacing() {
        Ok(_) => Ok(()),
        Err(source) => Err(CleanError::UnfinishedSwap {
            path: log.dir().to_owned(),
            source,
        }),
    }
}

/// Makes a log's directory ready for a pass: ends a swap that could not rename all its files, and removes what a pass
/// has left that ended in a panic, or could not remove it. Only the pass that calls this writes such files.
pub(super) fn clear_leftovers(log: &Log) -> Result<(), CleanError> {
    finish_swap(log)?;
    let fs = &**log.open_files().fs();
    let entries = fs
        .read_dir(log.dir())
        .map_err(|error| CleanError::io("listing", log.dir(), error))?;
    // A `.swap` whose `.cleaned` is gone would be taken for whole, so it goes first.
    for suffix in [Suffix::Swap, Suffix::Cleaned] {
        for entry in &entries {
            if SegmentFile::parse_with(&entry.name, suffix).is_some() {
                let path = log.dir().join(&entry.name);
                fs.remove_file(&path)
                    .map_err(|error| CleanError::io("removing", &path, error))?;
            }
        }
    }
    Ok(())
}

/// Removes the files of the segments that a compacted one replaces. The snapshot at its own base offset stays.
fn remove_covered(
    fs: &dyn FileSystem,
    dir: &Path,
    entries: &[DirEntry],
    base: i64,
    end: i64,
) -> io::Result<()> {
    for (kind, found) in entries
        .iter()
        .filter_map(|entry| SegmentFile::parse(&entry.name))
    {
        let is_own_snapshot = found == base && kind == SegmentFile::ProducerSnapshot;
        if (base..end.max(base + 1)).contains(&found) && !is_own_snapshot {
            fs.remove_file(&path_of(dir, found, kind))?;
        }
    }
    Ok(())
}

/// The offset behind the last batch of a file; its base offset's place does not matter when it has none.
fn end_of(fs: &dyn FileSystem, path: &Path) -> io::Result<i64> {
    let file = fs.open(path, OpenMode::Read)?;
    let len = file.len()?;
    let mut position = 0;
    let mut end = i64::MIN;
    let mut bytes = [0; HEADER_LEN];
    while position + HEADER_LEN as u64 <= len {
        file.read_exact_at(&mut bytes, position)?;
        let Ok(header) = BatchHeader::parse(&bytes) else {
            break;
        };
        end = header.next_offset();
        position += header.size_in_bytes() as u64;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use millstream_records::{BatchBuilder, BatchOptions};

    use super::*;
    use crate::testing::SimFs;

    const DIR: &str = "/data/flights-0";

    /// A file of one batch with the offsets `base..end`.
    fn batch(base: i64, end: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: base,
            ..BatchOptions::default()
        });
        for _ in base..end {
            builder.append(7, Some(b"key"), Some(b"value"), []).unwrap();
        }
        builder.build().unwrap()
    }

    fn directory(files: &[(&str, Vec<u8>)]) -> SimFs {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new(DIR)).unwrap();
        for (name, bytes) in files {
            let file = fs.open(&Path::new(DIR).join(name), OpenMode::CreateNew);
            file.unwrap().write_at(bytes, 0).unwrap();
        }
        fs
    }

    fn names(fs: &SimFs) -> Vec<String> {
        let entries = fs.read_dir(Path::new(DIR)).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    fn finish(fs: &SimFs) -> bool {
        let entries = fs.read_dir(Path::new(DIR)).unwrap();
        finish_swaps(fs, Path::new(DIR), &entries).unwrap()
    }

    #[test]
    fn a_segment_that_may_not_be_whole_is_removed() {
        let fs = directory(&[
            ("00000000000000000000.log", batch(0, 5)),
            ("00000000000000000000.log.swap", batch(0, 5)),
            ("00000000000000000000.index.cleaned", vec![]),
            ("00000000000000000005.log.cleaned", vec![1]),
            ("00000000000000000005.log", batch(5, 9)),
        ]);
        assert!(finish(&fs));
        let left = ["00000000000000000000.log", "00000000000000000005.log"];
        assert_eq!(names(&fs), left);
        assert!(!finish(&fs));
    }

    #[test]
    fn a_whole_segment_takes_the_place_of_those_that_it_covers() {
        let fs = directory(&[
            ("00000000000000000000.log", batch(0, 5)),
            ("00000000000000000000.index", vec![1]),
            ("00000000000000000005.log", batch(5, 9)),
            ("00000000000000000005.index", vec![2]),
            ("00000000000000000005.snapshot", vec![3]),
            ("00000000000000000005.log.swap", batch(5, 12)),
            ("00000000000000000005.checksums.swap", vec![4]),
            ("00000000000000000009.log", batch(9, 12)),
            ("00000000000000000009.snapshot", vec![]),
            ("00000000000000000012.log", batch(12, 13)),
        ]);
        assert!(finish(&fs));
        let left = [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000005.checksums",
            "00000000000000000005.log",
            "00000000000000000005.snapshot",
            "00000000000000000012.log",
        ];
        assert_eq!(names(&fs), left);
        let log = PathBuf::from(DIR).join("00000000000000000005.log");
        assert_eq!(fs.read(&log, 1 << 20).unwrap(), batch(5, 12));
    }

    #[test]
    fn indexes_that_were_left_behind_are_removed() {
        let fs = directory(&[
            ("00000000000000000000.log", batch(0, 5)),
            ("00000000000000000000.index.swap", vec![1]),
        ]);
        assert!(finish(&fs));
        assert_eq!(names(&fs), ["00000000000000000000.log"]);
    }

    #[test]
    fn other_names_are_left_alone() {
        let fs = directory(&[
            ("00000000000000000000.log", batch(0, 5)),
            ("notes.swap", vec![]),
            ("5.log.cleaned", vec![]),
            ("00000000000000000005.log.deleted", vec![]),
        ]);
        let before = names(&fs);
        assert!(!finish(&fs));
        assert_eq!(names(&fs), before);
    }
}
