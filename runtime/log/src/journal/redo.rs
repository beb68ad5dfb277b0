//! Reading a journal back: which entries count, where it ends, and telling an end that was torn by
//! a crash from damage.
//!
//! The journal is read in order as long as every group is sound and chains to the one before. At
//! the first that is not, either the journal ends (the last flush did not complete; nothing of it
//! was acknowledged), or something says that more was flushed: a later file that begins beyond, or
//! a sound later group whose "flushed" lies beyond. Then records that were acknowledged are
//! missing, and the start is refused.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{Files, Sealed, SpareLimits, file_name, parse_file_name};
use super::flusher::{self, Beginning};
use super::format::{EntryRef, FILE_HEADER_LEN, FileHeader, GROUP_HEADER_LEN, GroupHeader};
use super::inventory::Inventory;
use super::reader::Reader;
use super::{Journal, JournalError, JournalOptions, Lsn};
use crate::fs::{FileSystem, OpenMode, SECTOR};

/// One file that is there.
struct JournalFile {
    path: PathBuf,
    sequence: u64,
    len: u64,
    /// `None`: never used, or its first write did not complete, or damaged.
    header: Option<FileHeader>,
    /// The generation of this use of the file, as its header or its reservation says. What is there of
    /// another one is older.
    generation: Option<u64>,
    /// The last entry read from it.
    last_lsn: Option<Lsn>,
}

/// The entries of a journal that was found at start, in order.
pub struct Redo {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    files: Vec<JournalFile>,
    inventory: Inventory,
    /// The file that is read, and its reader.
    current: usize,
    reader: Option<Reader>,
    position: u64,
    /// Checksum that the next group must chain to.
    chain: u32,
    /// The next entry of the journal.
    expected: Lsn,
    /// The group that is being handed out, and how far.
    group: Vec<u8>,
    group_at: usize,
    next_lsn: Lsn,
    /// Where the last group of the current file stands: it may be in the page cache only.
    last_group: Option<(u64, u64)>,
    ended: bool,
}

impl Redo {
    /// Reads the directory; nothing is changed before [`Redo::start`].
    pub(super) fn open(fs: Arc<dyn FileSystem>, dir: &Path) -> Result<Redo, JournalError> {
        let files = list_files(&*fs, dir)?;
        check_no_file_is_missing(&files)?;
        let inventory = Inventory::read(&*fs, dir)
            .map_err(JournalError::io("reading the note of the files of", dir))?;
        check_ends_are_there(&files, dir, &inventory)?;
        let first = files.iter().find_map(|file| file.header);
        let (expected, chain) =
            first.map_or((Lsn(1), 0), |header| (header.follows, header.previous_crc));
        let mut redo = Redo {
            fs,
            dir: dir.to_owned(),
            files,
            inventory,
            current: 0,
            reader: None,
            position: 0,
            chain,
            expected,
            group: Vec::new(),
            group_at: 0,
            next_lsn: expected,
            last_group: None,
            ended: first.is_none(),
        };
        if redo.ended {
            redo.check_unused()?;
        } else {
            redo.enter(0)?;
        }
        Ok(redo)
    }

    /// What comes before this entry is not in the journal.
    pub fn begins_at(&self) -> Lsn {
        let first = self.files.iter().find_map(|file| file.header);
        first.map_or(Lsn(1), |header| header.follows)
    }

    /// The next entry and its number; `None` at the end of the journal.
    ///
    /// # Errors
    /// `Damaged` when what was acknowledged is missing, `Io`.
    pub fn next_entry(&mut self) -> Result<Option<(Lsn, EntryRef<'_>)>, JournalError> {
        while self.group_at == self.group.len() {
            if self.ended || !self.next_group()? {
                return Ok(None);
            }
        }
        let damaged = |reason| JournalError::Damaged {
            path: self.files[self.current].path.clone(),
            position: self.last_group.map_or(0, |(position, _)| position),
            reason,
        };
        let (entry, len) = EntryRef::decode(&self.group[self.group_at..]).map_err(damaged)?;
        self.group_at += len;
        let lsn = self.next_lsn;
        self.next_lsn = lsn.next();
        Ok(Some((lsn, entry)))
    }

    /// The last entry that was read so far; `Lsn::ZERO` when the journal holds none.
    pub fn last_lsn(&self) -> Lsn {
        Lsn(self.next_lsn.0 - 1)
    }

