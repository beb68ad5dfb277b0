//! A segment: one `.log` file of batches back to back, with its indexes.

mod checksums;
mod damage;
mod departure;
mod indexes;
mod names;
mod open_files;
mod places;
mod rolling;
mod room;
mod scan;
mod surplus;
mod walk;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::fs::FileSystem;
use crate::index::EntryFile;
use indexes::Indexes;

pub(crate) use checksums::Sidecar;
pub(crate) use indexes::{IndexLimits, IndexSums, IndexedBatch};
pub(crate) use names::{SegmentFile, Suffix, path_of, path_with};
pub(crate) use open_files::{CachedFile, OpenFiles};
pub(crate) use places::{KnownPlaces, Look, Places, PlacesCache, Stretch};
pub(crate) use rolling::Incoming;
pub(crate) use scan::{BatchScan, ScanError, ScannedBatch};
pub(crate) use surplus::own_bytes;
pub(crate) use walk::{Anchor, Contradiction, Piece, Region, Surroundings, Walk};

/// Sizes of a segment's files when they were listed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SegmentSizes {
    pub(crate) log: u64,
    pub(crate) offset_index: u64,
    pub(crate) time_index: u64,
    pub(crate) aborted_index: u64,
    /// Whether there is a file with checksums.
    pub(crate) has_sidecar: bool,
}

/// One segment. Appends come under the log's append lock; reads need no lock of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    /// No other segment of this process has it, also none that takes the place of this one.
    id: u64,
    base_offset: i64,
    dir: PathBuf,
    /// What stands behind the names of its files.
    suffix: Mutex<Suffix>,
    log: CachedFile,
    /// Bytes of whole batches that belong to the log; the file may be longer after a failed write.
    size: AtomicU64,
    /// See `rolling.rs`.
    begun_ms: AtomicI64,
    /// See `room.rs`.
    has_room: AtomicBool,
    is_sealed: AtomicBool,
    /// The last entry of the time index was made of all batches that the file had when the indexes were opened.
    has_whole_indexes: AtomicBool,
    /// Written since it was last synced.
    unsynced: AtomicBool,
    /// See `checksums.rs`.
    trusted: AtomicBool,
    /// What the indexes must begin with to be trusted, where a checkpoint says that.
    expected: Mutex<Option<IndexSums>>,
    damage: damage::DamageList,
    indexes: RwLock<Indexes>,
}

impl Segment {
    /// A segment that begins at `base_offset`, with files of these sizes (zero for one that does not exist: files
    /// are made when they are first written).
    pub(crate) fn open(
        files: &Arc<OpenFiles>,
        dir: &Path,
        base_offset: i64,
        sizes: SegmentSizes,
    ) -> Self {
        Self::open_with(files, dir, base_offset, sizes, Suffix::None)
    }

    /// A segment that is to be written under names with this suffix.
    pub(crate) fn open_as(
        files: &Arc<OpenFiles>,
        dir: &Path,
        base_offset: i64,
        suffix: Suffix,
    ) -> Self {
        Self::open_with(files, dir, base_offset, SegmentSizes::default(), suffix)
    }

