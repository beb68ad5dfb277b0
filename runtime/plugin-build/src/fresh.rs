//! Remembers what a build read, so that a start does not have to ask cargo (and rustc, and rustup) whether anything
//! changed: that takes longer than all the rest of a start. Any doubt means that cargo is asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Counted up when the way of building changes, so that old notes do not count.
const RECIPE: u32 = 3;

/// A note about the last build of a crate.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    recipe: u32,
    pub wasm: PathBuf,
    /// Every file that decides what the wasm is: sources, manifests, the lock file, cargo's settings. A file that
    /// was not there is noted too.
    inputs: Vec<Input>,
    wasm_stamp: Stamp,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Input {
    path: PathBuf,
    /// `None`: there was no such file.
    stamp: Option<Stamp>,
}

/// Size and time of the last change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    bytes: u64,
    modified: SystemTime,
}

impl Stamp {
    /// `None`: there is no such file.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok()?,
        })
    }
}

impl Note {
    /// Writes down what the build read. `depfile` is cargo's list of sources. `None`: it cannot be told.
    pub fn of_build(wasm: &Path, crate_dir: &Path, workspace_root: &Path) -> Option<Self> {
        let depfile = fs::read_to_string(wasm.with_extension("d")).ok()?;
        let mut paths = sources(&depfile);
        let mut directories: Vec<&Path> = vec![workspace_root];
        directories.extend(paths.iter().filter_map(|path| crate_root(path)));
        let mut manifests: Vec<PathBuf> = directories
            .iter()
            .map(|directory| directory.join("Cargo.toml"))
            .collect();
        manifests.push(workspace_root.join("Cargo.lock"));
        manifests.push(workspace_root.join("rust-toolchain.toml"));
        for directory in crate_dir.ancestors() {
            manifests.push(directory.join(".cargo/config.toml"));
        }
        paths.append(&mut manifests);
        paths.sort();
        paths.dedup();
        let inputs = paths
            .into_iter()
            .map(|path| Input {
                stamp: Stamp::of(&path),
                path,
            })
            .collect();
        Some(Self {
            recipe: RECIPE,
            wasm: wasm.to_owned(),
            inputs,
            wasm_stamp: Stamp::of(wasm)?,
        })
    }

    /// True while the wasm and everything that it was made of are as they were.
    pub fn holds(&self) -> bool {
        self.recipe == RECIPE
            && Stamp::of(&self.wasm).as_ref() == Some(&self.wasm_stamp)
            && self
                .inputs
                .iter()
                .all(|input| Stamp::of(&input.path) == input.stamp)
    }

    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let temporary = path.with_extension(format!("{}", std::process::id()));
        fs::write(&temporary, text)?;
        fs::rename(&temporary, path)
    }
}

/// The directory above `src/`, where a source's manifest stands.
fn crate_root(source: &Path) -> Option<&Path> {
    source
        .ancestors()
        .skip(1)
        .find(|directory| directory.join("Cargo.toml").is_file())
}

/// The prerequisites of a makefile rule; blanks in names are escaped.
fn sources(depfile: &str) -> Vec<PathBuf> {
    let Some((_, list)) = depfile
        .lines()
        .next()
        .and_then(|line| line.split_once(": "))
    else {
        return Vec::new();
    };
    let mut paths = Vec::new();
    let mut path = String::new();
    let mut characters = list.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => path.extend(characters.next()),
            ' ' => paths.push(PathBuf::from(std::mem::take(&mut path))),
            other => path.push(other),
        }
    }
    paths.push(PathBuf::from(path));
    paths.retain(|path| !path.as_os_str().is_empty());
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_depfile_is_read_with_blanks_in_names() {
        let depfile = "/t/x.wasm: /a/src/lib.rs /b\\ c/src/lib.rs\n\n/other: y\n";
        assert_eq!(
            sources(depfile),
            [
                PathBuf::from("/a/src/lib.rs"),
                PathBuf::from("/b c/src/lib.rs")
            ]
        );
    }

    #[test]
    fn a_note_holds_until_something_changes_appears_or_goes() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("src")).unwrap();
        let (wasm, source) = (root.join("x.wasm"), root.join("src/lib.rs"));
        fs::write(&wasm, "wasm").unwrap();
        fs::write(&source, "one").unwrap();
        fs::write(root.join("Cargo.toml"), "").unwrap();
        fs::write(
            root.join("x.d"),
            format!("{}: {}\n", wasm.display(), source.display()),
        )
        .unwrap();
        let path = root.join("note.json");
        let note = || Note::of_build(&wasm, root, root).unwrap();
        note().write(&path).unwrap();
        assert!(Note::read(&path).unwrap().holds());

        fs::write(&source, "three").unwrap();
        assert!(!Note::read(&path).unwrap().holds());
        let renewed = note();
        assert!(renewed.holds());
        fs::write(root.join("Cargo.lock"), "").unwrap();
        assert!(!renewed.holds());
        let renewed = note();
        assert!(renewed.holds());
        fs::remove_file(&wasm).unwrap();
        assert!(!renewed.holds());
    }
}
