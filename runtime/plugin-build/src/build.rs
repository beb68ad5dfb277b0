//! Builds a plugin's crate with cargo, which decides what has to be compiled again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::command::{CommandError, text};
use crate::fresh::Note;
use crate::sdk::{SdkError, provide};
use crate::setup::{SetupError, setup};
use crate::toolchain::{Toolchain, WASM_TARGET};

/// Settings of plugin builds, whatever the profile of the workspace says: small and fast modules without our own
/// assertions. Names of functions stay, for backtraces; they cost nothing at run time. Every host of ours has SIMD, and
/// it gives the same results everywhere.
pub const SETTINGS: [&str; 9] = [
    "profile.release.opt-level=3",
    "profile.release.lto=true",
    "profile.release.codegen-units=1",
    "profile.release.panic=\"abort\"",
    "profile.release.debug=false",
    "profile.release.strip=\"debuginfo\"",
    "profile.release.debug-assertions=false",
    "profile.release.overflow-checks=false",
    "target.wasm32-unknown-unknown.rustflags=[\"-Ctarget-feature=+simd128\"]",
];
/// Target directory of plugin builds inside the workspace's own, so that the two do not undo each other's work.
const TARGET_DIRECTORY: &str = "wasm-plugins";

/// Builds plugins.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    /// Where notes about builds are kept; made when it is missing.
    pub cache_dir: PathBuf,
    /// Never install a toolchain.
    pub no_setup: bool,
    /// `None`: the one that is found, or set up.
    pub toolchain: Option<Toolchain>,
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
    #[error("cannot keep build notes in {path}: {source}")]
    CacheDir {
        path: PathBuf,
        source: std::io::Error,
    },
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
        let package = metadata.package_of(&crate_dir)?;
        let built = compile(&toolchain, &metadata, package, report)?;
        if let Some(note) = Note::of_build(&built.wasm, &crate_dir, &metadata.workspace_root) {
            let kept =
                std::fs::create_dir_all(&self.cache_dir).and_then(|()| note.write(&note_path));
            kept.map_err(|source| BuildError::CacheDir {
                path: self.cache_dir.clone(),
                source,
            })?;
        }
        Ok(built)
    }

    fn note_path(&self, crate_dir: &Path) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        crate_dir.hash(&mut hasher);
        self.cache_dir
            .join(format!("{:016x}.json", hasher.finish()))
    }
}

/// What `cargo metadata` says, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

impl Metadata {
    fn read(toolchain: &Toolchain, crate_dir: &Path) -> Result<Self, BuildError> {
        let metadata = |reason: String| BuildError::Metadata {
            path: crate_dir.to_owned(),
            reason,
        };
        let mut cargo = toolchain.cargo();
        cargo.args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--manifest-path",
        ]);
        cargo
            .arg(crate_dir.join("Cargo.toml"))
            .current_dir(crate_dir);
        let output = cargo.stdin(Stdio::null()).output();
        let output = output.map_err(|source| CommandError::Start {
            command: text(&cargo),
            source,
        })?;
        if !output.status.success() {
            return Err(metadata(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| metadata(error.to_string()))
    }

    fn package_of(&self, crate_dir: &Path) -> Result<&Package, BuildError> {
        let same = |one: &Path, other: &Path| {
            one == other || one.canonicalize().ok() == other.canonicalize().ok()
        };
        let manifest = crate_dir.join("Cargo.toml");
        let package = self
            .packages
            .iter()
            .find(|package| same(&package.manifest_path, &manifest));
        package.ok_or_else(|| BuildError::Metadata {
            path: crate_dir.to_owned(),
            reason: "its Cargo.toml has no package".to_owned(),
        })
    }
}

/// One line of cargo's messages.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    fresh: bool,
}

fn compile(
    toolchain: &Toolchain,
    metadata: &Metadata,
    package: &Package,
    report: &mut dyn FnMut(&str),
) -> Result<Built, BuildError> {
    let crate_dir = package.manifest_path.parent().unwrap_or(Path::new("/"));
    let no_cdylib = || BuildError::NoCdylib {
        name: package.name.clone(),
        path: crate_dir.to_owned(),
    };
    let is_cdylib = |target: &&Target| target.crate_types.iter().any(|kind| kind == "cdylib");
    let library = package
        .targets
        .iter()
        .find(is_cdylib)
        .ok_or_else(no_cdylib)?;

    let mut cargo = build_command(toolchain, metadata, package);
    let command = text(&cargo);
    report(&command);
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|source| CommandError::Start {
        command: command.clone(),
        source,
    })?;
    if !output.status.success() {
        return Err(CommandError::Failed {
            command,
            status: output.status,
        }
        .into());
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let artifact = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .find_map(|message| {
            let of_library = message
                .target
                .as_ref()
                .is_some_and(|target| target.name == library.name);
            let is_wasm = |path: &PathBuf| {
                path.extension()
                    .is_some_and(|extension| extension == "wasm")
            };
            let wasm = message
                .filenames
                .into_iter()
                .find(is_wasm)
                .filter(|_| of_library)?;
            Some(Built {
                wasm,
                fresh: message.fresh,
            })
        });
    artifact.ok_or_else(no_cdylib)
}

fn build_command(toolchain: &Toolchain, metadata: &Metadata, package: &Package) -> Command {
    let mut cargo = toolchain.cargo();
    cargo
        .arg("build")
        .arg("--release")
        .args(toolchain.build_arguments());
    cargo
        .args(["--target", WASM_TARGET, "--lib", "--manifest-path"])
        .arg(&package.manifest_path);
    let target = metadata
        .target_directory
        .join(TARGET_DIRECTORY)
        .join(toolchain.slug());
    cargo.arg("--target-dir").arg(target);
    for setting in SETTINGS {
        cargo.args(["--config", setting]);
    }
    cargo.arg("--message-format=json-render-diagnostics");
    if let Some(crate_dir) = package.manifest_path.parent() {
        cargo.current_dir(crate_dir);
    }
    // Flags and wrappers meant for the host's build do not fit wasm.
    for host in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_RUSTFLAGS",
    ] {
        cargo.env_remove(host);
    }
    cargo
}
