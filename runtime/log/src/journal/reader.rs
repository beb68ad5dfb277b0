//! Groups as they stand in a file, each judged by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::JournalError;
use super::format::{GROUP_HEADER_LEN, GroupHeader};
use crate::fs::{File, FileSystem, OpenMode, SECTOR};

/// Bytes that are read at once.
const WINDOW_BYTES: usize = 256 << 10;

/// A file that is read through a window.
pub(super) struct Reader {
    file: Arc<dyn File>,
    path: PathBuf,
    len: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Reader {
    pub fn open(fs: &dyn FileSystem, path: &Path, len: u64) -> Result<Reader, JournalError> {
        let file = fs
            .open(path, OpenMode::Read)
            .map_err(JournalError::io("opening", path))?;
        Ok(Reader {
            file,
            path: path.to_owned(),
            len,
            window: Vec::new(),
            window_at: 0,
        })
    }

    /// `count` bytes at a position; `None` when the file is shorter.
    pub fn bytes(&mut self, at: u64, count: usize) -> Result<Option<&[u8]>, JournalError> {
        if at
            .checked_add(count as u64)
            .is_none_or(|end| end > self.len)
        {
            return Ok(None);
        }
        let window_end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + count as u64 > window_end {
            let size = (WINDOW_BYTES.max(count) as u64).min(self.len - at);
            // Bounded by the file's own length.
            self.window.resize(size as usize, 0);
            self.window_at = at;
            if let Err(error) = self.file.read_exact_at(&mut self.window, at) {
                self.window.clear();
                return Err(JournalError::io("reading", &self.path)(error));
            }
        }
        let start = (at - self.window_at) as usize;
        Ok(Some(&self.window[start..start + count]))
    }

    /// The head and checksum of the group at a position, if it is sound in itself.
    pub fn sound_group(&mut self, at: u64) -> Result<Option<(GroupHeader, u32)>, JournalError> {
        let Some(head) = self.bytes(at, GROUP_HEADER_LEN)? else {
            return Ok(None);
        };
        let Some(header) = GroupHeader::decode(head) else {
            return Ok(None);
        };
        let Some(group) = self.bytes(at, header.len_unpadded() as usize)? else {
            return Ok(None);
        };
        Ok(GroupHeader::check(group).map(|crc| (header, crc)))
    }

    /// The first sound group at or after a position, wherever a sector begins.
    pub fn find_sound_group(
        &mut self,
        from: u64,
    ) -> Result<Option<(u64, GroupHeader)>, JournalError> {
        let mut at = from.next_multiple_of(SECTOR as u64);
        while at + GROUP_HEADER_LEN as u64 <= self.len {
            if let Some((header, _)) = self.sound_group(at)? {
                return Ok(Some((at, header)));
            }
            at += SECTOR as u64;
        }
        Ok(None)
    }
}
