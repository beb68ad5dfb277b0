//! The text of a new plugin: a crate with a test, a pipeline to run it, fixtures, and a page that says how.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::lock::lock_file;
use crate::sdk::Sdk;

const CARGO_TOML: &str = include_str!("scaffold/Cargo.toml.txt");
const LIB_RS: &str = include_str!("scaffold/lib.rs.txt");
const PIPELINE_TOML: &str = include_str!("scaffold/pipeline.toml.txt");
const README_MD: &str = include_str!("scaffold/README.md.txt");
const WORDS_JSONL: &str = include_str!("scaffold/words.jsonl.txt");
const EXPECTED_JSONL: &str = include_str!("scaffold/words.expected.jsonl.txt");
const LINES_TXT: &str = include_str!("scaffold/lines.txt");

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
    #[error("cannot tell which versions the plugin is built of: {reason}")]
    Lock { reason: String },
}

/// Makes the plugin `name` in `directory/name` and returns the files that were written. Nothing is left when that fails.
pub fn new(directory: &Path, name: &str, sdk: &Sdk) -> Result<Vec<PathBuf>, ScaffoldError> {
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
    let written = write(&root, name, sdk);
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_dir_all(&root);
    }
    written
}

fn write(root: &Path, name: &str, sdk: &Sdk) -> Result<Vec<PathBuf>, ScaffoldError> {
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{sdk}}", &sdk.quoted_path())
    };
    let files = [
        ("Cargo.toml", fill(CARGO_TOML)),
        ("src/lib.rs", fill(LIB_RS)),
        ("pipeline.toml", fill(PIPELINE_TOML)),
        ("fixtures/words.jsonl", fill(WORDS_JSONL)),
        ("fixtures/words.expected.jsonl", fill(EXPECTED_JSONL)),
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
        fs::create_dir_all(path.parent().unwrap_or(root)).map_err(write)?;
        fs::write(&path, text).map_err(write)?;
        written.push(path);
    }
    if !is_member(root) {
        written.push(stand_alone(root)?);
    }
    Ok(written)
}

/// Whether cargo takes the crate for a member of the workspace that it stands in.
fn is_member(root: &Path) -> bool {
    let mut cargo = std::process::Command::new("cargo");
    let format = ["--no-deps", "--format-version", "1", "--manifest-path"];
    cargo
        .arg("metadata")
        .args(format)
        .arg(root.join("Cargo.toml"));
    let metadata = crate::command::output(&mut cargo);
    let workspace = metadata
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|metadata| Some(PathBuf::from(metadata.get("workspace_root")?.as_str()?)));
    workspace.is_some_and(|workspace| workspace.canonicalize().ok() != root.canonicalize().ok())
}

/// Makes the crate a workspace of its own, with the versions that the SDK was tested with. The lock file's path.
fn stand_alone(root: &Path) -> Result<PathBuf, ScaffoldError> {
    let manifest = root.join("Cargo.toml");
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| ScaffoldError::Write { path, source }
    };
    let text = fs::read_to_string(&manifest).map_err(write(&manifest))?;
    let lock = lock_file(&text).map_err(|reason| ScaffoldError::Lock { reason })?;
    fs::write(&manifest, format!("{text}\n[workspace]\n")).map_err(write(&manifest))?;
    let path = root.join("Cargo.lock");
    fs::write(&path, lock).map_err(write(&path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdk() -> (tempfile::TempDir, Sdk) {
        let cache = tempfile::tempdir().unwrap();
        let sdk = Sdk::unpacked(cache.path()).unwrap();
        (cache, sdk)
    }

    #[test]
    fn names_that_cargo_or_kafka_would_not_take_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (_cache, sdk) = sdk();
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
            let error = new(directory.path(), name, &sdk).unwrap_err();
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
        let (_cache, sdk) = sdk();
        let files = new(directory.path(), "my-words", &sdk).unwrap();
        assert_eq!(files.len(), 9);
        for file in &files {
            let text = fs::read_to_string(file).unwrap();
            assert!(!text.contains("{{"), "{}: {text}", file.display());
        }
        let manifest = fs::read_to_string(directory.path().join("my-words/Cargo.toml")).unwrap();
        let dependency = format!(
            "millstream-sdk = {{ path = {}, features = [\"config\"] }}",
            sdk.quoted_path()
        );
        assert!(
            manifest.contains(&dependency) && manifest.contains("\n[workspace]\n"),
            "{manifest}"
        );
        let again = new(directory.path(), "my-words", &sdk).unwrap_err();
        assert!(matches!(again, ScaffoldError::Exists { .. }), "{again}");
    }
}
