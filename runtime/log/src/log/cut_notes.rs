//! Cuts of a log, noted beside it before they are made.
//!
//! A checkpoint counts on all bytes below its recovery point. A cut below that point takes some of them away, and what
//! is appended then stands where they stood: a redo from the checkpoint on would meet later bytes in the place of
//! earlier ones. So such a cut is noted first, durably. Until a checkpoint contains the cut, a start takes the log as it
//! was right after it.
//!
//! Without a journal every cut is noted. A start sees a cut that the page cache has and the disk may not, and a power cut
//! would bring back what it took: a log with a note gets its end synced by the start.
//!
//! ```text
//! 1                                        version
//! incarnation 7
//! cut 00000000000000000042 10 35 20 4096   LSN, log start, log end, the last segment and its bytes
//! sum 5e1f0a77                             CRC-32C of the lines above
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Appender, Log, LogCheckpoint};
use crate::checkpoint::CheckpointError;
use crate::fs::{File, FileSystem, OpenMode};
use crate::index::Checksum;
use crate::journal::Lsn;
use crate::producer_state::ProducerStates;
use crate::segment::Segment;

/// The file's name in the partition's directory.
pub(crate) const TRUNCATIONS: &str = "truncation-checkpoint";
const VERSION: &str = "1";
/// A file larger than this is not believed: it has room for some hundred thousand cuts between two checkpoints.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A log right after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CutNote {
    /// The cut's number: that of its entry in the journal, or the log's own count without one.
    pub(crate) lsn: Lsn,
    pub(crate) log_start: i64,
    pub(crate) log_end: i64,
    /// Base offset of the last segment, and its size.
    pub(crate) segment_base: i64,
    pub(crate) segment_size: u64,
}

impl CutNote {
    /// Whether nothing was left.
    pub(crate) fn is_of_all(&self) -> bool {
        self.log_start == self.log_end
    }

    /// Producer snapshots behind this offset are of a history that was given up.
    pub(crate) fn snapshots_are_sound_to(&self) -> i64 {
        match self.is_of_all() {
            true => i64::MIN,
            false => self.log_end,
        }
    }

    /// The checkpoint as if it had been taken right after the cut, but for the producers: they must be replayed.
    pub(crate) fn apply(&self, at: &LogCheckpoint) -> LogCheckpoint {
        let mut epochs = at.epochs.clone();
        if self.is_of_all() {
            epochs.clear();
        }
        LogCheckpoint {
            recovery_point: self.log_end,
            log_start: self.log_start,
            lsn: self.lsn,
            segment_base: self.segment_base,
            segment_size: self.segment_size,
            indexes: [Checksum::UNKNOWN; 3],
            epochs,
            ..at.clone()
        }
    }
}

/// The cuts that a checkpoint may not contain yet, by rising numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CutNotes(Vec<CutNote>);

impl CutNotes {
    /// What a log of this incarnation has noted; empty when there is no file, or one of another incarnation.
    pub(crate) fn read(
        fs: &dyn FileSystem,
        dir: &Path,
        incarnation: u64,
    ) -> Result<Self, CheckpointError> {
        let path = dir.join(TRUNCATIONS);
        let malformed = || CheckpointError::Malformed {
            path: path.clone(),
            line: 1,
            reason: "its checksum is not that of its text".to_owned(),
        };
        let (found, notes) = match fs.read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => Self::parse(&bytes).ok_or_else(malformed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(malformed()),
            Err(source) => {
                return Err(CheckpointError::Io {
                    action: "reading",
                    path,
                    source: Arc::new(source),
                });
            }
        };
        Ok(if found == incarnation {
            notes
        } else {
            Self::default()
        })
    }

    /// The incarnation and the cuts.
    fn parse(bytes: &[u8]) -> Option<(u64, Self)> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.lines().skip(1);
        let incarnation = lines.next()?.strip_prefix("incarnation ")?.parse().ok()?;
        let mut notes = Self::default();
        for line in lines {
            let Some(numbers) = line.strip_prefix("cut ") else {
                break;
            };
            let mut numbers = numbers.split(' ');
            notes.0.push(CutNote {
                lsn: Lsn(numbers.next()?.parse().ok()?),
                log_start: numbers.next()?.parse().ok()?,
                log_end: numbers.next()?.parse().ok()?,
                segment_base: numbers.next()?.parse().ok()?,
                segment_size: numbers.next()?.parse().ok()?,
            });
        }
        // What the lines above do not look at, this does.
        (notes.text(incarnation) == text).then_some((incarnation, notes))
    }

    fn text(&self, incarnation: u64) -> String {
        use std::fmt::Write;
        const TAKEN: &str = "a String takes every write";
        let mut text = format!("{VERSION}\nincarnation {incarnation}\n");
        for note in &self.0 {
            writeln!(
                text,
                "cut {:020} {} {} {} {}",
                note.lsn.0, note.log_start, note.log_end, note.segment_base, note.segment_size
            )
            .expect(TAKEN);
        }
        let crc = crc32c::crc32c(text.as_bytes());
        writeln!(text, "sum {crc:08x}").expect(TAKEN);
        text
    }

    /// The cut with which a start begins whose checkpoint has this number and recovery point, if one lies below the
    /// point. What came before it does not matter any more; what came after it stands on it.
    pub(crate) fn deepest_since(&self, lsn: Lsn, recovery_point: i64) -> Option<CutNote> {
        let since = &self.0[self.0.partition_point(|note| note.lsn <= lsn)..];
        let last_of_all = since.iter().rev().find(|note| note.is_of_all());
        let deepest = last_of_all.or_else(|| since.iter().min_by_key(|note| note.log_end))?;
        (deepest.is_of_all() || deepest.log_end < recovery_point).then_some(*deepest)
    }

    /// Forgets what a checkpoint contains.
    pub(crate) fn forget_to(&mut self, lsn: Lsn) {
        self.0.retain(|note| note.lsn > lsn);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &CutNote> {
        self.0.iter()
    }

    /// With one more. A start never begins with a cut that a later one has undercut.
    fn with(&self, note: CutNote) -> Self {
        let mut notes = self.clone();
        notes
            .0
            .retain(|one| !note.is_of_all() && one.log_end < note.log_end);
        notes.0.push(note);
        notes
    }
}

