//! A file of fixed-size entries that only grows: what the three indexes have in common.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::fs::File;
use crate::segment::CachedFile;

/// Entries that wait in memory before they are written together.
const PENDING_MAX: usize = 512;
/// A binary search in the file reads the last this many bytes at once.
const BLOCK_BYTES: usize = 4096;
/// Read at once for a checksum.
const CHECKSUM_WINDOW: usize = 64 << 10;

/// An entry of an index: fixed size, big-endian.
pub(crate) trait IndexEntry: Copy {
    const BYTES: usize;
    fn encode(&self, out: &mut Vec<u8>);
    /// `bytes` has exactly `BYTES` bytes.
    fn decode(bytes: &[u8]) -> Self;
}

/// Length and CRC-32C of an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum {
    pub(crate) bytes: u64,
    pub(crate) crc: u32,
}

impl Checksum {
    /// No file has it.
    pub(crate) const UNKNOWN: Self = Self {
        bytes: u64::MAX,
        crc: 0,
    };
}

/// An index file with its newest entries in memory.
#[derive(Debug)]
pub(crate) struct EntryFile<E> {
    file: CachedFile,
    /// Entries in the file.
    written: usize,
    /// Newer entries, not in the file yet.
    pending: Vec<E>,
    /// The file was made shorter. Until that is synced, entries that are gone may come back.
    is_cut: bool,
    /// CRC-32C of all entries; unknown after a cut until it is asked for.
    crc: Option<u32>,
    /// The very last entry; outer none while it was not read.
    last: Option<Option<E>>,
}

impl<E: IndexEntry> EntryFile<E> {
    /// The index whose file has `len` bytes now; bytes of an unfinished entry at the end do not count.
    pub(crate) fn new(file: CachedFile, len: u64) -> Self {
        let written = usize::try_from(len).unwrap_or(0) / E::BYTES;
        Self {
            file,
            written,
            pending: Vec::new(),
            is_cut: false,
            crc: (written == 0).then_some(0),
            last: (written == 0).then_some(None),
        }
    }

    /// The name that the file has, or would have.
    pub(crate) fn path(&self) -> PathBuf {
        self.file.path()
    }

    pub(crate) fn rename(&self, to: PathBuf) -> io::Result<()> {
        self.file.rename(to)
    }

    pub(crate) fn len(&self) -> usize {
        self.written + self.pending.len()
    }

    pub(crate) fn push(&mut self, entry: E) {
        if let Some(crc) = &mut self.crc {
            let mut bytes = Vec::with_capacity(E::BYTES);
            entry.encode(&mut bytes);
            *crc = crc32c::crc32c_append(*crc, &bytes);
        }
        self.pending.push(entry);
        self.last = Some(Some(entry));
        if self.pending.len() >= PENDING_MAX {
            // An index only makes reads faster: what cannot be written now (a full disk) waits in memory.
            if let Err(error) = self.write_pending() {
                tracing::debug!(path = %self.file.path().display(), %error, "index entries stay in memory");
            }
        }
    }

    pub(crate) fn last(&mut self) -> io::Result<Option<E>> {
        if let Some(last) = self.last {
            return Ok(last);
        }
        let last = self.read(self.written - 1, 1)?.first().copied();
        self.last = Some(last);
        Ok(last)
    }

    pub(crate) fn get(&self, index: usize) -> io::Result<Option<E>> {
        if index >= self.written {
            return Ok(self.pending.get(index - self.written).copied());
        }
        Ok(self.read(index, 1)?.first().copied())
    }

    /// At most `count` entries from `index` on.
    pub(crate) fn range(&self, index: usize, count: usize) -> io::Result<Vec<E>> {
        let mut entries = Vec::new();
        if index < self.written {
            entries = self.read(index, count.min(self.written - index))?;
        }
        let skip = (index + entries.len()).saturating_sub(self.written);
        if index + entries.len() >= self.written && entries.len() < count {
            let wanted = count - entries.len();
            entries.extend(self.pending.iter().skip(skip).take(wanted));
        }
        Ok(entries)
    }

