//! The line of a plugin's Cargo.toml that names the SDK: `millstream-sdk = { path = "…" }`.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{CRATE, FOLDER, SdkError, unpack, version};

/// Makes sure that the SDK which the crate names is there, as far as that is in our hands: one in a cache of this
/// version is unpacked again when it is missing or damaged.
pub fn provide(crate_dir: &Path) -> Result<(), SdkError> {
    let Some(path) = named(crate_dir) else {
        return Ok(());
    };
    let path = crate_dir.join(path);
    let Some(root) = path.parent().filter(|root| is_in_a_cache(root)) else {
        return Ok(());
    };
    if root.ends_with(version()) {
        return unpack::unpack(root);
    }
    if path.join("Cargo.toml").is_file() {
        return Ok(());
    }
    Err(SdkError::Gone {
        sdk: path,
        crate_dir: crate_dir.to_owned(),
    })
}

/// `…/sdk/<version>-<digest>`
fn is_in_a_cache(root: &Path) -> bool {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let digest = name.rsplit_once('-').map_or("", |(_, digest)| digest);
    root.parent().is_some_and(|parent| parent.ends_with(FOLDER))
        && digest.len() == super::DIGEST_DIGITS
        && digest.chars().all(|digit| digit.is_ascii_hexdigit())
}

/// The path that the crate's manifest gives for the SDK. Cargo reports a manifest that it cannot read.
fn named(crate_dir: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(crate_dir.join("Cargo.toml")).ok()?;
    let (path, _) = find(&text)?;
    Some(PathBuf::from(path))
}

/// Writes `sdk` into the manifest in `crate_dir` in the place of the path that stands there.
pub fn set(crate_dir: &Path, sdk: &Path) -> Result<(), SdkError> {
    let path = crate_dir.join("Cargo.toml");
    let failed = |reason: String| SdkError::Manifest {
        path: path.clone(),
        reason,
    };
    let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    let (_, span) = find(&text).ok_or_else(|| {
        failed(format!(
            "it has no `{CRATE} = {{ path = \"…\" }}` among its [dependencies]"
        ))
    })?;
    let changed = format!(
        "{}{}{}",
        &text[..span.start],
        quoted(sdk),
        &text[span.end..]
    );
    let temporary = crate_dir.join(format!(".Cargo.toml.{}", std::process::id()));
    let written = fs::write(&temporary, changed).and_then(|()| fs::rename(&temporary, &path));
    written.map_err(|error| failed(error.to_string()))
}

/// The SDK's path, and where its text stands with its quotes.
fn find(text: &str) -> Option<(String, Range<usize>)> {
    let manifest = DeTable::parse(text).ok()?;
    let dependencies = manifest.get_ref().get("dependencies")?;
    let DeValue::Table(dependencies) = dependencies.get_ref() else {
        return None;
    };
    let DeValue::Table(sdk) = dependencies.get(CRATE)?.get_ref() else {
        return None;
    };
    let path = sdk.get("path")?;
    Some((path.get_ref().as_str()?.to_owned(), path.span()))
}

/// A path as TOML writes it.
pub fn quoted(path: &Path) -> String {
    toml::Value::String(path.to_string_lossy().into_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk::Sdk;

    fn crate_with(dependency: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let text =
            format!("[package]\nname = \"p\"\n\n[dependencies]\n{dependency}\nlog = \"1\"\n");
        fs::write(directory.path().join("Cargo.toml"), text).unwrap();
        directory
    }

    #[test]
    fn an_sdk_of_this_version_that_was_removed_is_there_again() {
        let cache = tempfile::tempdir().unwrap();
        let sdk = Sdk::unpacked(cache.path()).unwrap();
        let plugin = crate_with(&format!(
            "millstream-sdk = {{ path = {} }}",
            sdk.quoted_path()
        ));
        fs::remove_dir_all(cache.path().join(FOLDER)).unwrap();
        provide(plugin.path()).unwrap();
        assert!(sdk.crate_dir().join("src/lib.rs").is_file());
    }

    #[test]
    fn an_sdk_of_another_version_is_used_while_it_is_there_and_asked_for_when_it_is_gone() {
        let cache = tempfile::tempdir().unwrap();
        let old = cache.path().join("sdk/0.0.9-0123456789abcdef/rust");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join("Cargo.toml"), "").unwrap();
        let plugin = crate_with(&format!("millstream-sdk = {{ path = {} }}", quoted(&old)));
        provide(plugin.path()).unwrap();
        fs::remove_dir_all(cache.path().join(FOLDER)).unwrap();
        let error = provide(plugin.path()).unwrap_err().to_string();
        for part in [
            old.display().to_string(),
            format!("millstream plugin sdk {}", plugin.path().display()),
        ] {
            assert!(error.contains(&part), "no {part} in: {error}");
        }

        let sdk = Sdk::unpacked(cache.path()).unwrap();
        sdk.use_in(plugin.path()).unwrap();
        let text = fs::read_to_string(plugin.path().join("Cargo.toml")).unwrap();
        let expected = format!(
            "[package]\nname = \"p\"\n\n[dependencies]\nmillstream-sdk = {{ path = {} }}\nlog = \"1\"\n",
            sdk.quoted_path()
        );
        assert_eq!(text, expected);
        provide(plugin.path()).unwrap();
    }

    #[test]
    fn a_place_of_the_authors_own_is_left_alone() {
        for dependency in [
            "millstream-sdk = { path = \"../sdk/rust\" }",
            "millstream-sdk = { path = \"/nowhere/sdk/mine/rust\" }",
            "millstream-sdk.workspace = true",
            "millstream-sdk = \"1\"",
            "",
        ] {
            provide(crate_with(dependency).path()).unwrap();
        }
        let cache = tempfile::tempdir().unwrap();
        let sdk = Sdk::unpacked(cache.path()).unwrap();
        let plugin = crate_with("millstream-sdk = \"1\"");
        let error = sdk.use_in(plugin.path()).unwrap_err().to_string();
        assert!(error.contains("millstream-sdk = { path"), "{error}");
    }
}
