//! A crate's manifest without its workspace: what it inherits is written out, and what only our own tests need is left
//! out.

use toml::{Table, Value};

/// The folder of the SDK in our workspace, which the packed crates leave.
const SDK_FOLDER: &str = "plugin-sdk/";
/// Parts of a manifest that a dependency has no use for.
const LEFT_OUT: [&str; 6] = [
    "dev-dependencies",
    "lints",
    "test",
    "bench",
    "example",
    "profile",
];
const HEADER: &str =
    "# Unpacked by Millstream, with what it inherits written out. Changes are undone.\n";

/// `manifest`, which stands in `folder` of the SDK and inherits from `workspace`, as it can stand anywhere beside the
/// SDK's other crates.
pub fn stand_alone(manifest: &str, workspace: &str, folder: &str) -> Result<String, String> {
    let mut manifest: Table = manifest.parse().map_err(|error| format!("{error}"))?;
    let workspace: Table = workspace.parse().map_err(|error| format!("{error}"))?;
    let inherited = |kind: &str, name: &str| {
        let value = workspace.get("workspace")?.get(kind)?.get(name)?;
        Some(value.clone())
    };
    for part in LEFT_OUT {
        manifest.remove(part);
    }
    for (key, value) in manifest
        .get_mut("package")
        .and_then(Value::as_table_mut)
        .ok_or("there is no [package]")?
    {
        if inherits(value) {
            *value = inherited("package", key).ok_or(format!("`{key}` cannot be inherited"))?;
        }
    }
    for dependencies in dependency_tables(&mut manifest) {
        for (name, dependency) in dependencies {
            if inherits(dependency) {
                let base = inherited("dependencies", name)
                    .ok_or(format!("the dependency {name} cannot be inherited"))?;
                *dependency = merged(base, dependency, name, folder)?;
            }
        }
    }
    let text = toml::to_string(&manifest).map_err(|error| format!("{error}"))?;
    Ok(format!("{HEADER}{text}"))
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// `[dependencies]`, `[build-dependencies]`, and those of single targets.
fn dependency_tables(manifest: &mut Table) -> Vec<&mut Table> {
    let mut tables = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table_mut() else {
            continue;
        };
        match key.as_str() {
            "dependencies" | "build-dependencies" => tables.push(table),
            "target" => {
                let targets = table
                    .iter_mut()
                    .filter_map(|(_, value)| value.as_table_mut());
                tables.extend(targets.flat_map(dependency_tables));
            }
            _ => {}
        }
    }
    tables
}

/// What the workspace says of a dependency, with what the crate adds to it.
fn merged(base: Value, own: &Value, name: &str, folder: &str) -> Result<Value, String> {
    let mut merged = match base {
        Value::Table(table) => table,
        version => Table::from_iter([("version".to_owned(), version)]),
    };
    if let Some(Value::String(path)) = merged.get_mut("path") {
        let inside = path.strip_prefix(SDK_FOLDER).ok_or(format!(
            "the dependency {name} lies in {path}, outside of the SDK"
        ))?;
        *path = format!("{}{inside}", "../".repeat(folder.split('/').count()));
    }
    for (key, value) in own.as_table().into_iter().flatten() {
        match (key.as_str(), merged.get_mut(key), value) {
            ("workspace", ..) => {}
            ("features", Some(Value::Array(features)), Value::Array(more)) => {
                features.extend(more.iter().cloned());
            }
            _ => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(Value::Table(merged))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = r#"
[workspace]
members = ["plugin-sdk/*"]
[workspace.package]
version = "7.0.0"
edition = "2024"
[workspace.dependencies]
frames = { path = "plugin-sdk/frames" }
log = { path = "runtime/log" }
serde = { version = "1", features = ["derive"] }
syn = "2"
"#;

    fn alone(manifest: &str) -> Result<Table, String> {
        let manifest = format!("[package]\nname = \"x\"\n{manifest}");
        Ok(stand_alone(&manifest, WORKSPACE, "rust/macros")?
            .parse()
            .unwrap())
    }

    #[test]
    fn what_is_inherited_is_written_out_and_tests_are_left_out() {
        let found = alone(
            r#"
version.workspace = true
edition.workspace = true
[lints]
workspace = true
[lib]
proc-macro = true
[dependencies]
frames.workspace = true
serde = { workspace = true, features = ["rc"], optional = true }
quote = "1"
[target.'cfg(unix)'.dependencies]
syn.workspace = true
[dev-dependencies]
log.workspace = true
"#,
        );
        let expected: Table = r#"
[package]
name = "x"
version = "7.0.0"
edition = "2024"
[lib]
proc-macro = true
[dependencies]
frames = { path = "../../frames" }
serde = { version = "1", features = ["derive", "rc"], optional = true }
quote = "1"
[target.'cfg(unix)'.dependencies]
syn = { version = "2" }
"#
        .parse()
        .unwrap();
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn what_cannot_stand_alone_is_refused() {
        for (manifest, reason) in [
            (
                "license.workspace = true\n",
                "`license` cannot be inherited",
            ),
            (
                "[dependencies]\nrand.workspace = true\n",
                "the dependency rand cannot be inherited",
            ),
            (
                "[dependencies]\nlog.workspace = true\n",
                "the dependency log lies in runtime/log, outside of the SDK",
            ),
        ] {
            assert_eq!(alone(manifest), Err(reason.to_owned()));
        }
    }
}
