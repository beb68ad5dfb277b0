//! Which compiler builds plugins: one that has the wasm target installed, or Debian's, which builds its own `std`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::output;

/// What plugins are built for.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";
/// Debian's packages of the toolchain that can build `std` for wasm.
pub(crate) const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_STD_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// A toolchain that can build plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The cargo of the PATH, whose rustc has the target's `std`.
    Installed,
    /// Debian's cargo and rustc, which build `std` from `rust-web-src`; `linker_dir` holds a `rust-lld`.
    DebianBuildStd { linker_dir: PathBuf },
}

impl Toolchain {
    /// Looks for one that is there, as seen from `directory` (a `rust-toolchain.toml` above it counts).
    pub fn find(directory: &Path) -> Option<Self> {
        Self::find_installed(directory).or_else(Self::find_debian)
    }

    pub(crate) fn find_installed(directory: &Path) -> Option<Self> {
        let mut rustc = Command::new("rustc");
        rustc
            .args(["--print", "target-libdir", "--target", WASM_TARGET])
            .current_dir(directory);
        let libraries = output(&mut rustc)?;
        has_std(Path::new(&libraries)).then_some(Self::Installed)
    }

    pub(crate) fn find_debian() -> Option<Self> {
        let there = [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_STD_SOURCE]
            .iter()
            .all(|path| Path::new(path).exists());
        if !there {
            return None;
        }
        Some(Self::DebianBuildStd {
            linker_dir: find_rust_lld()?,
        })
    }

    /// A cargo command of this toolchain, without its subcommand.
    pub(crate) fn cargo(&self) -> Command {
        match self {
            Self::Installed => Command::new("cargo"),
            Self::DebianBuildStd { linker_dir } => {
                let mut cargo = Command::new(DEBIAN_CARGO);
                cargo
                    .env("PATH", with_path(linker_dir))
                    .env("RUSTC", DEBIAN_RUSTC)
                    .env("RUSTC_BOOTSTRAP", "1");
                // A cargo that runs us leaves settings of its own toolchain behind.
                for leftover in [
                    "RUSTUP_TOOLCHAIN",
                    "CARGO",
                    "RUSTDOC",
                    "RUSTC_WRAPPER",
                    "LD_LIBRARY_PATH",
                ] {
                    cargo.env_remove(leftover);
                }
                cargo
            }
        }
    }

    /// Arguments of `cargo build` beside the crate's own.
    pub(crate) fn build_arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Installed => &[],
            Self::DebianBuildStd { .. } => &["-Zbuild-std=std,panic_abort"],
        }
    }

    /// Which compiler this is: two of the same identity make the same bytes of the same sources.
    pub fn identity(&self) -> String {
        let mut cargo = self.cargo();
        // Debian's cargo is told which rustc it starts; the other one starts that of the PATH.
        let rustc = cargo
            .get_envs()
            .find_map(|(name, value)| value.filter(|_| name == "RUSTC"));
        let mut rustc = Command::new(rustc.unwrap_or("rustc".as_ref()));
        let version = output(rustc.arg("--version")).unwrap_or_else(|| "rustc".to_owned());
        let cargo = output(cargo.arg("--version")).unwrap_or_else(|| "cargo".to_owned());
        match self {
            Self::Installed => format!("{version}, {cargo}"),
            Self::DebianBuildStd { .. } => format!("{version}, {cargo}, std built from source"),
        }
    }

    /// For file names: artifacts of two toolchains do not mix.
    pub(crate) fn slug(&self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::DebianBuildStd { .. } => "debian",
        }
    }
}

/// True when a target's library directory holds `std`.
fn has_std(libraries: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(libraries) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

/// The directory of rustup's `rust-lld`, which Debian's rustc calls by that name: in the active toolchain, or in any.
fn find_rust_lld() -> Option<PathBuf> {
    let of_sysroot = |sysroot: &Path| {
        let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
        let mut directories = hosts.flatten().map(|host| host.path().join("bin"));
        directories.find(|directory| directory.join("rust-lld").is_file())
    };
    if let Some(sysroot) = output(Command::new("rustc").args(["--print", "sysroot"]))
        && let Some(directory) = of_sysroot(Path::new(&sysroot))
    {
        return Some(directory);
    }
    let rustup_home = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let rustup_home =
        rustup_home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".rustup")))?;
    let toolchains = std::fs::read_dir(rustup_home.join("toolchains")).ok()?;
    let mut toolchains: Vec<PathBuf> = toolchains.flatten().map(|entry| entry.path()).collect();
    toolchains.sort();
    toolchains
        .iter()
        .find_map(|toolchain| of_sysroot(toolchain))
}

/// PATH with `directory` in front.
fn with_path(directory: &Path) -> OsString {
    let mut path = directory.as_os_str().to_owned();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}
