//! Compiled plugins on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use millstream_plugin_host::{Engine, EngineError, EngineOptions};

use crate::guest::Guest;

fn engine(cache: &Path) -> Result<Engine, EngineError> {
    Engine::new(EngineOptions {
        cache_dir: Some(cache.to_owned()),
        compiler: None,
    })
}

fn artifacts(cache: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "cwasm")
    });
    paths.sort();
    paths
}

fn named(name: &str) -> Vec<u8> {
    let descriptor =
        format!(r#"{{"name":"{name}","version":"1","frames":1,"inputs":["in"],"outputs":[]}}"#);
    Guest {
        descriptor,
        ..Guest::new("(i32.const 1)")
    }
    .wasm()
}

#[tokio::test]
async fn a_second_load_takes_the_artifact() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("plugins");
    let (one, two) = (named("one"), named("two"));
    let first = engine(&cache).unwrap();
    assert_eq!(first.load(&one).await.unwrap().descriptor().name, "one");
    let of_one = artifacts(&cache);
    assert_eq!(of_one.len(), 1);
    assert_eq!(
        fs::metadata(&cache).unwrap().permissions().mode() & 0o777,
        0o700
    );

    // Proof that the artifact is what runs: put the artifact of one in the place of two's.
    first.load(&two).await.unwrap();
    let of_two: Vec<_> = artifacts(&cache)
        .into_iter()
        .filter(|path| !of_one.contains(path))
        .collect();
    for extension in ["cwasm", "crc32c"] {
        fs::copy(
            of_one[0].with_extension(extension),
            of_two[0].with_extension(extension),
        )
        .unwrap();
    }
    let second = engine(&cache).unwrap();
    assert_eq!(second.load(&two).await.unwrap().descriptor().name, "one");
}

#[tokio::test]
async fn a_damaged_artifact_is_compiled_again() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("plugins");
    let wasm = named("one");
    engine(&cache).unwrap().load(&wasm).await.unwrap();
    let path = artifacts(&cache).remove(0);
    let sound = fs::read(&path).unwrap();
    for damage in [
        Box::new(|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2))
            as Box<dyn Fn(&mut Vec<u8>)>,
        Box::new(|bytes| bytes.clear()),
        Box::new(|bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
    ] {
        let mut bytes = sound.clone();
        damage(&mut bytes);
        // A new file: the old one may still be mapped.
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes).unwrap();
        assert_eq!(
            engine(&cache)
                .unwrap()
                .load(&wasm)
                .await
                .unwrap()
                .descriptor()
                .name,
            "one"
        );
        assert_eq!(
            fs::read(&path).unwrap().len(),
            sound.len(),
            "the artifact was not replaced"
        );
    }
}

#[tokio::test]
async fn a_directory_that_others_can_enter_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("plugins");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
    let error = engine(&cache).unwrap_err();
    assert!(
        matches!(&error, EngineError::CacheDir { path, .. } if *path == cache),
        "{error}"
    );
}

#[tokio::test]
async fn what_does_not_fit_the_contract_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("plugins");
    let wasm = crate::guest::with_world(
        r#"(module (func (export "run")))"#,
        "package some:one@1.0.0; world plugin { export run: func(); }",
    );
    assert!(engine(&cache).unwrap().load(&wasm).await.is_err());
    assert_eq!(artifacts(&cache), Vec::<PathBuf>::new());
}
