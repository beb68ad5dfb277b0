//! A segment's file beyond its batches: room before there is anything to put into it (`preallocate`), and writing it again.

use std::io;
use std::sync::atomic::Ordering;

use super::Segment;

/// Read at once in the search for anything but zeros.
const WINDOW_BYTES: u64 = 64 << 10;

impl Segment {
    /// Gives the file of an empty segment room for so many bytes.
    pub(crate) fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let file = self.log.get_or_create()?;
        self.has_room.store(true, Ordering::Relaxed);
        file.allocate(bytes)
    }

    /// Cuts what a sealed segment has not used. It comes before the checkpoint that recovery begins with, so that the
    /// length of a rolled segment's file is the segment's.
    pub(super) fn give_room_back(&self) -> io::Result<()> {
        let is_due =
            self.is_sealed.load(Ordering::Relaxed) && self.has_room.load(Ordering::Relaxed);
        if is_due { self.trim() } else { Ok(()) }
    }

    /// Writes what the file has from `position` on once more, and its length, even when that is 0 now.
    pub(crate) fn write_again(&self, position: u64) -> io::Result<()> {
        let end = self.size();
        let Some(file) = self.file_if_any()? else {
            return Ok(());
        };
        let mut window = Vec::new();
        let mut at = position;
        while at < end {
            let step = WINDOW_BYTES.min(end - at);
            window.resize(usize::try_from(step).map_err(io::Error::other)?, 0);
            file.read_exact_at(&mut window, at)?;
            file.write_at(&window, at)?;
            at += step;
        }
        file.set_len(end + 1)?;
        file.set_len(end)
    }

    /// Whether the file holds nothing but zeros from `position` on: room that a crash has left.
    pub(crate) fn is_unused_from(&self, position: u64) -> io::Result<bool> {
        let end = self.size();
        let mut at = position;
        let mut window = Vec::new();
        while at < end {
            let step = WINDOW_BYTES.min(end - at);
            window.resize(usize::try_from(step).map_err(io::Error::other)?, 0);
            self.read_at(&mut window, at)?;
            if window.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += step;
        }
        Ok(true)
    }
}