    fn open_with(
        files: &Arc<OpenFiles>,
        dir: &Path,
        base_offset: i64,
        sizes: SegmentSizes,
        suffix: Suffix,
    ) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let file = |kind| files.file(path_with(dir, base_offset, kind, suffix));
        // An empty file that has a sidecar may have lost what it held.
        let is_empty = sizes.log == 0 && !sizes.has_sidecar;
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            base_offset,
            dir: dir.to_owned(),
            suffix: Mutex::new(suffix),
            log: file(SegmentFile::Log),
            size: AtomicU64::new(sizes.log),
            begun_ms: AtomicI64::new(rolling::NOT_BEGUN),
            has_room: AtomicBool::new(false),
            is_sealed: AtomicBool::new(false),
            has_whole_indexes: AtomicBool::new(false),
            unsynced: AtomicBool::new(false),
            trusted: AtomicBool::new(is_empty),
            expected: Mutex::new(None),
            damage: damage::DamageList::default(),
            indexes: RwLock::new(Indexes::new(
                EntryFile::new(file(SegmentFile::OffsetIndex), sizes.offset_index),
                EntryFile::new(file(SegmentFile::TimeIndex), sizes.time_index),
                EntryFile::new(file(SegmentFile::AbortedIndex), sizes.aborted_index),
                is_empty,
            )),
        }
    }

    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.log.path()
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// True once for every time that the segment goes from synced to written.
    pub(crate) fn mark_unsynced(&self) -> bool {
        !self.unsynced.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn mark_synced(&self) {
        self.unsynced.store(false, Ordering::Relaxed);
    }

    /// Writes behind the last batch. What is written belongs to the log only after [`Segment::publish`].
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.log.get_or_create()?.write_at(bytes, self.size())
    }

    /// Writes batches that are published already.
    pub(crate) fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.log.get_or_create()?.write_at(bytes, position)
    }

    /// Cuts off what a failed append left behind the last batch.
    pub(crate) fn trim(&self) -> io::Result<()> {
        let file = self.log.get_or_create()?;
        if file.len()? > self.size() {
            file.set_len(self.size())?;
        }
        self.has_room.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn relative(&self, offset: i64) -> Option<i32> {
        i32::try_from(offset.checked_sub(self.base_offset)?).ok()
    }

    /// The base offset is a file's name, and the other number may be anything.
    fn absolute(&self, relative_offset: i32) -> i64 {
        self.base_offset.saturating_add(i64::from(relative_offset))
    }

    /// Ends the segment: the time index gets its last entry, and no index changes any more. `end_offset` is the offset
    /// that follows its last one, if that is known.
    pub(crate) fn seal(&self, fs: &dyn FileSystem, end_offset: Option<i64>) -> io::Result<()> {
        self.is_sealed.store(true, Ordering::Relaxed);
        self.give_room_back()?;
        self.finish_indexes()?;
        self.write_sidecar(fs, self.size(), end_offset)
    }

    /// Makes batches and indexes durable.
    pub(crate) fn sync(&self, fs: &dyn FileSystem) -> io::Result<()> {
        // A file without a batch may have lost one to a refused append.
        if let Some(file) = self.file_if_any()? {
            file.sync_data()?;
        }
        self.sync_sidecar(fs)?;
        // Appends need the indexes' lock.
        let files = {
            let indexes = self.indexes.read();
            [
                indexes.offset.to_sync()?,
                indexes.time.to_sync()?,
                indexes.aborted.to_sync()?,
            ]
        };
        files
            .into_iter()
            .flatten()
            .try_for_each(|file| file.sync_data())
    }

    /// Reads exactly `buffer` at `position`.
    pub(crate) fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.log.get()?.read_exact_at(buffer, position)
    }

    /// Walks the segment over damage, knowing nothing but its base offset.
    fn walk(&self, from: u64, end: u64) -> io::Result<Walk<'static>> {
        let around = Surroundings {
            lower: self.base_offset,
            upper: i64::MAX,
            epochs: &[],
        };
        Ok(Walk::new(self.log.get()?, from, end, around, &[]))
    }

    /// Cuts the segment at `position`, where the batch with base offset `offset` begins, and its indexes with it. What
    /// its sidecar says of the batches behind would be a lie about those that come in their place.
    pub(crate) fn truncate(&self, position: u64, offset: i64) -> io::Result<()> {
        self.reopen(self.log.fs())?;
        self.cut_indexes(position, offset)?;
        self.forget_undecided_from(offset);
        self.set_size(position)
    }

    /// The indexes are found to be those with which a segment of this size was sealed.
    pub(crate) fn note_whole_indexes(&self) {
        self.has_whole_indexes.store(true, Ordering::Relaxed);
    }

    /// Lets a segment that may be sealed be written again. What its sidecar tells is not so any more.
    pub(crate) fn reopen(&self, fs: &dyn FileSystem) -> io::Result<()> {
        self.is_sealed.store(false, Ordering::Relaxed);
        self.has_whole_indexes.store(false, Ordering::Relaxed);
        match fs.remove_file(&self.file_path(SegmentFile::Checksums)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Cuts the batches at `position` and leaves the indexes.
    pub(crate) fn set_size(&self, position: u64) -> io::Result<()> {
        if position > 0 || self.size() > 0 {
            self.log.get_or_create()?.set_len(position)?;
        }
        self.size.store(position, Ordering::Release);
        self.forget_damage_from(position);
        Ok(())
    }

    /// Ends the segment at `position` and leaves the file as it is; whether the file is longer.
    pub(crate) fn end_at(&self, position: u64) -> bool {
        self.size.swap(position, Ordering::AcqRel) > position
    }
}

#[cfg(test)]
mod tests;