    /// Reads what is left, makes what was read durable, and starts the journal with a new
    /// generation behind it. The old files stay until [`Journal::cut_before`] covers them.
    ///
    /// # Errors
    /// As [`Redo::next_entry`].
    pub fn start(mut self, options: JournalOptions) -> Result<Journal, JournalError> {
        while self.next_entry()?.is_some() {}
        self.make_last_group_durable()?;
        self.settle_inventory()?;
        self.delete_unused()?;
        let sealed: VecDeque<Sealed> = self.files.iter().map(JournalFile::to_sealed).collect();
        let first_lsn = self.expected.max(options.first_lsn);
        let beginning = Beginning {
            next_sequence: self.files.last().map_or(1, |file| file.sequence + 1),
            first_lsn,
            follows: self.expected,
            chain: self.chain,
        };
        let limits = SpareLimits {
            file_bytes: options.file_bytes_max,
            total_bytes: options.spare_bytes_max,
        };
        let files = Files::new(self.fs, self.dir.clone(), limits, sealed, self.inventory);
        files
            .adopt_spares()
            .map_err(JournalError::io("listing", &self.dir))?;
        let (shared, flusher) = flusher::start(beginning, files, options)
            .map_err(JournalError::io("starting the thread of", &self.dir))?;
        Ok(Journal { shared, flusher })
    }

    /// Begins to read the file.
    fn enter(&mut self, index: usize) -> Result<(), JournalError> {
        let file = &self.files[index];
        let Some(header) = file.header else {
            return Err(self.damaged_at(
                index,
                0,
                "the file's header is not sound, but later files are in use",
            ));
        };
        if header.follows != self.expected || header.previous_crc != self.chain {
            let reason = format!(
                "the file follows entry {} and not the file before, which ends before entry {}",
                header.follows, self.expected
            );
            return Err(self.damaged_at(index, 0, &reason));
        }
        self.reader = Some(Reader::open(&*self.fs, &file.path, file.len)?);
        self.current = index;
        self.position = FILE_HEADER_LEN as u64;
        self.expected = header.first_lsn;
        self.last_group = None;
        self.chain = header.crc();
        Ok(())
    }

    /// Reads the next group into `group`; `false` at the end of the journal.
    fn next_group(&mut self) -> Result<bool, JournalError> {
        loop {
            let next_header = self
                .files
                .get(self.current + 1)
                .and_then(|file| file.header);
            // A later generation knows where the one before it ended.
            if next_header.is_some_and(|next| next.follows == self.expected) {
                self.enter(self.current + 1)?;
                continue;
            }
            if self.read_group()? {
                return Ok(true);
            }
            if let Some(next) = next_header {
                let reason = format!(
                    "a sound group with entry {} should stand here: the next file follows up to entry {}",
                    self.expected, next.follows
                );
                return Err(self.damaged_at(self.current, self.position, &reason));
            }
            self.check_torn_end()?;
            self.ended = true;
            return Ok(false);
        }
    }

    /// Reads the group at the position; `false` when there is none that is sound and the next.
    fn read_group(&mut self) -> Result<bool, JournalError> {
        let position = self.position;
        let file = &self.files[self.current];
        let Some(reader) = self.reader.as_mut() else {
            return Ok(false);
        };
        let Some((header, crc)) = reader.sound_group(position)? else {
            return Ok(false);
        };
        let follows = Some(header.generation) == file.generation
            && header.first_lsn == self.expected
            && header.previous_crc == self.chain;
        if !follows {
            return Ok(false);
        }
        let end = header.len_unpadded() as usize;
        let body = reader
            .bytes(position, end)?
            .map_or(&[][..], |group| &group[GROUP_HEADER_LEN..]);
        self.group.clear();
        self.group.extend_from_slice(body);
        check_entries(body, header.entries).map_err(|reason| JournalError::Damaged {
            path: file.path.clone(),
            position,
            reason,
        })?;
        self.group_at = 0;
        self.next_lsn = self.expected;
        self.expected = header.last_lsn().next();
        self.chain = crc;
        self.last_group = Some((position, header.len_unpadded()));
        self.position += header.len_padded();
        self.files[self.current].last_lsn = Some(header.last_lsn());
        Ok(true)
    }

