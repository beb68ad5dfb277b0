//! The cache of compiled components: machine code, kept by the module's digest and the engine's compatibility hash in
//! a private directory.
//!
//! This is the one file that runs machine code which the process did not compile itself, and so the one that may call
//! wasmtime's unsafe `deserialize_file`. It is sound as far as nobody else can write into the directory: it is made
//! with mode 0700, refused unless it belongs to this user and has that mode, and never filled from anywhere but this
//! file (in the process that compiles: `compiler.rs`). Damage (a torn write, a bad disk) is caught by a checksum beside each artifact.
#![allow(unsafe_code)]

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

/// Counted up when what we make of a module changes (another componentizer), so that old artifacts are not used.
const RECIPE: u32 = 2;
/// Artifacts beyond this many push out the ones written longest ago.
const ARTIFACTS_MAX: usize = 256;

/// Compiled components on disk.
#[derive(Debug)]
pub struct ArtifactCache {
    directory: PathBuf,
    /// Settings, wasmtime version and processor features, hashed.
    compatibility: u64,
}

impl ArtifactCache {
    /// Makes the directory if it is missing. An error when another user could have written into it.
    pub fn open(directory: &Path, engine: &Engine) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory)?;
        let metadata = fs::symlink_metadata(directory)?;
        let private = metadata.is_dir()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.mode() & 0o077 == 0;
        if !private {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it must be a directory of this user with mode 0700, because it holds machine code",
            ));
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        RECIPE.hash(&mut hasher);
        Ok(Self {
            directory: directory.to_owned(),
            compatibility: hasher.finish(),
        })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.directory
            .join(format!("{digest}-{:016x}.cwasm", self.compatibility))
    }

    /// The component compiled before, if there is one and it is sound.
    pub fn get(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest);
        let bytes = fs::read(&path).ok()?;
        let sum = fs::read(path.with_extension("crc32c")).ok()?;
        if sum != checksum(&bytes) {
            tracing::warn!(path = %path.display(), "a compiled plugin is damaged and is compiled again");
            return None;
        }
        // SAFETY: the file was written by `put` of a process of this user from what wasmtime serialized (nobody else
        // can write into the directory, see `open`), and its checksum says that it is whole. An artifact of another
        // wasmtime or with other settings has another name, and wasmtime compares both once more itself.
        let component = unsafe { Component::deserialize_file(engine, &path) };
        match component {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled plugin does not fit and is compiled again");
                None
            }
        }
    }

    /// Keeps a compiled component. Each file appears under its name only when it is whole and on disk.
    pub fn put(&self, digest: &str, component: &Component) -> io::Result<()> {
        let bytes = component
            .serialize()
            .map_err(|error| io::Error::other(error.to_string()))?;
        let path = self.path(digest);
        self.write(&path, &bytes)?;
        self.write(&path.with_extension("crc32c"), &checksum(&bytes))?;
        self.make_room()
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let thread = std::thread::current().id();
        let temporary = self
            .directory
            .join(format!(".{name}.{}.{thread:?}", std::process::id()));
        let written = (|| {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        })();
        if written.is_err() {
            // The first error is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Removes the oldest artifacts beyond `ARTIFACTS_MAX`. A process that has one mapped keeps it.
    fn make_room(&self) -> io::Result<()> {
        let mut artifacts = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "cwasm")
            {
                artifacts.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        artifacts.sort();
        for (_, path) in artifacts
            .iter()
            .take(artifacts.len().saturating_sub(ARTIFACTS_MAX))
        {
            fs::remove_file(path)?;
            fs::remove_file(path.with_extension("crc32c"))?;
        }
        Ok(())
    }
}

fn checksum(bytes: &[u8]) -> [u8; 12] {
    let mut sum = [0; 12];
    sum[..8].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    sum[8..].copy_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    sum
}
