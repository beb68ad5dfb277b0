//! Builds a plugin's crate with cargo, which decides what has to be compiled again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{CommandError, run};
use crate::fresh::{Note, Stamp};
use crate::metadata::Metadata;
use crate::recipe::{Recipe, registries};
use crate::sdk::{SdkError, provide};
use crate::setup::{SetupError, setup};
use crate::shared::Shared;
use crate::toolchain::Toolchain;

/// Target directory of plugin builds inside the workspace's own, so that the two do not undo each other's work.
const TARGET_DIRECTORY: &str = "wasm-plugins";

/// Builds plugins.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    /// Where notes about builds are kept, and what plugins share; made when it is missing.
    pub cache_dir: PathBuf,
    /// Never install a toolchain.
    pub no_setup: bool,
    /// `None`: the one that is found, or set up.
    pub toolchain: Option<Toolchain>,
    /// Leave the names of functions out: a third of a small module.
    pub without_names: bool,
}

/// A finished build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    pub wasm: PathBuf,
    /// Nothing had to be compiled.
    pub fresh: bool,
}

/// Why there is no wasm file.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{path} is not the directory of a Rust crate: it has no Cargo.toml")]
    NotACrate { path: PathBuf },
    #[error(transparent)]
    Sdk(#[from] SdkError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Cargo(#[from] CommandError),
    #[error("cargo does not know the crate in {path}: {reason}")]
    Metadata { path: PathBuf, reason: String },
    #[error(
        "the crate {name} in {path} does not make a module: add\n\n    [lib]\n    crate-type = [\"cdylib\", \"rlib\"]\n\n\
         to its Cargo.toml"
    )]
    NoCdylib { name: String, path: PathBuf },
    #[error("cannot keep what builds need in {path}: {source}")]
    Keep { path: PathBuf, source: io::Error },
}

impl Builder {
    /// Builds the crate in `crate_dir`, unless nothing changed since the last build. `report` gets each command before
    /// it runs; cargo's own output goes to standard error.
    pub fn build(
        &self,
        crate_dir: &Path,
        report: &mut dyn FnMut(&str),
    ) -> Result<Built, BuildError> {
        let crate_dir = std::path::absolute(crate_dir).unwrap_or_else(|_| crate_dir.to_owned());
        if !crate_dir.join("Cargo.toml").is_file() {
            return Err(BuildError::NotACrate { path: crate_dir });
        }
        let note_path = self.note_path(&crate_dir);
        if let Some(note) = Note::read(&note_path)
            && note.holds()
        {
            return Ok(Built {
                wasm: note.wasm,
                fresh: true,
            });
        }
        provide(&crate_dir)?;
        let toolchain = match &self.toolchain {
            Some(toolchain) => toolchain.clone(),
            None => setup(&crate_dir, self.no_setup, report)?,
        };
        let metadata = Metadata::read(&toolchain, &crate_dir)?;
        let built = self.compile(&toolchain, &metadata, &crate_dir, report)?;
        if let Some(note) = Note::of_build(&built.wasm, &crate_dir, &metadata.workspace_root) {
            let kept =
                std::fs::create_dir_all(&self.cache_dir).and_then(|()| note.write(&note_path));
            kept.map_err(keep(&self.cache_dir))?;
        }
        Ok(built)
    }

    fn compile(
        &self,
        toolchain: &Toolchain,
        metadata: &Metadata,
        crate_dir: &Path,
        report: &mut dyn FnMut(&str),
    ) -> Result<Built, BuildError> {
        let package = metadata.package_of(crate_dir)?;
        let library = package.library()?;
        let shared = match metadata.is_alone(package) {
            true => Some(Shared::take(&self.cache_dir, report).map_err(keep(&self.cache_dir))?),
            false => None,
        };
        let target_dir = metadata.target_directory.join(TARGET_DIRECTORY);
        let recipe = Recipe {
            toolchain: toolchain.settings(),
            target_dir: target_dir.join(toolchain.slug()),
            build_dir: shared.as_ref().map(|shared| shared.folder().to_owned()),
            renamed: registries(),
            without_names: self.without_names,
        };
        let settings = recipe.write().map_err(keep(&recipe.target_dir))?;
        let wasm = recipe.module(&library);
        let before = Stamp::of(&wasm);
        if let Some(shared) = &shared {
            shared.forget(&library).map_err(keep(shared.folder()))?;
        }
        run(&mut build_command(toolchain, crate_dir, &settings), report)?;
        let fresh = before.is_some() && Stamp::of(&wasm) == before;
        Ok(Built { wasm, fresh })
    }

    fn note_path(&self, crate_dir: &Path) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        crate_dir.hash(&mut hasher);
        self.cache_dir
            .join(format!("{:016x}.json", hasher.finish()))
    }
}

fn keep(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Keep { path, source }
}

fn build_command(toolchain: &Toolchain, crate_dir: &Path, settings: &Path) -> Command {
    let mut cargo = toolchain.cargo();
    cargo
        .args(["build", "--release", "--lib", "--config"])
        .arg(settings.strip_prefix(crate_dir).unwrap_or(settings))
        .current_dir(crate_dir)
        .stdout(Stdio::null());
    // Flags meant for the host's build do not fit wasm, and folders named there would be stronger than the settings.
    for host in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_BUILD_BUILD_DIR",
    ] {
        cargo.env_remove(host);
    }
    cargo
}
