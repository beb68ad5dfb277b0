//! Which compiler builds plugins: one that has the wasm target installed, or Debian's, which builds its own `std`.

use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

use crate::command::output;

/// What plugins are built for.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";
/// Debian's packages of the toolchain that can build `std` for wasm.
pub(crate) const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_STD_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// What Debian's rustc links wasm with; rustup's Rust has it.
const LINKER: &str = "rust-lld";

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
            Self::DebianBuildStd { .. } => {
                let mut cargo = Command::new(DEBIAN_CARGO);
                cargo.env("RUSTC_BOOTSTRAP", "1");
                // A cargo that runs us leaves settings of its own toolchain behind.
                for leftover in [
                    "RUSTC",
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

    /// What cargo has to know of this toolchain to build with it, as a file of settings says it.
    pub(crate) fn settings(&self) -> Table {
        let text = match self {
            Self::Installed => String::new(),
            Self::DebianBuildStd { linker_dir } => {
                let linker = Value::from(linker_dir.join(LINKER).to_string_lossy().as_ref());
                format!(
                    "build.rustc = \"{DEBIAN_RUSTC}\"\nunstable.build-std = [\"std\", \"panic_abort\"]\n\
                     target.{WASM_TARGET}.linker = {linker}\n"
                )
            }
        };
        text.parse().expect("what is written here is a table")
    }

    /// Which compiler this is: two of the same identity make the same bytes of the same sources.
    pub fn identity(&self) -> String {
        let (rustc, std) = match self {
            Self::Installed => ("rustc", ""),
            Self::DebianBuildStd { .. } => (DEBIAN_RUSTC, ", std built from source"),
        };
        let rustc = output(Command::new(rustc).arg("--version"));
        let rustc = rustc.unwrap_or_else(|| "rustc".to_owned());
        let cargo = output(self.cargo().arg("--version")).unwrap_or_else(|| "cargo".to_owned());
        format!("{rustc}, {cargo}{std}")
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
        directories.find(|directory| directory.join(LINKER).is_file())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_toolchain_builds_std_and_links_with_what_rustup_has() {
        let linker_dir = PathBuf::from("/lld \"here\"");
        let settings = Toolchain::DebianBuildStd { linker_dir }.settings();
        assert_eq!(settings["build"]["rustc"].as_str(), Some(DEBIAN_RUSTC));
        assert_eq!(
            settings["target"][WASM_TARGET]["linker"].as_str(),
            Some("/lld \"here\"/rust-lld")
        );
        assert!(settings["unstable"]["build-std"].is_array());
        assert!(Toolchain::Installed.settings().is_empty());
    }
}