/// A note that has its room on the disk and is not in force yet.
pub(super) struct PreparedNote {
    file: Arc<dyn File>,
    temporary: PathBuf,
    note: CutNote,
}

impl Log {
    /// Writes a note beside the one in force. When this succeeds, there is room for it.
    pub(super) fn prepare_note(&self, note: CutNote) -> io::Result<PreparedNote> {
        let temporary = self.dir.join(format!("{TRUNCATIONS}.tmp"));
        // Numbers have a fixed width, so the text keeps its length when it gets the true one.
        let text = self.notes.lock().with(note).text(self.incarnation);
        let file = self.shared.fs.open(&temporary, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(text.as_bytes(), 0)?;
        Ok(PreparedNote {
            file,
            temporary,
            note,
        })
    }

    /// Puts the note in force, with the number that the cut has got.
    pub(super) fn commit_note(&self, prepared: PreparedNote, lsn: Lsn) -> io::Result<()> {
        let mut notes = self.notes.lock();
        let next = notes.with(CutNote {
            lsn,
            ..prepared.note
        });
        let text = next.text(self.incarnation);
        prepared.file.set_len(text.len() as u64)?;
        prepared.file.write_at(text.as_bytes(), 0)?;
        prepared.file.sync_data()?;
        let fs = &*self.shared.fs;
        fs.rename(&prepared.temporary, &self.dir.join(TRUNCATIONS))?;
        fs.sync_dir(&self.dir)?;
        *notes = next;
        Ok(())
    }

    /// What the checkpoint that was corrected by a cut does not know.
    pub(super) fn restore_cut(&self, appender: &mut Appender, cut: &CutNote) -> io::Result<()> {
        appender.producers = match cut.is_of_all() {
            true => ProducerStates::default(),
            false => self.replay_producers(cut.log_end)?,
        };
        appender.epochs.advance_start(cut.log_start);
        self.note_cut(cut.log_end);
        let mut segments = self.segments.write();
        if cut.is_of_all() {
            let is_former = |one: &mut Arc<Segment>| one.base_offset() < cut.log_end;
            for former in segments.extract_if(.., is_former) {
                former.remove(&self.shared.open_files)?;
            }
        }
        let last = segments
            .iter()
            .find(|segment| segment.base_offset() == cut.segment_base);
        last.map_or(Ok(()), |last| last.reopen(&*self.shared.fs))
    }

    /// Removes the file. One that is left behind, or comes back, has only cuts that the checkpoint contains.
    pub(super) fn remove_notes(&self) {
        let path = self.dir.join(TRUNCATIONS);
        if let Err(error) = self.shared.fs.remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a file that is needed no more stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(lsn: u64, log_start: i64, log_end: i64) -> CutNote {
        CutNote {
            lsn: Lsn(lsn),
            log_start,
            log_end,
            segment_base: log_start,
            segment_size: 100,
        }
    }

    #[test]
    fn notes_come_back_and_changed_ones_do_not() {
        let notes = CutNotes(vec![note(3, 5, 30), note(9, 5, 41)]);
        let text = notes.text(7).into_bytes();
        assert_eq!(CutNotes::parse(&text), Some((7, notes)));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(CutNotes::parse(&changed), None, "byte {at}, bit {bit}");
            }
            assert_eq!(CutNotes::parse(&text[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn a_start_begins_with_the_deepest_cut_that_its_checkpoint_lacks() {
        let mut notes = CutNotes::default();
        let deepest = |notes: &CutNotes, lsn, recovery_point| {
            let found = notes.deepest_since(Lsn(lsn), recovery_point);
            found.map(|note| note.lsn.0)
        };
        assert_eq!(deepest(&notes, 0, 100), None);
        for (one, expected) in [
            (note(10, 5, 50), [Some(10), None, None]),
            // The one before stays: a checkpoint between both may or may not become durable.
            (note(20, 5, 60), [Some(10), Some(20), None]),
            (note(30, 5, 40), [Some(30), Some(30), Some(30)]),
            (note(40, 90, 90), [Some(40), Some(40), Some(40)]),
            (note(50, 90, 95), [Some(40), Some(40), Some(40)]),
        ] {
            notes = notes.with(one);
            let found = [9, 10, 20].map(|lsn| deepest(&notes, lsn, 100));
            assert_eq!(found, expected, "{notes:?}");
        }
        assert_eq!(deepest(&notes, 40, 100), Some(50));
        assert_eq!(
            deepest(&notes, 40, 95),
            None,
            "nothing below the point is gone"
        );
        notes.forget_to(Lsn(49));
        assert_eq!(deepest(&notes, 9, 100), Some(50));
        notes.forget_to(Lsn(50));
        assert!(notes.is_empty());
    }
}