    /// How many entries fulfil `holds`, which must be true for a first part and false for the rest.
    pub(crate) fn partition_point(&self, holds: impl Fn(&E) -> bool) -> io::Result<usize> {
        if self.pending.first().is_some_and(&holds) {
            return Ok(self.written + self.pending.partition_point(holds));
        }
        let (mut low, mut high) = (0, self.written);
        while (high - low) * E::BYTES > BLOCK_BYTES {
            let middle = low + (high - low) / 2;
            let entry = self.read(middle, 1)?;
            if entry.first().is_some_and(&holds) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == high {
            return Ok(low);
        }
        Ok(low + self.read(low, high - low)?.partition_point(holds))
    }

    /// Writes what waits in memory.
    pub(crate) fn write_pending(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(self.pending.len() * E::BYTES);
        for entry in &self.pending {
            entry.encode(&mut bytes);
        }
        let file = self.file.get_or_create()?;
        file.write_at(&bytes, (self.written * E::BYTES) as u64)?;
        self.written += self.pending.len();
        self.pending = Vec::new();
        Ok(())
    }

    /// Writes what waits and gives the file exactly its entries' length. An index without entries gets an empty file
    /// only when `makes_empty`.
    pub(crate) fn finish(&mut self, makes_empty: bool) -> io::Result<()> {
        self.write_pending()?;
        if self.written == 0 && !makes_empty {
            return Ok(());
        }
        let len = (self.written * E::BYTES) as u64;
        let file = self.file.get_or_create()?;
        if file.len()? != len {
            file.set_len(len)?;
            self.is_cut = true;
        }
        Ok(())
    }

    /// Of all entries, those in memory too.
    pub(crate) fn checksum_of_all(&mut self) -> io::Result<Checksum> {
        let bytes = (self.len() * E::BYTES) as u64;
        if let Some(crc) = self.crc {
            return Ok(Checksum { bytes, crc });
        }
        let mut crc = self.checksum()?.crc;
        for entry in &self.pending {
            let mut bytes = Vec::with_capacity(E::BYTES);
            entry.encode(&mut bytes);
            crc = crc32c::crc32c_append(crc, &bytes);
        }
        self.crc = Some(crc);
        Ok(Checksum { bytes, crc })
    }

    /// Whether the file begins with entries of this checksum.
    pub(crate) fn begins_with(&self, sum: Checksum) -> io::Result<bool> {
        if sum.bytes > (self.written * E::BYTES) as u64 {
            return Ok(false);
        }
        Ok(self.checksum_to(sum.bytes)? == sum)
    }

    /// Keeps the entries that a checkpoint had, of which it knew the checksum; none when it did not.
    pub(crate) fn restore(&mut self, sum: Checksum) -> io::Result<()> {
        let count = match sum {
            Checksum::UNKNOWN => 0,
            Checksum { bytes, .. } => usize::try_from(bytes).unwrap_or(usize::MAX) / E::BYTES,
        };
        self.truncate(count)?;
        self.crc = (sum.bytes == (self.len() * E::BYTES) as u64).then_some(sum.crc);
        Ok(())
    }

    /// Of what is in the file.
    pub(crate) fn checksum(&self) -> io::Result<Checksum> {
        self.checksum_to((self.written * E::BYTES) as u64)
    }

    fn checksum_to(&self, bytes: u64) -> io::Result<Checksum> {
        let mut sum = Checksum { bytes, crc: 0 };
        if bytes == 0 {
            return Ok(sum);
        }
        let file = self.file.get()?;
        let mut buffer = vec![0; CHECKSUM_WINDOW];
        let mut position = 0;
        while position < bytes {
            let len = CHECKSUM_WINDOW.min(usize::try_from(bytes - position).unwrap_or(usize::MAX));
            file.read_exact_at(&mut buffer[..len], position)?;
            sum.crc = crc32c::crc32c_append(sum.crc, &buffer[..len]);
            position += len as u64;
        }
        Ok(sum)
    }

    /// The file whose sync makes durable what is written and cut; none when there is no file. The caller syncs it when
    /// it holds no lock that an append needs.
    pub(crate) fn to_sync(&self) -> io::Result<Option<Arc<dyn File>>> {
        match self.written > 0 || self.is_cut {
            true => self.file.get().map(Some),
            false => Ok(None),
        }
    }

    /// Takes the index for empty, whatever its file holds.
    pub(crate) fn forget(&mut self) {
        self.written = 0;
        self.pending.clear();
        self.crc = Some(0);
        self.last = Some(None);
    }

    /// Keeps the first `count` entries.
    pub(crate) fn truncate(&mut self, count: usize) -> io::Result<()> {
        if count < self.len() {
            self.crc = (count == 0).then_some(0);
        }
        self.pending.truncate(count.saturating_sub(self.written));
        if count < self.written {
            self.file
                .get_or_create()?
                .set_len((count * E::BYTES) as u64)?;
            self.written = count;
            self.is_cut = true;
        }
        self.last = if self.len() == 0 {
            Some(None)
        } else {
            self.pending.last().copied().map(Some)
        };
        Ok(())
    }

    fn read(&self, index: usize, count: usize) -> io::Result<Vec<E>> {
        let mut bytes = vec![0; count * E::BYTES];
        self.file
            .get()?
            .read_exact_at(&mut bytes, (index * E::BYTES) as u64)?;
        Ok(bytes.chunks_exact(E::BYTES).map(E::decode).collect())
    }
}
