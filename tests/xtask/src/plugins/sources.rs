//! What decides what a ready-made module is, the compiler aside: the plugin's sources, the SDK's, the locked versions of
//! all else, and how it is built.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use millstream_plugin_build::{SETTINGS, lock, ready_made, sdk};

/// The digest of all of it.
pub fn digest(folder: &Path) -> Result<String> {
    let mut text = Vec::new();
    let mut add = |name: &str, bytes: &[u8]| {
        text.extend_from_slice(format!("{name}\0{}\0", bytes.len()).as_bytes());
        text.extend_from_slice(bytes);
    };
    let manifest = stand_alone(folder)?;
    add("Cargo.toml", manifest.as_bytes());
    let mut files = Vec::new();
    collect(&folder.join("src"), &mut files)?;
    files.sort();
    for path in files {
        let name = path.strip_prefix(folder).unwrap_or(&path);
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        add(&name.to_string_lossy(), &bytes);
    }
    add("sdk", sdk::version().as_bytes());
    for package in lock::packages(&manifest).map_err(|reason| anyhow!(reason))? {
        let checksum = package.checksum.unwrap_or_default();
        add(
            &package.name,
            format!("{} {checksum}", package.version).as_bytes(),
        );
    }
    add("settings", SETTINGS.as_bytes());
    Ok(ready_made::digest(&text))
}

/// `[package]` of the plugin's manifest, with what it inherits written out.
pub fn manifest(folder: &Path) -> Result<toml::Table> {
    let manifest: toml::Table = stand_alone(folder)?.parse()?;
    let package = manifest.get("package").and_then(|value| value.as_table());
    package.cloned().context("a manifest has a [package]")
}

fn stand_alone(folder: &Path) -> Result<String> {
    let path = folder.join("Cargo.toml");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    sdk::stand_alone_manifest(&text, "plugin")
        .map_err(|reason| anyhow!("{}: {reason}", path.display()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let reading = || format!("reading {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
