//! A `.log` file, piece by piece.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_records::BatchHeader;

use super::Damage;
use crate::fs::{FileSystem, OpenMode};
use crate::segment::{Piece, SegmentFile, Sidecar, Surroundings, Walk, path_of};

/// What comes next in a segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentPiece {
    /// A batch with a right checksum.
    Batch { position: u64, header: BatchHeader },
    /// Bytes up to `end` that are no such batch.
    Damage { damage: Damage, end: u64 },
}

/// Reads a segment file from its start.
pub struct SegmentReader {
    path: PathBuf,
    walk: Walk<'static>,
}

impl SegmentReader {
    /// Opens a segment file. Its base offset comes from its name; a file of another name may begin anywhere. What its
    /// checksums say of its batches' places, when they lie beside it, is compared too.
    pub fn open(fs: &dyn FileSystem, path: &Path) -> io::Result<Self> {
        let file = fs.open(path, OpenMode::Read)?;
        let name = path.file_name().and_then(|name| name.to_str());
        let (lower, sidecar) = match (name.and_then(SegmentFile::parse), path.parent()) {
            (Some((SegmentFile::Log, base_offset)), Some(dir)) => {
                let beside = path_of(dir, base_offset, SegmentFile::Checksums);
                (base_offset, Sidecar::read(fs, &beside)?)
            }
            _ => (0, None),
        };
        let places = sidecar.map_or_else(Arc::default, |sidecar| sidecar.stretches.into());
        let around = Surroundings {
            lower,
            upper: i64::MAX,
            epochs: &[],
        };
        let end = file.len()?;
        Ok(Self {
            path: path.to_owned(),
            walk: Walk::new(Arc::clone(&file), 0, end, around, &[]).with_places(&places),
        })
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_piece(&mut self) -> io::Result<Option<SegmentPiece>> {
        Ok(self.walk.next()?.map(|piece| match piece {
            Piece::Batch(batch) => SegmentPiece::Batch {
                position: batch.position,
                header: batch.header,
            },
            Piece::Damage(region) => SegmentPiece::Damage {
                end: region.end,
                damage: Damage {
                    path: self.path.clone(),
                    position: region.position,
                    offsets: Some(region.offsets()),
                    reason: region.reason,
                },
            },
        }))
    }

    /// The bytes of the batch that was handed out last, header included.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn batch_bytes(&mut self, position: u64, header: &BatchHeader) -> io::Result<&[u8]> {
        self.walk.bytes(position, header.size_in_bytes())
    }
}
