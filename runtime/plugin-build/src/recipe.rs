//! How a plugin is built: the settings of cargo, as a file beside what is built, so that the command fits a line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::toolchain::WASM_TARGET;

/// Settings of plugin builds, whatever the profile of the workspace says: small and fast modules without our own
/// assertions. Names of functions stay, for backtraces; they cost nothing at run time. Every host of ours has SIMD, and
/// it gives the same results everywhere.
pub const SETTINGS: &str = "\
[profile.release]
opt-level = 3
lto = true
codegen-units = 1
panic = \"abort\"
debug = false
strip = \"debuginfo\"
debug-assertions = false
overflow-checks = false

# Macros: built in fewer pieces, which is quicker.
[profile.release.build-override]
codegen-units = 4

[target.wasm32-unknown-unknown]
rustflags = [\"-Ctarget-feature=+simd128\"]
";
/// The file with the settings, in the target directory.
const FILE: &str = "build.toml";

/// Where one build leaves what.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What cargo has to know of the toolchain.
    pub toolchain: Table,
    pub target_dir: PathBuf,
    /// What is compiled on the way there; `None`: in the target directory.
    pub build_dir: Option<PathBuf>,
    /// Folders whose path a module does not show, each with what it shows instead.
    pub renamed: Vec<(PathBuf, String)>,
    pub without_names: bool,
}

impl Recipe {
    /// The module of a library of that name.
    pub fn module(&self, library: &str) -> PathBuf {
        let directory = self.target_dir.join(WASM_TARGET).join("release");
        directory.join(format!("{library}.wasm"))
    }

    /// Writes the settings, unless they are there. The file's path.
    pub fn write(&self) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.target_dir)?;
        let path = self.target_dir.join(FILE);
        let text = self.text();
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            return Ok(path);
        }
        let temporary = path.with_extension(std::process::id().to_string());
        fs::write(&temporary, text)?;
        fs::rename(&temporary, &path)?;
        Ok(path)
    }

    fn text(&self) -> String {
        let mut settings: Table = SETTINGS.parse().expect("our settings are a table");
        let flags = &mut settings["target"][WASM_TARGET]["rustflags"];
        for (folder, name) in &self.renamed {
            let flag = format!("--remap-path-prefix={}={name}", folder.display());
            flags
                .as_array_mut()
                .expect("flags are a list")
                .push(Value::String(flag));
        }
        if self.without_names {
            settings["profile"]["release"]["strip"] = Value::String("symbols".to_owned());
        }
        let path = |path: &Path| Value::String(path.to_string_lossy().into_owned());
        let mut build = Table::new();
        build.insert("target".to_owned(), Value::String(WASM_TARGET.to_owned()));
        build.insert("target-dir".to_owned(), path(&self.target_dir));
        if let Some(build_dir) = &self.build_dir {
            build.insert("build-dir".to_owned(), path(build_dir));
        }
        settings.insert("build".to_owned(), Value::Table(build));
        merge(&mut settings, &self.toolchain);
        settings.to_string()
    }
}

/// Adds what the second table says to the first.
fn merge(settings: &mut Table, more: &Table) {
    for (key, value) in more {
        match (settings.get_mut(key), value) {
            (Some(Value::Table(settings)), Value::Table(more)) => merge(settings, more),
            _ => drop(settings.insert(key.clone(), value.clone())),
        }
    }
}

/// The folders of cargo's sources of crates: each registry has one, whose name says where the registry is.
pub fn registries() -> Vec<(PathBuf, String)> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let sources = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let mut folders: Vec<PathBuf> = sources
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
        .into_iter()
        .map(|folder| (folder, "registry".to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_say_where_and_hide_paths_of_this_machine() {
        let directory = tempfile::tempdir().unwrap();
        let recipe = Recipe {
            toolchain: "build.rustc = \"/usr/bin/rustc\"".parse().unwrap(),
            target_dir: directory.path().join("target"),
            build_dir: Some("/cache/\"quoted\"".into()),
            renamed: vec![("/home/me".into(), "registry".to_owned())],
            without_names: true,
        };
        let path = recipe.write().unwrap();
        let settings: Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        assert_eq!(settings["build"]["target"].as_str(), Some(WASM_TARGET));
        assert_eq!(settings["build"]["rustc"].as_str(), Some("/usr/bin/rustc"));
        assert_eq!(
            settings["build"]["build-dir"].as_str(),
            Some("/cache/\"quoted\"")
        );
        assert_eq!(
            settings["profile"]["release"]["opt-level"].as_integer(),
            Some(3)
        );
        assert_eq!(
            settings["profile"]["release"]["strip"].as_str(),
            Some("symbols")
        );
        let flags = settings["target"][WASM_TARGET]["rustflags"]
            .as_array()
            .unwrap();
        assert_eq!(
            flags[1].as_str(),
            Some("--remap-path-prefix=/home/me=registry")
        );
        assert_eq!(
            recipe.module("my_words"),
            directory
                .path()
                .join("target/wasm32-unknown-unknown/release/my_words.wasm")
        );
    }
}
