//! Swaps that a crash, a panic or a failed rename has cut short. After a crash, what is done about a file is decided by its suffix:
//!
//! | found | means | done |
//! |---|---|---|
//! | `.cleaned` | the new segment may not be whole | removed, and with it every `.swap` from its base offset on |
//! | `.log.swap` | it was whole and durable, the old ones may still be there | those that it covers are removed, it gets its name |
//! | the same, damaged | it has decayed since | removed if the old ones are all still there |
//! | another `.swap` | its `.log` has its name already | removed: indexes are built anew |

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::error::CleanError;
use crate::fs::{DirEntry, FileSystem, OpenMode};
use crate::log::Log;
use crate::segment::{
    Piece, SegmentFile, Sidecar, Stretch, Suffix, Surroundings, Walk, path_of, path_with,
};

/// Ends or undoes the swaps in a partition's directory, which has these entries. True when names were changed.
pub(crate) fn finish_swaps(
    fs: &dyn FileSystem,
    dir: &Path,
    entries: &[DirEntry],
) -> io::Result<bool> {
    let suffixed = |suffix| suffixed(entries, suffix);
    let mut is_changed = false;
    let mut whole = whole_swaps(entries);
    // A crash in here must not leave a `.swap` whose `.cleaned` is gone.
    for (kind, base) in suffixed(Suffix::Swap) {
        if !whole.contains(&base) {
            fs.remove_file(&path_with(dir, base, kind, Suffix::Swap))?;
            is_changed = true;
        }
    }
    for (kind, base) in suffixed(Suffix::Cleaned) {
        fs.remove_file(&path_with(dir, base, kind, Suffix::Cleaned))?;
        is_changed = true;
    }
    for base in whole.clone() {
        let swap = Swap::read(fs, dir, base)?;
        if !swap.is_sound && swap.can_be_undone(fs, dir, entries)? {
            tracing::warn!(dir = %dir.display(), base, "a compacted segment is damaged; those that it was made of stay");
            // Its batches last: as long as they are there, all this is done again.
            let mut files: Vec<_> = suffixed(Suffix::Swap).filter(|one| one.1 == base).collect();
            files.sort_unstable_by_key(|(kind, _)| *kind == SegmentFile::Log);
            for (kind, base) in files {
                fs.remove_file(&path_with(dir, base, kind, Suffix::Swap))?;
            }
            whole.remove(&base);
            is_changed = true;
            continue;
        }
        tracing::info!(dir = %dir.display(), base, "a compacted segment takes its place");
        remove_covered(fs, dir, entries, base, swap.end)?;
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

/// The offsets of segments that a start will replace, as [`finish_swaps`] does: of swaps that were cut short.
pub(crate) fn unfinished_swaps(
    fs: &dyn FileSystem,
    dir: &Path,
    entries: &[DirEntry],
) -> io::Result<Vec<Range<i64>>> {
    let mut found = Vec::new();
    for base in whole_swaps(entries) {
        let swap = Swap::read(fs, dir, base)?;
        if swap.is_sound || !swap.can_be_undone(fs, dir, entries)? {
            found.push(base..swap.end.max(base + 1));
        }
    }
    Ok(found)
}

/// The base offsets of those segments called `.swap` that were whole and durable when they got the name.
fn whole_swaps(entries: &[DirEntry]) -> BTreeSet<i64> {
    let first_cleaned = suffixed(entries, Suffix::Cleaned)
        .map(|(_, base)| base)
        .min();
    suffixed(entries, Suffix::Swap)
        .filter(|(kind, base)| {
            *kind == SegmentFile::Log && first_cleaned.is_none_or(|first| *base < first)
        })
        .map(|(_, base)| base)
        .collect()
}

fn suffixed(entries: &[DirEntry], suffix: Suffix) -> impl Iterator<Item = (SegmentFile, i64)> {
    entries
        .iter()
        .filter_map(move |entry| SegmentFile::parse_with(&entry.name, suffix))
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
///
/// All names are durable then. A process that was killed may have given a segment its own name just before; a power cut
/// that took this back would leave the `.swap` beside a `.cleaned` of the pass that begins now, as if it was not whole.
pub(crate) fn clear_leftovers(log: &Log) -> Result<(), CleanError> {
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
    fs.sync_dir(log.dir())
        .map_err(|error| CleanError::io("syncing", log.dir(), error))
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

/// A compacted segment that is about to take its place.
struct Swap {
    base: i64,
    /// The offset behind its last one: it covers every segment that begins before.
    end: i64,
    /// Nothing in it has changed since it was written.
    is_sound: bool,
}

impl Swap {
    fn read(fs: &dyn FileSystem, dir: &Path, base: i64) -> io::Result<Self> {
        let path = |kind| path_with(dir, base, kind, Suffix::Swap);
        let sidecar = Sidecar::read(fs, &path(SegmentFile::Checksums))?;
        let known_end = sidecar.as_ref().and_then(|sidecar| sidecar.end_offset);
        let file = fs.open(&path(SegmentFile::Log), OpenMode::Read)?;
        let len = file.len()?;
        let mut is_sound = sidecar.as_ref().is_none_or(|one| one.log_bytes == len);
        let around = Surroundings {
            lower: base,
            upper: known_end.unwrap_or(i64::MAX),
            epochs: &[],
        };
        let places: Arc<[Stretch]> = sidecar.map_or_else(Arc::default, |one| one.stretches.into());
        let mut walk = Walk::new(file, 0, len, around, &[]).with_places(&places);
        let mut end = base;
        while let Some(piece) = walk.next()? {
            match piece {
                Piece::Batch(batch) => end = batch.header.next_offset(),
                Piece::Damage(_) => is_sound = false,
            }
        }
        Ok(Self {
            base,
            end: known_end.unwrap_or(end),
            is_sound,
        })
    }

    /// Whether all segments that it was made of still have their names.
    fn can_be_undone(
        &self,
        fs: &dyn FileSystem,
        dir: &Path,
        entries: &[DirEntry],
    ) -> io::Result<bool> {
        let is_leaving = entries.iter().any(|entry| {
            let digits = entry.name.split('.').next().unwrap_or("");
            Suffix::is_deleted(&entry.name)
                && digits.parse().is_ok_and(|found: i64| {
                    (self.base..self.end.max(self.base + 1)).contains(&found)
                })
        });
        Ok(!is_leaving && fs.exists(&path_of(dir, self.base, SegmentFile::Log))?)
    }
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
    fn what_a_start_will_replace_is_known_before() {
        let (log, swap) = ("00000000000000000005.log", "00000000000000000005.log.swap");
        let mut decayed = batch(5, 12);
        decayed[70] ^= 1;
        for (files, expected) in [
            (vec![(log, batch(5, 9)), (swap, batch(5, 12))], Some(5..12)),
            (vec![(swap, batch(5, 12))], Some(5..12)),
            // It is undone as long as it can be.
            (vec![(log, batch(5, 9)), (swap, decayed.clone())], None),
            (vec![(swap, decayed)], Some(5..6)),
            (
                vec![
                    (log, batch(5, 9)),
                    (swap, batch(5, 12)),
                    ("00000000000000000005.index.cleaned", vec![]),
                ],
                None,
            ),
            (vec![(log, batch(5, 9))], None),
        ] {
            let fs = directory(&files);
            let entries = fs.read_dir(Path::new(DIR)).unwrap();
            let found = unfinished_swaps(&fs, Path::new(DIR), &entries).unwrap();
            assert_eq!(found, Vec::from_iter(expected.clone()), "{:?}", names(&fs));
            let before = fs.read(&Path::new(DIR).join(log), 1 << 20).ok();
            finish(&fs);
            let after = fs.read(&Path::new(DIR).join(log), 1 << 20).ok();
            assert_eq!(before != after, expected.is_some());
        }
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
