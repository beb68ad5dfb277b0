//! All files of one partition, checked against each other.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_records::{BatchView, Compression};

use super::crosscheck::Crosscheck;
use super::data_dir::Report;
use super::entries::{read_aborted_index, read_offset_index, read_time_index};
use super::missing::{missing, report_missing};
use super::texts::read_texts;
use super::{Damage, read_producer_snapshot};
use crate::checkpoint::EpochStart;
use crate::cleaner::unfinished_swaps;
use crate::fs::{File, FileSystem, OpenMode};
use crate::index::Checksum;
use crate::segment::{
    Piece, Region, SegmentFile, Sidecar, Stretch, Suffix, Surroundings, Walk, own_bytes, path_of,
    path_with,
};

/// A batch is decompressed to at most this much when its records are looked at.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;

/// What is known of a partition beside its own files.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// A node has the directory open: what is at the end of the files may be half written.
    pub(super) is_open: bool,
    /// The node was closed cleanly, so every file is complete.
    pub(super) is_closed: bool,
    /// Base offset of the active segment, and its bytes that are synced.
    pub(super) synced: Option<(i64, u64)>,
    /// The offset that follows them.
    pub(super) synced_end: Option<i64>,
    /// Where the log begins, by the checkpoint; nothing is known of it while a node may move it.
    pub(super) log_start: Option<i64>,
    /// Where the log begins and ends; of a node that was closed.
    pub(super) offsets: Option<Range<i64>>,
    /// Records are decoded too, not only checksums computed.
    pub(super) reads_records: bool,
}

/// The segments of a partition: base offset and the kinds of files that are there.
pub(super) type Segments = BTreeMap<i64, Vec<SegmentFile>>;

pub(super) fn verify_partition(
    fs: &dyn FileSystem,
    dir: &Path,
    known: &Known,
    report: &mut Report,
) -> io::Result<()> {
    report.partitions += 1;
    let epochs = read_texts(fs, dir, report)?;
    let mut segments = Segments::new();
    let entries = fs.read_dir(dir)?;
    let before = report.damages.len();
    for entry in &entries {
        if let Some((kind, base_offset)) = SegmentFile::parse(&entry.name) {
            segments.entry(base_offset).or_default().push(kind);
        }
    }
    let snapshots: Vec<_> = segments
        .iter()
        .filter(|(_, kinds)| kinds.contains(&SegmentFile::ProducerSnapshot))
        .map(|(base_offset, _)| path_of(dir, *base_offset, SegmentFile::ProducerSnapshot))
        .collect();
    for path in snapshots {
        if let Some(Err(damage)) = if_there(known, read_producer_snapshot(fs, &path))? {
            report.damages.push(damage);
        }
    }
    report_missing(dir, known, &segments, report);
    segments.retain(|_, kinds| kinds.contains(&SegmentFile::Log));
    let bases: Vec<_> = segments.keys().copied().collect();
    let mut check = PartitionCheck {
        fs,
        dir,
        known,
        epochs: if known.is_closed { &epochs } else { &[] },
        report,
    };
    for (index, base_offset) in bases.iter().enumerate() {
        check.segment(*base_offset, bases.get(index + 1).copied())?;
    }
    let swaps = if_there(known, unfinished_swaps(fs, dir, &entries))?;
    leave_to_swaps(dir, &swaps.unwrap_or_default(), before, report);
    Ok(())
}

/// What will be replaced by the next start is no damage.
fn leave_to_swaps(dir: &Path, swaps: &[Range<i64>], first_damage: usize, report: &mut Report) {
    let found = report.damages.split_off(first_damage);
    let is_replaced = |damage: &Damage| {
        let name = damage.path.file_name().and_then(|name| name.to_str());
        let base = name.and_then(SegmentFile::parse).map(|(_, base)| base);
        base.is_some_and(|base| swaps.iter().any(|swap| swap.contains(&base)))
    };
    let stays = found.into_iter().filter(|damage| !is_replaced(damage));
    report.damages.extend(stays);
    report.unfinished.extend(swaps.iter().map(|swap| {
        let path = path_with(dir, swap.start, SegmentFile::Log, Suffix::Swap);
        let reason = "a segment that is written anew; the next start puts it into its place";
        Damage::new(&path, 0, reason)
    }));
}

