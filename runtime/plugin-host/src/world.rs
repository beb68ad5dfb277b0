//! The names of the contract, and the check that a component fits them.

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::failure::LoadError;

/// The contract that this host offers.
pub const CONTRACT: &str = "millstream:plugin@0.1.0";
const PACKAGE: &str = "millstream:plugin/";
/// Patches of 0.1 that this host knows, from 0 on.
const PATCHES_KNOWN: u64 = 1;

pub const PROCESSOR: &str = "millstream:plugin/processor@0.1.0";
pub const EFFECTS: &str = "millstream:plugin/effects@0.1.0";
pub const DIAGNOSTICS: &str = "millstream:plugin/diagnostics@0.1.0";
pub const TYPES: &str = "millstream:plugin/types@0.1.0";
/// Interfaces that a plugin may import.
const OFFERED: [&str; 3] = ["types", "effects", "diagnostics"];

/// What an interface name of our package says.
#[derive(Debug, PartialEq, Eq)]
enum Named<'a> {
    /// Not of our package.
    Foreign,
    /// Of our package, in a version that this host knows.
    Ours(&'a str),
    /// Of our package, in a version that it does not know.
    Newer,
}

fn named(name: &str) -> Named<'_> {
    let Some(rest) = name.strip_prefix(PACKAGE) else {
        return Named::Foreign;
    };
    let Some((interface, version)) = rest.split_once('@') else {
        return Named::Newer;
    };
    match version
        .strip_prefix("0.1.")
        .and_then(|patch| patch.parse::<u64>().ok())
    {
        Some(patch) if patch < PATCHES_KNOWN => Named::Ours(interface),
        _ => Named::Newer,
    }
}

/// Sorts the import names of a module or component: an error when one is newer than this host or not offered.
pub fn check_imports<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), LoadError> {
    let mut foreign: Vec<String> = Vec::new();
    for name in names {
        match named(name) {
            Named::Newer => {
                return Err(LoadError::NewerContract {
                    found: name.to_owned(),
                    newest: CONTRACT,
                });
            }
            Named::Ours(interface) if OFFERED.contains(&interface) => {}
            Named::Ours(_) | Named::Foreign => {
                if !foreign.iter().any(|known| known == name) {
                    foreign.push(name.to_owned());
                }
            }
        }
    }
    if foreign.is_empty() {
        return Ok(());
    }
    let hint = hint_for(&foreign);
    foreign.truncate(8);
    Err(LoadError::ForeignImports {
        imports: foreign,
        hint,
    })
}

fn hint_for(foreign: &[String]) -> &'static str {
    let any = |prefix: &str| foreign.iter().any(|name| name.starts_with(prefix));
    if any("__wbindgen") || any("wasm-bindgen") || any("./") {
        "; a crate in the plugin assumes a browser (look for `js-sys`, `wasm-bindgen` or a `js` feature in `cargo tree`)"
    } else if any("wasi") {
        "; WASI is not offered yet: build for wasm32-unknown-unknown"
    } else if any(PACKAGE) {
        "; this interface of the contract comes with a later version of Millstream"
    } else {
        ""
    }
}

/// Checks what a component imports and that it exports the processor.
pub fn check_component(component: &Component) -> Result<(), LoadError> {
    let component_type = component.component_type();
    let engine = component.engine();
    check_imports(component_type.imports(engine).map(|(name, _)| name))?;
    let mut newer = None;
    for (name, export) in component_type.exports(engine) {
        if !matches!(export.ty, ComponentItem::ComponentInstance(_)) {
            continue;
        }
        match named(name) {
            Named::Ours("processor") => return Ok(()),
            Named::Newer => newer = Some(name.to_owned()),
            _ => {}
        }
    }
    match newer {
        Some(found) => Err(LoadError::NewerContract {
            found,
            newest: CONTRACT,
        }),
        None => Err(LoadError::MissingExport {
            missing: format!("the interface {PROCESSOR}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_our_package_are_told_from_newer_and_foreign_ones() {
        for (name, expected) in [
            ("millstream:plugin/effects@0.1.0", Named::Ours("effects")),
            ("millstream:plugin/effects@0.1.1", Named::Newer),
            ("millstream:plugin/effects@0.2.0", Named::Newer),
            ("millstream:plugin/effects@1.1.0", Named::Newer),
            ("millstream:plugin/effects", Named::Newer),
            ("wasi:cli/stdout@0.2.0", Named::Foreign),
            ("env", Named::Foreign),
        ] {
            assert_eq!(named(name), expected, "{name}");
        }
    }

    #[test]
    fn interfaces_of_later_contracts_and_of_others_are_named() {
        let error =
            check_imports(["millstream:plugin/state@0.1.0", "env", "env"].into_iter()).unwrap_err();
        let LoadError::ForeignImports { imports, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(imports, ["millstream:plugin/state@0.1.0", "env"]);
    }
}
