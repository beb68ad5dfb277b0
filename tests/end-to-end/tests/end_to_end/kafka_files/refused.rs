//! A node that is given the directory of a real Kafka broker.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use millstream_end_to_end::Client;

use super::{Kafka, all_kinds};
use crate::scene::{FREE_PORTS, millstream};

/// Every file below a directory with its bytes, and every directory.
fn everything(dir: &Path) -> Result<BTreeMap<PathBuf, Option<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(everything(&path)?);
            found.insert(path, None);
        } else {
            let bytes = std::fs::read(&path)?;
            found.insert(path, Some(bytes));
        }
    }
    Ok(found)
}

#[test]
fn the_directory_of_a_kafka_broker_is_refused_and_not_a_byte_of_it_changed() -> Result<()> {
    let (Some(jars), Some(program)) = (Client::ApacheKafka.find(), Client::ConfluentKafka.find())
    else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let kafka = Kafka::start(&jars, dir.path())?;
    all_kinds(&program, &kafka.address, "write")?;
    kafka.script("stop")?;
    let logs = kafka.logs();
    let before = everything(&logs)?;
    ensure!(
        before.len() > 30,
        "the broker has left {} files",
        before.len()
    );
    let path = logs.display().to_string();
    for flush in ["journal", "os"] {
        let words = ["serve", "--data-dir", &path, "--flush", flush];
        let output = millstream(&[&words[..], &FREE_PORTS].concat())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{output:?}");
        for part in [
            &*path,
            "__cluster_metadata-0",
            "a data directory of its own",
        ] {
            ensure!(said.contains(part), "no {part} in:\n{said}");
        }
        ensure!(everything(&logs)? == before, "the directory has changed");
    }
    Ok(())
}