/// Nothing for a file that a running node has just removed.
fn if_there<T>(known: &Known, result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if known.is_open && error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// What is known of a segment's batches beside their bytes.
struct Extent {
    base_offset: i64,
    next_base: Option<i64>,
    /// Bytes of the file that are the segment's.
    end: u64,
    /// What lies behind may be half written.
    sound_to: u64,
    /// What is wrong when the file has lost its end.
    is_short: Option<String>,
    places: Arc<[Stretch]>,
}

struct PartitionCheck<'a> {
    fs: &'a dyn FileSystem,
    dir: &'a Path,
    known: &'a Known,
    epochs: &'a [EpochStart],
    report: &'a mut Report,
}

impl PartitionCheck<'_> {
    fn path(&self, base_offset: i64, kind: SegmentFile) -> PathBuf {
        path_of(self.dir, base_offset, kind)
    }

    fn segment(&mut self, base_offset: i64, next_base: Option<i64>) -> io::Result<()> {
        let path = self.path(base_offset, SegmentFile::Log);
        let Some(file) = if_there(self.known, self.fs.open(&path, OpenMode::Read))? else {
            return Ok(());
        };
        let len = file.len()?;
        // From here on the files may be unfinished.
        let is_settled = match self.known.synced {
            _ if self.known.is_closed => true,
            Some((active, _)) => base_offset < active,
            None => next_base.is_some(),
        };
        let sound_to = match self.known.synced {
            _ if is_settled => len,
            Some((active, size)) if active == base_offset => size,
            _ => 0,
        };
        let is_short = (len < sound_to)
            .then(|| format!("the file ends here, {sound_to} bytes of it were synced"));
        self.report.segments += 1;
        if !is_settled {
            let extent = Extent {
                base_offset,
                next_base,
                end: len,
                sound_to,
                is_short,
                places: Arc::default(),
            };
            return self.walk(&path, file, &extent, None);
        }
        let paths = [
            SegmentFile::OffsetIndex,
            SegmentFile::TimeIndex,
            SegmentFile::AbortedIndex,
        ]
        .map(|kind| self.path(base_offset, kind));
        let sidecar = self.check_sidecar(base_offset, &paths)?;
        let mut end = len;
        if let (Some(sidecar), Some(next)) = (&sidecar, next_base) {
            self.check_end(sidecar, len, next);
            end = own_bytes(self.fs, &path, len, sidecar, next)?;
        }
        let [offset_path, time_path, aborted_path] = &paths;
        let offsets = self.entries(read_offset_index(self.fs, offset_path, base_offset))?;
        let times = self.entries(read_time_index(self.fs, time_path, base_offset))?;
        let aborted = self.entries(read_aborted_index(self.fs, aborted_path))?;
        let crosscheck = Crosscheck::new(
            (offset_path, &offsets),
            (time_path, &times),
            (aborted_path, &aborted),
        );
        let had = sidecar.as_ref().map_or(len, |sidecar| sidecar.log_bytes);
        let extent = Extent {
            base_offset,
            next_base,
            end,
            sound_to,
            is_short: (len < had)
                .then(|| format!("the file ends here, it had {had} bytes"))
                .or(is_short),
            places: sidecar.map_or_else(Arc::default, |sidecar| sidecar.stretches.into()),
        };
        self.walk(&path, file, &extent, Some(crosscheck))
    }

    /// What follows a segment must begin where its checksums say that it ends.
    fn check_end(&mut self, sidecar: &Sidecar, len: u64, next: i64) {
        if let Some(end) = sidecar.end_at(len)
            && end < next
        {
            let damage = missing(self.dir, end, Some(next));
            // Its other files may have told already.
            self.report
                .damages
                .retain(|one| one.path != damage.path || one.position != 0);
            self.report.damages.push(damage);
        }
    }

    /// The sound entries of an index; an index need not be there.
    fn entries<E>(&mut self, read: io::Result<(Vec<E>, Option<Damage>)>) -> io::Result<Vec<E>> {
        match read {
            Ok((entries, damage)) => {
                self.report.damages.extend(damage);
                Ok(entries)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn walk(
        &mut self,
        path: &Path,
        file: Arc<dyn File>,
        extent: &Extent,
        mut crosscheck: Option<Crosscheck<'_>>,
    ) -> io::Result<()> {
        let around = Surroundings {
            lower: extent.base_offset,
            upper: extent
                .next_base
                .or(self.known.offsets.as_ref().map(|offsets| offsets.end))
                .unwrap_or(i64::MAX),
            epochs: self.epochs,
        };
        let end = extent.end;
        let mut walk = Walk::new(file, 0, end, around, &[]).with_places(&extent.places);
        let mut next_offset = extent.base_offset;
        while let Some(piece) = walk.next()? {
            match piece {
                Piece::Batch(batch) => {
                    next_offset = batch.header.next_offset();
                    self.report.batches += 1;
                    self.report.bytes += batch.header.size_in_bytes() as u64;
                    let bytes = walk.bytes(batch.position, batch.header.size_in_bytes())?;
                    let wrong = BatchView::parse(bytes)
                        .map_err(|error| error.to_string())
                        .and_then(|view| {
                            if self.known.reads_records {
                                self.report.records += records_of(&view)?;
                            }
                            crosscheck
                                .as_mut()
                                .map_or(Ok(()), |check| check.batch(batch.position, &view))
                        });
                    if let Err(reason) = wrong {
                        let mut damage = Damage::new(path, batch.position, reason);
                        damage.offsets = Some(batch.header.base_offset..batch.header.next_offset());
                        self.report.damages.push(damage);
                    }
                }
                Piece::Damage(region) => {
                    next_offset = region.next_offset;
                    if let Some(check) = &mut crosscheck {
                        check.damaged(region.end, region.next_offset);
                    }
                    let damage = Damage {
                        path: path.to_owned(),
                        position: region.position,
                        offsets: Some(self.lost_offsets(&region, extent)),
                        reason: region.reason,
                    };
                    let is_unfinished = region.position >= extent.sound_to && region.end == end;
                    if !is_unfinished {
                        self.report.damages.push(damage);
                    } else if !self.known.is_open {
                        self.report.unfinished.push(damage);
                    }
                }
            }
        }
        if let Some(reason) = &extent.is_short {
            let upper = extent.next_base.or(self.known.synced_end);
            self.report.damages.push(Damage {
                offsets: Some(next_offset..upper.unwrap_or(i64::MAX).max(next_offset)),
                ..Damage::new(path, end, reason)
            });
        }
        if let Some(check) = crosscheck {
            self.report.damages.extend(check.finish());
        }
        Ok(())
    }

    /// The offsets of damaged bytes. Of those that no batch follows, what was synced tells the end.
    fn lost_offsets(&self, region: &Region, extent: &Extent) -> Range<i64> {
        let Range { start, end } = region.offsets();
        match self.known.synced_end {
            Some(synced_end)
                if end == i64::MAX && !self.known.is_open && region.position < extent.sound_to =>
            {
                start..synced_end.max(start)
            }
            _ => start..end,
        }
    }

    fn check_sidecar(
        &mut self,
        base_offset: i64,
        indexes: &[PathBuf; 3],
    ) -> io::Result<Option<Sidecar>> {
        let path = self.path(base_offset, SegmentFile::Checksums);
        let Some(sidecar) =
            Sidecar::read(self.fs, &self.path(base_offset, SegmentFile::Checksums))?
        else {
            if self.fs.exists(&path)? {
                let reason = "the checksums do not add up; they are written anew by the next start";
                self.report.damages.push(Damage::new(&path, 0, reason));
            }
            return Ok(None);
        };
        for (index, expected) in indexes.iter().zip(&sidecar.indexes) {
            let found = match checksum(self.fs, index) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Checksum { bytes: 0, crc: 0 }
                }
                Err(error) => return Err(error),
            };
            if found != *expected {
                let reason = format!(
                    "the index has {} bytes with CRC-32C {:#010x}, its checksums say {} bytes with {:#010x}",
                    found.bytes, found.crc, expected.bytes, expected.crc
                );
                self.report.damages.push(Damage::new(index, 0, reason));
            }
        }
        Ok(Some(sidecar))
    }
}

/// How many records a batch has; all of them must decode.
fn records_of(view: &BatchView<'_>) -> Result<u64, String> {
    let limit = match view.header().compression() {
        Compression::None => 0,
        _ => DECOMPRESSED_BYTES_MAX,
    };
    let records = view.records(limit).map_err(|error| error.to_string())?;
    let mut count = 0;
    for record in records.iter() {
        record.map_err(|error| error.to_string())?;
        count += 1;
    }
    Ok(count)
}

fn checksum(fs: &dyn FileSystem, path: &Path) -> io::Result<Checksum> {
    let file = fs.open(path, OpenMode::Read)?;
    let bytes = file.len()?;
    let mut sum = Checksum { bytes, crc: 0 };
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    while at < bytes {
        let len = buffer
            .len()
            .min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
        file.read_exact_at(&mut buffer[..len], at)?;
        sum.crc = crc32c::crc32c_append(sum.crc, &buffer[..len]);
        at += len as u64;
    }
    Ok(sum)
}
