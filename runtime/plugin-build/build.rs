//! Lists the files that become part of the program: the SDK's sources, and the ready-made plugins.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the folder"));
    let root = own.join("../..").canonicalize()?;
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names the output folder"));
    fs::write(out.join("sdk.rs"), list_sdk(&root)?)?;
    let ready_made = list_ready_made(&root.join("plugins"))?;
    fs::write(out.join("ready_made.rs"), ready_made)
}

/// What a plugin's crate needs of `plugin-sdk/`: manifests, sources, the contract. Tests stay out.
fn list_sdk(root: &Path) -> io::Result<String> {
    let sdk = root.join("plugin-sdk");
    let mut files = Vec::new();
    for part in ["frames", "rust", "rust/macros"] {
        watch(&sdk.join(part).join("Cargo.toml"));
        files.push(sdk.join(part).join("Cargo.toml"));
        collect(&sdk.join(part).join("src"), &mut files)?;
    }
    collect(&sdk.join("wit"), &mut files)?;
    files.sort_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
    let mut text = String::new();
    line(&mut text, "pub const SDK_FILES: &[(&str, &[u8])] = &[");
    for file in &files {
        let name = file.strip_prefix(&sdk).expect("it lies in the SDK");
        let name = name.to_str().expect("our names are text");
        line(
            &mut text,
            &format!("    ({name:?}, include_bytes!({file:?})),"),
        );
    }
    line(&mut text, "];");
    for (name, file) in [("WORKSPACE_MANIFEST", "Cargo.toml"), ("LOCK", "Cargo.lock")] {
        let path = root.join(file);
        watch(&path);
        line(
            &mut text,
            &format!("pub const {name}: &str = include_str!({path:?});"),
        );
    }
    Ok(text)
}

/// The modules that `cargo xtask plugins` has left beside their sources.
fn list_ready_made(plugins: &Path) -> io::Result<String> {
    watch(plugins);
    let mut names = Vec::new();
    for entry in fs::read_dir(plugins)? {
        names.push(entry?.file_name());
    }
    names.sort();
    let mut text = String::new();
    line(
        &mut text,
        "pub const READY_MADE: &[(&str, &str, &[u8])] = &[",
    );
    for name in names {
        let (about, module) = (
            plugins.join(&name).join("ready-made.json"),
            plugins.join(&name).join("ready-made.wasm.zst"),
        );
        watch(&about);
        watch(&module);
        if about.is_file() && module.is_file() {
            let name = name.to_str().expect("our names are text");
            line(
                &mut text,
                &format!("    ({name:?}, include_str!({about:?}), include_bytes!({module:?})),"),
            );
        }
    }
    line(&mut text, "];");
    Ok(text)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    watch(folder);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if is_test {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes everything");
}
