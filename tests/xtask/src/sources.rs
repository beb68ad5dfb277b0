//! The workspace's Rust sources, for checks that read them as text.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell;

/// One file: its path from the root, and what it says.
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    #[cfg(test)]
    pub fn new(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Whether the file holds tests and nothing else.
    pub fn is_test(&self) -> bool {
        let parts = self.path.split('/').skip(1);
        parts
            .into_iter()
            .any(|part| part == "tests" || part == "tests.rs")
    }
}

/// All `.rs` files, in order of path.
pub fn all() -> Result<Vec<Source>> {
    let root = shell::root();
    let mut sources = Vec::new();
    for folder in ["runtime", "plugin-sdk", "plugins", "examples", "tests"] {
        collect(&root, &root.join(folder), &mut sources)?;
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let reading = || format!("reading {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        let path: PathBuf = entry.with_context(reading)?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(root, &path, sources)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("reading {}", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path);
            sources.push(Source {
                path: path.display().to_string(),
                text,
            });
        }
    }
    Ok(())
}
