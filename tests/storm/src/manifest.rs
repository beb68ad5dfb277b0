//! The example's manifest, paced: the same pipeline with a source that lasts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

/// Writes a copy of `manifest` into `dir`: paths made absolute, every source slowed to `rate` records a
/// second (0: as fast as it goes).
pub fn write_paced(manifest: &Path, rate: u32, dir: &Path) -> Result<PathBuf> {
    let text = std::fs::read_to_string(manifest).with_context(|| manifest.display().to_string())?;
    let folder = manifest
        .parent()
        .context("a manifest lies in a folder")?
        .canonicalize()?;
    let mut table: Table = text.parse()?;
    for source in tables(&mut table, "source") {
        make_absolute(source, "file", &folder);
        if rate > 0 {
            source.insert("rate".to_string(), Value::Integer(rate.into()));
        }
    }
    for stage in tables(&mut table, "stage") {
        make_absolute(stage, "plugin", &folder);
    }
    let path = dir.join(format!("paced-{rate}.toml"));
    std::fs::write(&path, toml::to_string(&table)?)?;
    Ok(path)
}

fn tables<'a>(table: &'a mut Table, kind: &str) -> impl Iterator<Item = &'a mut Table> {
    let entries = table
        .get_mut(kind)
        .and_then(Value::as_table_mut)
        .into_iter();
    entries.flat_map(|entries| {
        entries
            .iter_mut()
            .filter_map(|(_, value)| value.as_table_mut())
    })
}

fn make_absolute(table: &mut Table, key: &str, folder: &Path) {
    if let Some(Value::String(path)) = table.get_mut(key) {
        *path = folder.join(&*path).display().to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_paced_and_paths_absolute() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join("pipeline.toml");
        let text = "pipeline = \"p\"\n[source.a]\nfile = \"data/a.csv\"\n[stage.b]\nplugin = \"./b\"\ninputs = \"x\"\n";
        std::fs::write(&manifest, text).unwrap();
        let paced: Table = std::fs::read_to_string(write_paced(&manifest, 7, dir.path()).unwrap())
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(paced["source"]["a"]["rate"].as_integer(), Some(7));
        assert!(
            paced["source"]["a"]["file"]
                .as_str()
                .unwrap()
                .starts_with('/')
        );
        assert!(
            paced["stage"]["b"]["plugin"]
                .as_str()
                .unwrap()
                .starts_with('/')
        );
        assert_eq!(paced["stage"]["b"]["inputs"].as_str(), Some("x"));
    }
}
