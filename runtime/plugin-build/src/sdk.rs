//! The SDK's sources, which are part of this program. A plugin's crate takes them from the user's cache, where each
//! version lies in a folder of its own: `sdk/<version>-<digest of the sources>`.

mod dependency;
mod manifest;
mod unpack;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

pub(crate) use dependency::provide;

pub(crate) mod packed {
    include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
}

/// The crate that a plugin depends on.
pub(crate) const CRATE: &str = "millstream-sdk";
/// The folder of all versions, in the cache.
const FOLDER: &str = "sdk";
/// Digits of the digest in a version's name.
const DIGEST_DIGITS: usize = 16;

/// An SDK that is unpacked, whole and of this program's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sdk {
    root: PathBuf,
}

/// Why a plugin's crate has no SDK.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    #[error("the SDK cannot be unpacked: {path}: {source}")]
    Unpack {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "the SDK cannot be unpacked: the path {path:?} is not UTF-8, as those in a Cargo.toml are; name another \
         --cache-dir"
    )]
    NotText { path: PathBuf },
    #[error(
        "{sdk} is not there: the plugin in {crate_dir} is made for the SDK of another Millstream or of another \
         machine. `millstream plugin sdk {crate_dir}` gives it the one of this Millstream."
    )]
    Gone { sdk: PathBuf, crate_dir: PathBuf },
    #[error("{path} cannot be changed: {reason}")]
    Manifest { path: PathBuf, reason: String },
}

impl Sdk {
    /// The SDK in `cache`. It is unpacked unless it is there; what is damaged there is replaced.
    pub fn unpacked(cache: &Path) -> Result<Self, SdkError> {
        let cache = std::path::absolute(cache).unwrap_or_else(|_| cache.to_owned());
        let root = cache.join(FOLDER).join(version());
        if root.to_str().is_none() {
            return Err(SdkError::NotText { path: root });
        }
        unpack::unpack(&root)?;
        Ok(Self { root })
    }

    /// The folder of the crate `millstream-sdk`.
    pub fn crate_dir(&self) -> PathBuf {
        self.root.join("rust")
    }

    /// Makes the plugin's crate in `crate_dir` depend on this SDK instead of the one that it names.
    pub fn use_in(&self, crate_dir: &Path) -> Result<(), SdkError> {
        dependency::set(crate_dir, &self.crate_dir())
    }

    /// The path as a Cargo.toml names it.
    pub(crate) fn quoted_path(&self) -> String {
        dependency::quoted(&self.crate_dir())
    }
}

/// One file of the SDK, as it is unpacked.
#[derive(Debug)]
pub struct SdkFile {
    /// From the SDK's folder.
    pub path: &'static str,
    pub bytes: Cow<'static, [u8]>,
}

/// The manifest of a crate in `folder` of our workspace, without what it inherits and what only its tests need.
pub fn stand_alone_manifest(manifest: &str, folder: &str) -> Result<String, String> {
    manifest::stand_alone(manifest, packed::WORKSPACE_MANIFEST, folder)
}

/// All files of the SDK, in order of path. Manifests stand alone: they inherit nothing from our workspace.
pub fn files() -> &'static [SdkFile] {
    static FILES: LazyLock<Vec<SdkFile>> = LazyLock::new(|| {
        let files = packed::SDK_FILES.iter();
        files.map(|(path, bytes)| unpacked(path, bytes)).collect()
    });
    &FILES
}

fn unpacked(path: &'static str, bytes: &'static [u8]) -> SdkFile {
    let bytes = match path.strip_suffix("/Cargo.toml") {
        Some(folder) => {
            let text = std::str::from_utf8(bytes).expect("a manifest of ours is text");
            let alone = stand_alone_manifest(text, folder)
                .unwrap_or_else(|reason| panic!("plugin-sdk/{path}: {reason}"));
            Cow::Owned(alone.into_bytes())
        }
        None => Cow::Borrowed(bytes),
    };
    SdkFile { path, bytes }
}

/// The name of this program's SDK among the others in a cache.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let mut hasher = Sha256::new();
        for file in files() {
            hasher.update(file.path);
            hasher.update([0]);
            hasher.update((file.bytes.len() as u64).to_le_bytes());
            hasher.update(&file.bytes);
        }
        let digest = hex(&hasher.finalize());
        format!("{}-{}", env!("CARGO_PKG_VERSION"), &digest[..DIGEST_DIGITS])
    });
    &VERSION
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packed_files_are_those_that_a_build_needs() {
        let paths: Vec<_> = files().iter().map(|file| file.path).collect();
        for needed in [
            "frames/Cargo.toml",
            "frames/src/lib.rs",
            "rust/Cargo.toml",
            "rust/macros/Cargo.toml",
            "rust/macros/src/lib.rs",
            "rust/src/lib.rs",
            "wit/plugin.wit",
        ] {
            assert!(paths.contains(&needed), "no {needed} in {paths:?}");
        }
        let tests = paths.iter().find(|path| path.contains("tests"));
        assert_eq!(tests, None);
        assert!(paths.is_sorted());
    }

    #[test]
    fn no_manifest_inherits_and_every_path_leads_to_another_packed_crate() {
        for file in files() {
            let Some(folder) = file.path.strip_suffix("/Cargo.toml") else {
                continue;
            };
            let text = std::str::from_utf8(&file.bytes).unwrap();
            let manifest: toml::Table = text.parse().unwrap();
            assert!(!text.contains("workspace"), "{folder}: {text}");
            assert!(!manifest.contains_key("dev-dependencies"), "{text}");
            assert_eq!(
                manifest["package"]["edition"].as_str(),
                Some("2024"),
                "{text}"
            );
            let dependencies = manifest.get("dependencies").and_then(|one| one.as_table());
            let dependencies = dependencies.into_iter().flatten();
            for path in dependencies.filter_map(|(_, one)| one.get("path")?.as_str()) {
                let target = format!("{folder}/{path}/Cargo.toml");
                let target = lexical(&target);
                let packed = files().iter().any(|file| file.path == target);
                assert!(packed, "{folder} names {path}, which is {target}");
            }
        }
    }

    /// `a/../b` as `b`.
    fn lexical(path: &str) -> String {
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            if part == ".." {
                parts.pop().unwrap();
            } else {
                parts.push(part);
            }
        }
        parts.join("/")
    }
}
