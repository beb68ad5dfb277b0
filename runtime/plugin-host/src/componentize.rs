//! Makes a component of whatever was given: a component stays as it is, a core module that carries its component type
//! (as every module built with an SDK does) is wrapped.

use std::borrow::Cow;

use wasmparser::{Parser, Payload};

use crate::failure::LoadError;
use crate::limits::MODULE_BYTES_MAX;
use crate::world::check_imports;

/// Prefix of the custom sections in which an SDK leaves the component type.
const COMPONENT_TYPE_SECTION: &str = "component-type";

/// Refuses what is too large, so that nobody reads it first.
pub fn check_size(bytes: u64) -> Result<(), LoadError> {
    if bytes > MODULE_BYTES_MAX as u64 {
        return Err(LoadError::TooLarge {
            bytes,
            max: MODULE_BYTES_MAX,
        });
    }
    Ok(())
}

/// The component's binary form.
pub fn componentize(wasm: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    check_size(wasm.len() as u64)?;
    if Parser::is_component(wasm) {
        return Ok(Cow::Borrowed(wasm));
    }
    if !Parser::is_core_wasm(wasm) {
        return Err(LoadError::NotWasm {
            begins: begin_of(wasm),
        });
    }
    check_core_module(wasm)?;
    let invalid = |error: anyhow::Error| LoadError::Invalid {
        reason: format!("{error:#}"),
    };
    let component = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(wasm)
        .and_then(|mut encoder| encoder.encode())
        .map_err(invalid)?;
    Ok(Cow::Owned(component))
}

/// Looks for the component type and for imports that nobody can give, before the encoder says so in its own words.
fn check_core_module(wasm: &[u8]) -> Result<(), LoadError> {
    let invalid = |error: wasmparser::BinaryReaderError| LoadError::Invalid {
        reason: error.to_string(),
    };
    let mut has_component_type = false;
    let mut modules: Vec<&str> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(invalid)? {
            Payload::CustomSection(section) => {
                has_component_type |= section.name().starts_with(COMPONENT_TYPE_SECTION);
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(invalid)?;
                    if !modules.contains(&import.module) {
                        modules.push(import.module);
                    }
                }
            }
            _ => {}
        }
    }
    check_imports(modules.into_iter())?;
    if has_component_type {
        Ok(())
    } else {
        Err(LoadError::NoComponentType)
    }
}

/// The first bytes, readable.
fn begin_of(bytes: &[u8]) -> String {
    let first = &bytes[..bytes.len().min(16)];
    match std::str::from_utf8(first) {
        Ok("") => "nothing: the file is empty".to_owned(),
        Ok(text) if text.chars().all(|c| !c.is_control() || c.is_whitespace()) => {
            format!("{text:?}")
        }
        _ => format!("{first:02x?}"),
    }
}