    /// The journal ends at the position, unless a later group proves that more was flushed.
    fn check_torn_end(&mut self) -> Result<(), JournalError> {
        for index in self.current..self.files.len() {
            let file = &self.files[index];
            let mut reader = Reader::open(&*self.fs, &file.path, file.len)?;
            let from = if index == self.current {
                self.position
            } else {
                FILE_HEADER_LEN as u64
            };
            let mut at = from;
            while let Some((found, header)) = reader.find_sound_group(at)? {
                if file.may_be_current(header.generation) && header.flushed_lsn >= self.expected {
                    let reason = format!(
                        "entry {} is missing, and the group at position {found} of {} says that all up to {} was flushed",
                        self.expected,
                        file.path.display(),
                        header.flushed_lsn
                    );
                    let (index, position) = self.missing_place(index)?;
                    return Err(self.damaged_at(index, position, &reason));
                }
                at = found + header.len_padded();
            }
        }
        Ok(())
    }

    /// Where the expected entry should stand, when a group in that file proves that it was flushed:
    /// behind the last group, or in the next file, if the last file was left without a beginning.
    fn missing_place(&mut self, proof: usize) -> Result<(usize, u64), JournalError> {
        let generation = self.files[self.current].generation;
        let begun = match self.reader.as_mut() {
            Some(reader) => reader
                .bytes(self.position, GROUP_HEADER_LEN)?
                .is_some_and(|head| match GroupHeader::decode(head) {
                    Some(header) => Some(header.generation) == generation,
                    None => head != [0; GROUP_HEADER_LEN],
                }),
            None => false,
        };
        match proof > self.current && !begun {
            true => Ok((self.current + 1, 0)),
            false => Ok((self.current, self.position)),
        }
    }

    /// No file has a sound header: either none was used, or the very first write was torn.
    fn check_unused(&self) -> Result<(), JournalError> {
        for (index, file) in self.files.iter().enumerate() {
            let mut reader = Reader::open(&*self.fs, &file.path, file.len)?;
            // The first group is written together with the header, so it may be there alone.
            let mut at = (FILE_HEADER_LEN + SECTOR) as u64;
            while let Some((found, header)) = reader.find_sound_group(at)? {
                if file.may_be_current(header.generation) {
                    let reason = format!(
                        "the file's header is missing or not sound, but the group at position {found} is"
                    );
                    return Err(self.damaged_at(index, 0, &reason));
                }
                at = found + header.len_padded();
            }
        }
        Ok(())
    }

    /// After a crash of the process alone, the end of the journal may be read from the page cache
    /// and not be on disk. It is written again (a sync that failed before the crash would leave
    /// the pages marked clean) and synced before anything is built on it.
    fn make_last_group_durable(&mut self) -> Result<(), JournalError> {
        let Some((position, len)) = self.last_group else {
            return Ok(());
        };
        let path = &self.files[self.current].path;
        let file = self
            .fs
            .open(path, OpenMode::ReadWrite)
            .map_err(JournalError::io("opening", path))?;
        let rewrite = |from: u64, len: u64| {
            let mut bytes = vec![0; usize::try_from(len).map_err(std::io::Error::other)?];
            file.read_exact_at(&mut bytes, from)?;
            file.write_at(&bytes, from)
        };
        // The first group of a file was written together with its header.
        let rewritten = rewrite(0, FILE_HEADER_LEN as u64).and_then(|()| rewrite(position, len));
        rewritten
            .and_then(|()| file.sync_data())
            .map_err(JournalError::io("syncing", path))
    }

    /// Makes durable which files were found.
    fn settle_inventory(&mut self) -> Result<(), JournalError> {
        let found = match (self.files.first(), self.files.last()) {
            (Some(oldest), Some(newest)) => Some(oldest.sequence..=newest.sequence),
            _ => None,
        };
        self.fs
            .sync_dir(&self.dir)
            .and_then(|()| self.inventory.settle(&*self.fs, found))
            .map_err(JournalError::io("noting the files of", &self.dir))
    }

