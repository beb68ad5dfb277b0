//! `cargo xtask plugins`: the ready-made modules, which are committed beside their sources since a machine that builds
//! the node may lack a wasm toolchain.

mod sources;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use millstream_plugin_build::ready_made::{About, PACKED_BYTES_MAX, digest, pack, unpack};
use millstream_plugin_build::{Builder, Toolchain, setup};

use crate::shell;

const ABOUT: &str = "ready-made.json";
const MODULE: &str = "ready-made.wasm.zst";

#[derive(Args)]
pub struct PluginArguments {
    /// Compare with what is committed, and write nothing
    #[arg(long)]
    check: bool,
}

pub fn run(arguments: &PluginArguments) -> Result<()> {
    let root = shell::root();
    let report = &mut |line: &str| eprintln!("+ {line}");
    let toolchain = setup(&root, false, report)?;
    for folder in folders(&root)? {
        let (about, module) = make(&folder, &toolchain)?;
        if arguments.check {
            compare(&folder, &about, &module)?;
        } else {
            write(&folder, &about, &module)?;
        }
    }
    Ok(())
}

/// Fails when a module was made of other sources than those beside it.
pub fn check() -> Result<()> {
    let mut stale = Vec::new();
    for folder in folders(&shell::root())? {
        let found = committed(&folder)?.map(|(about, _)| about.sources);
        if found != Some(sources::digest(&folder)?) {
            stale.push(format!("\n  {}", folder.display()));
        }
    }
    ensure!(
        stale.is_empty(),
        "ready-made plugins that were made of other sources; `cargo xtask plugins` makes them anew:{}",
        stale.concat()
    );
    Ok(())
}

/// The crates in `plugins/`, in order of name.
fn folders(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root.join("plugins")).context("reading plugins/")? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn make(folder: &Path, toolchain: &Toolchain) -> Result<(About, Vec<u8>)> {
    let builder = Builder {
        cache_dir: shell::root().join("target/ready-made"),
        toolchain: Some(toolchain.clone()),
        without_names: true,
        ..Builder::default()
    };
    let built = builder.build(folder, &mut |line| eprintln!("+ {line}"))?;
    let module =
        std::fs::read(&built.wasm).with_context(|| format!("reading {}", built.wasm.display()))?;
    let manifest = sources::manifest(folder)?;
    let text = |key: &str| manifest.get(key).and_then(|value| value.as_str());
    let about = About {
        version: text("version")
            .context("a plugin has a version")?
            .to_owned(),
        description: text("description")
            .context("a plugin has a description")?
            .to_owned(),
        sources: sources::digest(folder)?,
        toolchain: toolchain.identity(),
        module: digest(&module),
        module_bytes: module.len() as u64,
    };
    Ok((about, module))
}

fn write(folder: &Path, about: &About, module: &[u8]) -> Result<()> {
    let packed = pack(module)?;
    let bytes = packed.len();
    println!(
        "{}: {} bytes, {bytes} packed",
        folder.display(),
        module.len()
    );
    ensure!(
        bytes <= PACKED_BYTES_MAX,
        "{} has {bytes} bytes; at most {PACKED_BYTES_MAX} are committed",
        folder.display()
    );
    std::fs::write(folder.join(MODULE), packed)?;
    let text = serde_json::to_string_pretty(about)?;
    std::fs::write(folder.join(ABOUT), text + "\n")?;
    Ok(())
}

fn committed(folder: &Path) -> Result<Option<(About, Vec<u8>)>> {
    let (about, module) = (folder.join(ABOUT), folder.join(MODULE));
    if !about.is_file() || !module.is_file() {
        return Ok(None);
    }
    let reading = || format!("reading {}", about.display());
    let text = std::fs::read_to_string(&about).with_context(reading)?;
    let about: About = serde_json::from_str(&text).with_context(reading)?;
    let module = unpack(&std::fs::read(&module)?, about.module_bytes)
        .with_context(|| format!("unpacking {}", module.display()))?;
    Ok(Some((about, module)))
}

/// Another compiler makes other bytes of the same sources: then only the sources can be compared.
fn compare(folder: &Path, about: &About, module: &[u8]) -> Result<()> {
    let name = folder.display();
    let Some((committed, packed)) = committed(folder)? else {
        bail!("{name} has no ready-made module: `cargo xtask plugins` makes it");
    };
    ensure!(
        committed.sources == about.sources,
        "{name}: the module was made of other sources: `cargo xtask plugins` makes it anew"
    );
    if committed.toolchain != about.toolchain {
        println!(
            "{name}: the same sources; the bytes were not compared, since the committed module was made by {}, and \
             here is {}",
            committed.toolchain, about.toolchain
        );
        return Ok(());
    }
    ensure!(
        &committed == about && packed == module,
        "{name}: the same sources and the same compiler made another module: {} instead of {}",
        about.module,
        committed.module
    );
    println!("{name}: byte for byte the committed module");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_made_plugins_are_made_of_these_sources() {
        check().unwrap();
    }
}
