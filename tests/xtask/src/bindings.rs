//! `cargo xtask bindings`: the SDK's bindings, written from the contract. They are a file, so that no plugin has to
//! build wit-bindgen.

use anyhow::{Context, Result, bail};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::Opts;

use crate::shell;

const CONTRACT: &str = "plugin-sdk/wit/plugin.wit";
const BINDINGS: &str = "plugin-sdk/rust/src/bindings.rs";

/// Stands above what wit-bindgen writes: the lints that are lifted, and what its runtime crate would bring.
const BEGIN: &str = include_str!("bindings/begin.rs.txt");

/// Writes the file.
pub fn write() -> Result<()> {
    let path = shell::root().join(BINDINGS);
    std::fs::write(&path, generate()?).with_context(|| format!("writing {}", path.display()))
}

/// Fails when the file is not what the contract makes.
pub fn check() -> Result<()> {
    let path = shell::root().join(BINDINGS);
    let found =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    match first_difference(&found, &generate()?) {
        None => Ok(()),
        Some(line) => bail!(
            "{BINDINGS} is not what {CONTRACT} makes, from line {line} on: run `cargo xtask bindings`"
        ),
    }
}

/// The text that the file should have.
fn generate() -> Result<String> {
    let mut resolve = Resolve::default();
    let package = resolve.push_file(shell::root().join(CONTRACT))?;
    let world = resolve.select_world(&[package], Some("plugin"))?;
    let options = Opts {
        format: true,
        pub_export_macro: true,
        export_macro_name: Some("export_plugin".to_owned()),
        default_bindings_module: Some("millstream_sdk::bindings".to_owned()),
        runtime_path: Some("crate::bindings::runtime".to_owned()),
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let Some((_, text)) = files.iter().next() else {
        bail!("wit-bindgen wrote no file");
    };
    let text = std::str::from_utf8(text).context("wit-bindgen wrote no text")?;
    Ok(format!("{BEGIN}\n{}", with_exports_allowed(text)?))
}

/// The exports come to stand in the author's crate, where the lint is lifted by what the macro writes. Macros are
/// written as bare tokens.
fn with_exports_allowed(text: &str) -> Result<String> {
    const EXPORTS: &str = "const _ : () = {";
    if !text.contains(EXPORTS) {
        bail!("wit-bindgen writes its exports in another way than before");
    }
    Ok(text.replace(EXPORTS, &format!("#[allow(unsafe_code)] {EXPORTS}")))
}

/// The first line, counted from 1, that the two texts do not share.
fn first_difference(one: &str, other: &str) -> Option<usize> {
    let same = std::iter::zip(one.lines(), other.lines())
        .take_while(|(one, other)| one == other)
        .count();
    (one != other).then_some(same + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bindings_are_what_the_contract_makes() {
        check().unwrap();
    }

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
        assert_eq!(first_difference("a", "a\n"), Some(2));
    }
}
