//! `journal.files`, beside the journal's directory: the numbers of the oldest and the newest file that must be there, so
//! that a start misses one that is gone. What lies between them would be missed by its number.
//!
//! ```text
//!  0  magic "MSJFILES"
//!  8  oldest u64
//! 16  newest u64
//! 24  CRC-32C of 0..24
//! ```
//!
//! A file is noted when it is durable with its name, before it is used, and its number is taken out before it goes. The
//! note lies within one sector, so it is the old one or the new one. When it is not there or not sound, nothing is missed.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::fs::{FileSystem, OpenMode};

const MAGIC: &[u8; 8] = b"MSJFILES";
const CRC_AT: usize = 24;
const BYTES: usize = 28;

/// The numbers of the files that must be there.
pub(super) type Numbers = RangeInclusive<u64>;

/// The note beside a journal's directory, and what it says.
#[derive(Debug)]
pub(super) struct Inventory {
    path: PathBuf,
    numbers: Option<Numbers>,
}

impl Inventory {
    /// Reads the note of a journal's directory.
    pub fn read(fs: &dyn FileSystem, dir: &Path) -> io::Result<Inventory> {
        let mut path = dir.as_os_str().to_owned();
        path.push(".files");
        let path = PathBuf::from(path);
        let numbers = match fs.read(&path, BYTES as u64) {
            Ok(bytes) => decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // It is longer.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(error) => return Err(error),
        };
        Ok(Inventory { path, numbers })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn numbers(&self) -> Option<&Numbers> {
        self.numbers.as_ref()
    }

    /// Notes the files that a start has found, which are durable with their names. What it has read of a process that was
    /// killed may not be on the disk, or may be what is left of a failed write; a former note must not come back.
    pub fn settle(&mut self, fs: &dyn FileSystem, found: Option<Numbers>) -> io::Result<()> {
        match found {
            Some(numbers) => {
                self.numbers = Some(numbers.clone());
                self.replace(fs, numbers)
            }
            None => self.remove(fs),
        }
    }

    /// Notes a file, the newest there is, durably. After an error the note may have it all the same.
    pub fn add(&mut self, fs: &dyn FileSystem, number: u64) -> io::Result<()> {
        let oldest = self
            .numbers
            .as_ref()
            .map_or(number, |numbers| *numbers.start());
        let numbers = oldest..=number;
        self.numbers = Some(numbers.clone());
        self.replace(fs, numbers)
    }

    /// Takes out a file that is about to go, the oldest or the newest, durably.
    pub fn take_out(&mut self, fs: &dyn FileSystem, number: u64) -> io::Result<()> {
        let Some((oldest, newest)) = self.numbers.clone().map(RangeInclusive::into_inner) else {
            return Ok(());
        };
        let rest = match (number == oldest, number == newest) {
            (true, true) => return self.remove(fs),
            (true, false) => oldest + 1..=newest,
            (false, true) => oldest..=newest - 1,
            (false, false) => return Ok(()),
        };
        self.replace(fs, rest.clone())?;
        self.numbers = Some(rest);
        Ok(())
    }

    /// Removes the note, durably.
    pub fn remove(&mut self, fs: &dyn FileSystem) -> io::Result<()> {
        match fs.remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => {
                result?;
                self.sync_name(fs)?;
            }
        }
        self.numbers = None;
        Ok(())
    }

    fn replace(&self, fs: &dyn FileSystem, numbers: Numbers) -> io::Result<()> {
        let is_new = !fs.exists(&self.path)?;
        let file = fs.open(&self.path, OpenMode::Create)?;
        file.write_at(&encode(&numbers), 0)?;
        if file.len()? != BYTES as u64 {
            file.set_len(BYTES as u64)?;
        }
        file.sync_data()?;
        match is_new {
            true => self.sync_name(fs),
            false => Ok(()),
        }
    }

    fn sync_name(&self, fs: &dyn FileSystem) -> io::Result<()> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        fs.sync_dir(dir.unwrap_or(Path::new(".")))
    }
}

fn encode(numbers: &Numbers) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&numbers.start().to_le_bytes());
    bytes[16..CRC_AT].copy_from_slice(&numbers.end().to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Numbers> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let numbers = number(8)?..=number(16)?;
    (bytes == encode(&numbers)).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SimFs;

    const DIR: &str = "/journal";

    fn read(fs: &SimFs) -> Inventory {
        Inventory::read(fs, Path::new(DIR)).unwrap()
    }

    #[test]
    fn files_come_at_one_end_and_go_at_both() {
        let fs = SimFs::new(1);
        let mut inventory = read(&fs);
        assert_eq!(inventory.numbers(), None);
        for (number, expected) in [(4, 4..=4), (5, 4..=5), (6, 4..=6)] {
            inventory.add(&fs, number).unwrap();
            assert!(fs.all_is_durable());
            assert_eq!(read(&fs).numbers(), Some(&expected));
        }
        for (number, expected) in [
            (5, Some(4..=6)),
            (4, Some(5..=6)),
            (6, Some(5..=5)),
            (5, None),
        ] {
            inventory.take_out(&fs, number).unwrap();
            assert!(fs.all_is_durable());
            assert_eq!(read(&fs).numbers(), expected.as_ref());
            assert_eq!(inventory.numbers(), expected.as_ref());
        }
        inventory.take_out(&fs, 5).unwrap();
    }

    #[test]
    fn a_note_that_is_not_sound_says_nothing() {
        let fs = SimFs::new(1);
        read(&fs).add(&fs, u64::MAX).unwrap();
        let path = Path::new("/journal.files");
        for (at, byte) in (0..).zip(encode(&(u64::MAX..=u64::MAX))) {
            fs.damage(path, at, &[byte ^ 4]);
            assert_eq!(read(&fs).numbers(), None, "byte {at}");
            fs.damage(path, at, &[byte]);
        }
        fs.damage(path, BYTES as u64, &[0]);
        assert_eq!(read(&fs).numbers(), None);
        read(&fs).settle(&fs, Some(6..=7)).unwrap();
        assert_eq!(read(&fs).numbers(), Some(&(6..=7)));
        read(&fs).settle(&fs, None).unwrap();
        assert_eq!(read(&fs).numbers(), None);
        assert!(fs.all_is_durable());
    }
}
