//! The text of a new plugin: a crate with a test, a pipeline to run it, fixtures, and a page that says how.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const CARGO_TOML: &str = include_str!("scaffold/Cargo.toml.txt");
const LIB_RS: &str = include_str!("scaffold/lib.rs.txt");
const PIPELINE_TOML: &str = include_str!("scaffold/pipeline.toml.txt");
const README_MD: &str = include_str!("scaffold/README.md.txt");
const WORDS_JSONL: &str = include_str!("scaffold/words.jsonl.txt");
const LINES_TXT: &str = include_str!("scaffold/lines.txt");

/// Where a new plugin takes the SDK from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SdkSource {
    /// The directory of `plugin-sdk/rust`.
    Path(PathBuf),
    /// The registry.
    Version(String),
}

impl SdkSource {
    /// The SDK that belongs to this build of Millstream: `MILLSTREAM_SDK` when it is set, the source tree that it was
    /// built from when it is still there, else the registry.
    pub fn find() -> Self {
        let named = std::env::var_os("MILLSTREAM_SDK").map(PathBuf::from);
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugin-sdk/rust");
        let there = |path: &PathBuf| path.join("Cargo.toml").is_file();
        match named.into_iter().chain([built_from]).find(there) {
            Some(path) => Self::Path(path.canonicalize().unwrap_or(path)),
            None => Self::Version(env!("CARGO_PKG_VERSION").to_owned()),
        }
    }

    /// The value of the dependency in a Cargo.toml.
    fn dependency(&self) -> String {
        match self {
            Self::Path(path) => format!("{{ path = {:?} }}", path.to_string_lossy()),
            Self::Version(version) => format!("{version:?}"),
        }
    }
}

/// Why a plugin was not made.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    #[error(
        "`{name}` cannot be a plugin's name: use lower-case letters, digits and `-`, and begin with a letter"
    )]
    BadName { name: String },
    #[error("{path} is there already; nothing was changed")]
    Exists { path: PathBuf },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
}

/// Makes the plugin `name` in `directory/name` and returns the files that were written.
pub fn new(directory: &Path, name: &str, sdk: &SdkSource) -> Result<Vec<PathBuf>, ScaffoldError> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins_well || name.len() > 64 || name.ends_with('-') || !name.chars().all(good) {
        return Err(ScaffoldError::BadName {
            name: name.to_owned(),
        });
    }
    let root = directory.join(name);
    if root.exists() {
        return Err(ScaffoldError::Exists { path: root });
    }
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{sdk}}", &sdk.dependency())
    };
    let files = [
        ("Cargo.toml", fill(CARGO_TOML)),
        ("src/lib.rs", fill(LIB_RS)),
        ("pipeline.toml", fill(PIPELINE_TOML)),
        ("fixtures/words.jsonl", fill(WORDS_JSONL)),
        ("lines.txt", fill(LINES_TXT)),
        ("README.md", fill(README_MD)),
        (".gitignore", "/target\n/millstream-data\n".to_owned()),
    ];
    let mut written = Vec::with_capacity(files.len());
    for (file, text) in files {
        let path = root.join(file);
        let write = |source| ScaffoldError::Write {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(path.parent().unwrap_or(&root)).map_err(write)?;
        fs::write(&path, text).map_err(write)?;
        written.push(path);
    }
    stand_alone(&root.join("Cargo.toml"))?;
    Ok(written)
}

/// Makes the crate a workspace of its own, unless cargo takes it for a member of the one that it stands in.
fn stand_alone(manifest: &Path) -> Result<(), ScaffoldError> {
    let mut cargo = std::process::Command::new("cargo");
    cargo
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(manifest);
    let metadata = crate::command::output(&mut cargo);
    let root = metadata
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|metadata| Some(PathBuf::from(metadata.get("workspace_root")?.as_str()?)));
    let member = root.is_some_and(|root| {
        let own = manifest
            .parent()
            .and_then(|directory| directory.canonicalize().ok());
        root.canonicalize().ok() != own
    });
    if member {
        return Ok(());
    }
    let write = |source| ScaffoldError::Write {
        path: manifest.to_owned(),
        source,
    };
    let text = fs::read_to_string(manifest).map_err(write)?;
    fs::write(manifest, format!("{text}\n[workspace]\n")).map_err(write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_or_kafka_would_not_take_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "",
            "Words",
            "1st",
            "a_b",
            "a/b",
            "..",
            "a-",
            &"a".repeat(65),
        ] {
            let error = new(directory.path(), name, &SdkSource::find()).unwrap_err();
            assert!(
                matches!(error, ScaffoldError::BadName { .. }),
                "{name}: {error}"
            );
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_new_plugin_has_no_blanks_left_and_does_not_overwrite_another() {
        let directory = tempfile::tempdir().unwrap();
        let files = new(
            directory.path(),
            "my-words",
            &SdkSource::Version("0.1.0".to_owned()),
        )
        .unwrap();
        assert_eq!(files.len(), 7);
        for file in &files {
            let text = fs::read_to_string(file).unwrap();
            assert!(!text.contains("{{"), "{}: {text}", file.display());
        }
        let manifest = fs::read_to_string(directory.path().join("my-words/Cargo.toml")).unwrap();
        assert!(
            manifest.contains("millstream-sdk = \"0.1.0\"") && manifest.contains("\n[workspace]\n")
        );
        let again = new(directory.path(), "my-words", &SdkSource::find()).unwrap_err();
        assert!(matches!(again, ScaffoldError::Exists { .. }), "{again}");
    }
}
