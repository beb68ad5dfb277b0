//! What `cargo metadata` says of a plugin's crate, as far as a build needs it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use crate::build::BuildError;
use crate::command::{CommandError, text};
use crate::sdk;
use crate::toolchain::Toolchain;

#[derive(Debug, Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
    pub target_directory: PathBuf,
    pub workspace_root: PathBuf,
}

#[derive(Debug, Deserialize)]
pub struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    crate_types: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    path: Option<PathBuf>,
}

impl Metadata {
    pub fn read(toolchain: &Toolchain, crate_dir: &Path) -> Result<Self, BuildError> {
        let mut cargo = toolchain.cargo();
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        cargo
            .arg("--manifest-path")
            .arg(crate_dir.join("Cargo.toml"))
            .current_dir(crate_dir);
        let output = cargo.stdin(Stdio::null()).output();
        let output = output.map_err(|source| CommandError::Start {
            command: text(&cargo),
            source,
        })?;
        let unknown = |reason: String| BuildError::Metadata {
            path: crate_dir.to_owned(),
            reason,
        };
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            return Err(unknown(reason.trim().to_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| unknown(error.to_string()))
    }

    pub fn package_of(&self, crate_dir: &Path) -> Result<&Package, BuildError> {
        let manifest = crate_dir.join("Cargo.toml");
        let is_it = |package: &&Package| is_same(&package.manifest_path, &manifest);
        let package = self.packages.iter().find(is_it);
        package.ok_or_else(|| BuildError::Metadata {
            path: crate_dir.to_owned(),
            reason: "its Cargo.toml has no package".to_owned(),
        })
    }

    /// Whether the package is a workspace of its own, one crate without a build script, and all else that it is built of
    /// is of a registry, of a repository or the SDK.
    pub fn is_alone(&self, package: &Package) -> bool {
        self.packages.len() == 1
            && is_same(&self.workspace_root, package.crate_dir())
            && !package.has_build_script()
            && package.dependencies.iter().all(Dependency::is_not_of_here)
            && !replaces_dependencies(&package.manifest_path)
    }
}

impl Package {
    pub fn crate_dir(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("/"))
    }

    fn has_build_script(&self) -> bool {
        let is_script = |target: &Target| target.kind.iter().any(|kind| kind == "custom-build");
        self.targets.iter().any(is_script)
    }

    /// The name of the files that its library becomes.
    pub fn library(&self) -> Result<String, BuildError> {
        let is_module = |target: &&Target| target.crate_types.iter().any(|kind| kind == "cdylib");
        match self.targets.iter().find(is_module) {
            Some(target) => Ok(target.name.replace('-', "_")),
            None => Err(BuildError::NoCdylib {
                name: self.name.clone(),
                path: self.crate_dir().to_owned(),
            }),
        }
    }
}

impl Dependency {
    fn is_not_of_here(&self) -> bool {
        self.path.is_none() || self.name == sdk::CRATE
    }
}

/// `[patch]` and `[replace]` can put a folder in the place of a crate of a registry.
fn replaces_dependencies(manifest: &Path) -> bool {
    let text = std::fs::read_to_string(manifest).unwrap_or_default();
    let manifest: Option<toml::Table> = text.parse().ok();
    manifest.is_none_or(|table| table.contains_key("patch") || table.contains_key("replace"))
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().ok() == other.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(crate_dir: &Path, name: &str, manifest: &str) {
        std::fs::create_dir_all(crate_dir.join("src")).unwrap();
        let head = format!("[package]\nname = {name:?}\nversion = \"0.1.0\"\n");
        std::fs::write(crate_dir.join("Cargo.toml"), head + manifest).unwrap();
        std::fs::write(crate_dir.join("src/lib.rs"), "").unwrap();
    }

    /// What cargo says of a crate with that manifest in a folder `words`.
    fn metadata(directory: &Path, manifest: &str) -> (Metadata, PathBuf) {
        let crate_dir = directory.join("words");
        make(&crate_dir, "my-words", manifest);
        make(&directory.join("sdk"), sdk::CRATE, "");
        make(&directory.join("other"), "other", "");
        let metadata = Metadata::read(&Toolchain::Installed, &crate_dir).unwrap();
        (metadata, crate_dir)
    }

    #[test]
    fn a_crate_is_alone_unless_its_folder_or_a_neighbour_says_what_it_is_built_of() {
        let sdk = "[dependencies]\nmillstream-sdk = { path = \"../sdk\" }\nserde = \"1\"\n";
        let other = "other = { path = \"../other\" }\n";
        let cases = [
            (format!("[workspace]\n{sdk}"), true),
            (format!("[workspace]\n{sdk}{other}"), false),
            (
                format!("[workspace]\n{sdk}[build-dependencies]\n{other}"),
                false,
            ),
            (
                format!("[workspace]\n{sdk}[patch.crates-io]\n{other}"),
                false,
            ),
            (format!("build = \"src/lib.rs\"\n[workspace]\n{sdk}"), false),
        ];
        for (manifest, alone) in cases {
            let directory = tempfile::tempdir().unwrap();
            let (metadata, crate_dir) = metadata(directory.path(), &manifest);
            let package = metadata.package_of(&crate_dir).unwrap();
            assert_eq!(metadata.is_alone(package), alone, "{manifest}");
        }
        let directory = tempfile::tempdir().unwrap();
        let workspace =
            "[workspace]\nmembers = [\"words\"]\nexclude = [\"sdk\"]\nresolver = \"3\"\n";
        std::fs::write(directory.path().join("Cargo.toml"), workspace).unwrap();
        let (metadata, crate_dir) = metadata(directory.path(), sdk);
        assert!(!metadata.is_alone(metadata.package_of(&crate_dir).unwrap()));
    }

    #[test]
    fn a_module_has_the_name_that_cargo_gives_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let module = "[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n[workspace]\n";
        let (found, crate_dir) = metadata(directory.path(), module);
        assert_eq!(
            found.package_of(&crate_dir).unwrap().library().unwrap(),
            "my_words"
        );
        let (found, crate_dir) = metadata(directory.path(), "[workspace]\n");
        let error = found.package_of(&crate_dir).unwrap().library().unwrap_err();
        assert!(
            matches!(&error, BuildError::NoCdylib { name, .. } if name == "my-words"),
            "{error}"
        );
    }
}
