//! Copies of damaged segments, for people to look at: nothing reads them.
//!
//! `<segment>.<kind>.<number>.damaged`: the number tells apart what was copied at different times.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{FileSystem, OpenMode};
use crate::segment::{SegmentFile, path_of};

/// Copied at once.
const COPY_BYTES: usize = 256 << 10;
/// The files of a segment that say something of its batches.
const KINDS: [SegmentFile; 5] = [
    SegmentFile::Log,
    SegmentFile::OffsetIndex,
    SegmentFile::TimeIndex,
    SegmentFile::AbortedIndex,
    SegmentFile::Checksums,
];

/// Copies the files of the segment at `base_offset`, durably. Those that a repair before this one has copied, and that
/// are as they were then, are left as they are. Returns the copy of the batches; none when their file is gone.
pub(super) fn keep_copy(
    fs: &dyn FileSystem,
    dir: &Path,
    base_offset: i64,
) -> io::Result<Option<PathBuf>> {
    let names: Vec<String> = fs.read_dir(dir)?.into_iter().map(|one| one.name).collect();
    let mut copied = None;
    for kind in KINDS {
        let path = path_of(dir, base_offset, kind);
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| names.iter().any(|one| one == name)) else {
            continue;
        };
        let number = (0..).find(|number| !names.contains(&copy_name(name, *number)));
        let number = number.expect("a directory has fewer files");
        let former = number
            .checked_sub(1)
            .map(|one| dir.join(copy_name(name, one)));
        let copy = match former {
            Some(former) if has_same_bytes(fs, &path, &former)? => former,
            _ => {
                let copy = dir.join(copy_name(name, number));
                copy_file(fs, &path, &copy)?;
                copy
            }
        };
        if kind == SegmentFile::Log {
            copied = Some(copy);
        }
    }
    fs.sync_dir(dir)?;
    Ok(copied)
}

fn copy_name(name: &str, number: u32) -> String {
    format!("{name}.{number}.damaged")
}

/// Under its name the copy is whole.
fn copy_file(fs: &dyn FileSystem, from: &Path, to: &Path) -> io::Result<()> {
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let source = fs.open(from, OpenMode::Read)?;
    let copy = fs.open(&temporary, OpenMode::Create)?;
    copy.set_len(0)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    loop {
        let read = source.read_at(&mut buffer, at)?;
        if read == 0 {
            break;
        }
        copy.write_at(&buffer[..read], at)?;
        at += read as u64;
    }
    copy.sync_data()?;
    fs.rename(&temporary, to)
}

fn has_same_bytes(fs: &dyn FileSystem, one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (
        fs.open(one, OpenMode::Read)?,
        fs.open(other, OpenMode::Read)?,
    );
    let len = one.len()?;
    if len != other.len()? {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
    let mut at = 0;
    while at < len {
        let count = usize::try_from(len - at).map_or(COPY_BYTES, |rest| rest.min(COPY_BYTES));
        one.read_exact_at(&mut left[..count], at)?;
        other.read_exact_at(&mut right[..count], at)?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SimFs;

    #[test]
    fn each_damage_is_copied_once() {
        let fs = SimFs::new(1);
        let dir = Path::new("/data/flights-0");
        fs.create_dir_all(dir).unwrap();
        let path = path_of(dir, 7, SegmentFile::Log);
        let write = |bytes: &[u8]| {
            let file = fs.open(&path, OpenMode::Create).unwrap();
            file.set_len(0).unwrap();
            file.write_at(bytes, 0).unwrap();
        };
        write(b"first");
        let first = keep_copy(&fs, dir, 7).unwrap().unwrap();
        assert_eq!(first, dir.join("00000000000000000007.log.0.damaged"));
        assert_eq!(keep_copy(&fs, dir, 7).unwrap().unwrap(), first);
        write(b"again");
        let second = keep_copy(&fs, dir, 7).unwrap().unwrap();
        assert_eq!(second, dir.join("00000000000000000007.log.1.damaged"));
        assert_eq!(fs.read(&first, 100).unwrap(), b"first");
        assert_eq!(fs.read(&second, 100).unwrap(), b"again");
        assert_eq!(keep_copy(&fs, dir, 8).unwrap(), None);
    }
}