    /// Deletes the files that hold no entry, so that the next file follows the last that does.
    fn delete_unused(&mut self) -> Result<(), JournalError> {
        while let Some(file) = self.files.pop_if(|file| file.last_lsn.is_none()) {
            self.inventory
                .take_out(&*self.fs, file.sequence)
                .map_err(JournalError::io("deleting", &file.path))?;
            self.fs
                .remove_file(&file.path)
                .map_err(JournalError::io("deleting", &file.path))?;
            self.fs
                .sync_dir(&self.dir)
                .map_err(JournalError::io("syncing", &self.dir))?;
            // Its header was whole, its first group was not: the next file takes its place.
            if let Some(header) = file.header {
                (self.chain, self.expected) = (header.previous_crc, header.follows);
            }
        }
        Ok(())
    }

    fn damaged_at(&self, index: usize, position: u64, reason: &str) -> JournalError {
        JournalError::Damaged {
            path: self.files[index].path.clone(),
            position,
            reason: reason.to_owned(),
        }
    }
}

impl JournalFile {
    /// Whether a group of this generation may be of the file's present use.
    fn may_be_current(&self, generation: u64) -> bool {
        self.generation.is_none_or(|own| own == generation)
    }

    fn to_sealed(&self) -> Sealed {
        let last_lsn = self.last_lsn.unwrap_or(Lsn::ZERO);
        Sealed {
            path: self.path.clone(),
            last_lsn,
            bytes: self.len,
        }
    }
}

fn list_files(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<JournalFile>, JournalError> {
    let entries = match fs.read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        result => result.map_err(JournalError::io("listing", dir))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let Some(sequence) = parse_file_name(&entry.name) else {
            continue;
        };
        let path = dir.join(&entry.name);
        let file = fs
            .open(&path, OpenMode::Read)
            .map_err(JournalError::io("opening", &path))?;
        let mut sector = [0; FILE_HEADER_LEN];
        let whole = entry.len >= FILE_HEADER_LEN as u64;
        if whole {
            file.read_exact_at(&mut sector, 0)
                .map_err(JournalError::io("reading", &path))?;
        }
        let header = FileHeader::decode(&sector).filter(|header| header.sequence == sequence);
        let file_bytes = header.map_or(0, |header| header.file_bytes);
        // It has its name only when its first sector is durable, and is used only when its end is.
        if !whole || entry.len < file_bytes {
            let reason = format!(
                "the file has {} bytes instead of {}",
                entry.len,
                file_bytes.max(FILE_HEADER_LEN as u64)
            );
            return Err(JournalError::Damaged {
                path,
                position: entry.len,
                reason,
            });
        }
        files.push(JournalFile {
            path,
            sequence,
            len: entry.len,
            generation: header.map(|header| header.generation),
            header: header.filter(|header| !header.is_reservation()),
            last_lsn: None,
        });
    }
    files.sort_by_key(|file| file.sequence);
    Ok(files)
}

/// Files are deleted from the oldest only, so a gap means that one is lost.
fn check_no_file_is_missing(files: &[JournalFile]) -> Result<(), JournalError> {
    for pair in files.windows(2) {
        if pair[1].sequence != pair[0].sequence + 1 {
            return Err(JournalError::Damaged {
                path: pair[1].path.clone(),
                position: 0,
                reason: format!(
                    "the file before it is missing; the last there is {}",
                    pair[0].path.display()
                ),
            });
        }
    }
    Ok(())
}

/// The oldest and the newest file that are noted must be there.
fn check_ends_are_there(
    files: &[JournalFile],
    dir: &Path,
    inventory: &Inventory,
) -> Result<(), JournalError> {
    let is_there = |number: &u64| files.iter().any(|file| file.sequence == *number);
    let mut ends = inventory
        .numbers()
        .into_iter()
        .flat_map(|numbers| [*numbers.start(), *numbers.end()]);
    match ends.find(|number| !is_there(number)) {
        Some(missing) => Err(JournalError::Damaged {
            path: dir.join(file_name(missing)),
            position: 0,
            reason: format!(
                "the file is missing; {} says that it is in use",
                inventory.path().display()
            ),
        }),
        None => Ok(()),
    }
}

/// The body of a sound group must be exactly its entries; otherwise its numbers would lie.
fn check_entries(mut body: &[u8], entries: u32) -> Result<(), String> {
    for _ in 0..entries {
        let (_, len) = EntryRef::decode(body)?;
        body = &body[len..];
    }
    match body.len() {
        0 => Ok(()),
        left => Err(format!("{left} bytes follow the last entry of a group")),
    }
}
