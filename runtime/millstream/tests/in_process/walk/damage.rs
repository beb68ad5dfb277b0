//! What can be done to a file.

use std::fmt;
use std::path::{Path, PathBuf};

use millstream_log::fs::{FileSystem, OpenMode};
use millstream_log::testing::{Random, SimFs};

use super::node::{Base, DATA};

/// Of larger files only some bits are flipped.
const WHOLE_BYTES_MAX: usize = 4096;
const SAMPLED_BITS: u64 = 2000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// The file, or the directory with all in it.
    Deleted,
    Emptied,
    /// To so many bytes.
    Cut(usize),
    /// This bit, counted from the first byte's lowest.
    Flipped(usize),
}

/// One damage to one file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub path: PathBuf,
    pub damage: Damage,
    is_dir: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.path.display(), self.damage)
    }
}

/// Everything below a directory: files with their bytes, directories without.
fn tree(fs: &SimFs, dir: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in fs.read_dir(dir).unwrap() {
        let path = dir.join(&entry.name);
        match entry.is_dir {
            true => {
                found.extend(tree(fs, &path));
                found.push((path, None));
            }
            false => {
                let bytes = fs.read(&path, 1 << 30).unwrap();
                found.push((path, Some(bytes)));
            }
        }
    }
    found
}

/// All cases of a stopped node.
pub fn cases(base: &Base) -> Vec<Case> {
    let mut random = Random::new(7);
    let mut cases = Vec::new();
    for (path, content) in tree(&base.fs, Path::new(DATA)) {
        let is_dir = content.is_none();
        let mut add = |damage| {
            let path = path.clone();
            cases.push(Case {
                path,
                damage,
                is_dir,
            });
        };
        add(Damage::Deleted);
        let Some(bytes) = content.filter(|bytes| !bytes.is_empty()) else {
            continue;
        };
        add(Damage::Emptied);
        let mut cuts = vec![1, bytes.len() / 2, bytes.len() - 1];
        cuts.dedup();
        cuts.into_iter()
            .filter(|to| *to > 0)
            .for_each(|to| add(Damage::Cut(to)));
        let bits = 8 * bytes.len();
        match bytes.len() <= WHOLE_BYTES_MAX {
            true => (0..bits).for_each(|bit| add(Damage::Flipped(bit))),
            false => {
                // What is not zero says more.
                let written: Vec<usize> = (0..bits).filter(|bit| bytes[bit / 8] != 0).collect();
                for nth in 0..SAMPLED_BITS {
                    let bit = match nth % 4 {
                        0 => random.below(bits as u64) as usize,
                        _ => written[random.below(written.len() as u64) as usize],
                    };
                    add(Damage::Flipped(bit));
                }
            }
        }
    }
    cases
}

impl Case {
    /// Whether it is more than a bit.
    pub fn is_coarse(&self) -> bool {
        !matches!(self.damage, Damage::Flipped(_) | Damage::Cut(_))
    }

    pub fn do_to(&self, fs: &SimFs) {
        let open = || fs.open(&self.path, OpenMode::ReadWrite).unwrap();
        match self.damage {
            Damage::Deleted if self.is_dir => fs.remove_dir_all(&self.path).unwrap(),
            Damage::Deleted => fs.remove_file(&self.path).unwrap(),
            Damage::Emptied => open().set_len(0).unwrap(),
            Damage::Cut(to) => open().set_len(to as u64).unwrap(),
            Damage::Flipped(bit) => flip(fs, &self.path, bit),
        }
        fs.sync_filesystem(&self.path).unwrap();
    }

    /// Puts back what was damaged, as somebody does who has a copy. Nothing when the node has written there since: the copy
    /// is older then.
    pub fn undo(&self, fs: &SimFs, base: &Base) -> bool {
        if self.is_dir {
            let is_free = !fs.exists(&self.path).unwrap();
            if is_free {
                put_back_dir(fs, base, &self.path);
            }
            return is_free;
        }
        let whole = base.fs.read(&self.path, 1 << 30).unwrap();
        let present = fs.read(&self.path, 1 << 30).ok();
        if let Damage::Flipped(bit) = self.damage {
            let is_flipped = present.is_some_and(|present| {
                let before: Vec<u8> = whole
                    .iter()
                    .enumerate()
                    .map(|(at, byte)| flipped(at, *byte, bit))
                    .collect();
                present.starts_with(&before)
            });
            if is_flipped {
                flip(fs, &self.path, bit);
            }
            return is_flipped;
        }
        let left = match self.damage {
            Damage::Deleted => None,
            Damage::Emptied => Some(Vec::new()),
            Damage::Cut(to) => Some(whole[..to].to_vec()),
            Damage::Flipped(_) => unreachable!("handled above"),
        };
        if present != left {
            return false;
        }
        write(fs, &self.path, &whole);
        true
    }
}

fn put_back_dir(fs: &SimFs, base: &Base, dir: &Path) {
    fs.create_dir_all(dir).unwrap();
    for (path, content) in tree(&base.fs, dir) {
        if let Some(bytes) = content {
            write(fs, &path, &bytes);
        }
    }
    fs.sync_filesystem(dir).unwrap();
}

fn write(fs: &SimFs, path: &Path, bytes: &[u8]) {
    if let Some(dir) = path.parent() {
        fs.create_dir_all(dir).unwrap();
    }
    let file = fs.open(path, OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_at(bytes, 0).unwrap();
    fs.sync_filesystem(path).unwrap();
}

fn flip(fs: &SimFs, path: &Path, bit: usize) {
    let bytes = fs.read(path, 1 << 30).unwrap();
    fs.damage(
        path,
        bit as u64 / 8,
        &[flipped(bit / 8, bytes[bit / 8], bit)],
    );
}

/// The byte at this place with the bit flipped, if it has it.
fn flipped(at: usize, byte: u8, bit: usize) -> u8 {
    match at == bit / 8 {
        true => byte ^ (1 << (bit % 8)),
        false => byte,
    }
}
