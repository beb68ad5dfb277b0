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
use super::{Damage, read_producer_snapshot};
use crate::checkpoint::{
    CheckpointError, EpochStart, LEADER_EPOCHS, PARTITION_METADATA, PartitionMetadata,
    read_leader_epochs,
};
use crate::fs::{File, FileSystem, OpenMode};
use crate::index::Checksum;
use crate::repair::AcceptedLosses;
use crate::segment::{Piece, Region, SegmentFile, Sidecar, Stretch, Surroundings, Walk, path_of};

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
type Segments = BTreeMap<i64, Vec<SegmentFile>>;

pub(super) fn verify_partition(
    fs: &dyn FileSystem,
    dir: &Path,
    known: &Known,
    report: &mut Report,
) -> io::Result<()> {
    report.partitions += 1;
    let epochs = read_texts(fs, dir, report)?;
    let mut segments = Segments::new();
    for entry in fs.read_dir(dir)? {
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
    if known.is_closed {
        for (base_offset, kinds) in &segments {
            let has_index = kinds
                .iter()
                .any(|kind| !matches!(kind, SegmentFile::Log | SegmentFile::ProducerSnapshot));
            if has_index && !kinds.contains(&SegmentFile::Log) {
                let next = segments
                    .range(base_offset + 1..)
                    .find(|(_, kinds)| kinds.contains(&SegmentFile::Log))
                    .map(|(next, _)| *next);
                let end = next.or(known.offsets.as_ref().map(|offsets| offsets.end));
                push_once(report, missing(dir, *base_offset, end));
            }
        }
    }
    segments.retain(|_, kinds| kinds.contains(&SegmentFile::Log));
    if let (Some(log_start), Some(first)) = (known.log_start, segments.keys().next())
        && log_start < *first
    {
        push_once(report, missing(dir, log_start, Some(*first)));
    }
    if let Some((base, size)) = known.synced
        && size > 0
        && !segments.contains_key(&base)
    {
        push_once(report, missing(dir, base, known.synced_end));
    }
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
    Ok(())
}

/// Several signs tell of the same missing segment.
fn push_once(report: &mut Report, damage: Damage) {
    let is_known = |one: &Damage| one.path == damage.path && one.position == damage.position;
    if !report.damages.iter().any(is_known) {
        report.damages.push(damage);
    }
}

/// `end`: the offset that follows the segment's last one, as far as it is known.
fn missing(dir: &Path, base_offset: i64, end: Option<i64>) -> Damage {
    let path = path_of(dir, base_offset, SegmentFile::Log);
    Damage {
        offsets: end.map(|end| base_offset..end),
        ..Damage::new(&path, 0, "the segment is missing")
    }
}

/// Reads the text files; the leader epochs, as far as they are sound.
fn read_texts(fs: &dyn FileSystem, dir: &Path, report: &mut Report) -> io::Result<Vec<EpochStart>> {
    let metadata = dir.join(PARTITION_METADATA);
    match PartitionMetadata::read(fs, &metadata) {
        Ok(Some(_)) => {}
        Ok(None) => report
            .damages
            .push(Damage::new(&metadata, 0, "the file is missing")),
        Err(error) => report.damages.push(text_damage(error)?),
    }
    match AcceptedLosses::read(fs, dir) {
        Ok(accepted) => report
            .accepted
            .extend(accepted.iter().map(|loss| (dir.to_owned(), loss.clone()))),
        Err(error) => report.damages.push(text_damage(error)?),
    }
    match read_leader_epochs(fs, &dir.join(LEADER_EPOCHS)) {
        Ok(epochs) => Ok(epochs.unwrap_or_default()),
        Err(error) => {
            report.damages.push(text_damage(error)?);
            Ok(Vec::new())
        }
    }
}

/// A text file that is not what it should be; another trouble is handed on.
pub(super) fn text_damage(error: CheckpointError) -> io::Result<Damage> {
    match error {
        CheckpointError::Malformed { path, line, reason } => {
            Ok(Damage::new(&path, 0, format!("line {line}: {reason}")))
        }
        CheckpointError::Io {
            path,
            source,
            action,
        } => Err(io::Error::new(
            source.kind(),
            format!("{action} {}: {source}", path.display()),
        )),
    }
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
        if let (Some(sidecar), Some(next)) = (&sidecar, next_base) {
            self.check_end(sidecar, len, next);
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
        if let Some(end) = sidecar.end_offset
            && sidecar.log_bytes == len
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
        let end = file.len()?;
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
