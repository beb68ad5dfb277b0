//! `meta.properties` at the root of the data directory: whose directory it is.
//!
//! ```text
//! # CRC-32C of the lines that follow: 1c291ca3      ours, a comment to Kafka; none in a file of Kafka's
//! version=1
//! cluster.id=MkU3OEVBNTcwNTJENDM2Qg
//! node.id=1
//! directory.id=fTkMeLHJSbqzEcGSCnqb4A
//! ```

use std::path::Path;

use uuid::Uuid;

use super::{CheckpointError, id_from_text, id_to_text, read_lines, read_pairs, write_atomically};
use crate::fs::FileSystem;

/// The file's name.
pub const META_PROPERTIES: &str = "meta.properties";

/// Begins the line with the checksum.
const CRC_PREFIX: &str = "# CRC-32C of the lines that follow: ";

/// Whose directory it is (Kafka's version 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster's id, in Kafka usually an id in its text form.
    pub cluster_id: String,
    pub node_id: i32,
    pub directory_id: Uuid,
}

impl MetaProperties {
    /// Reads the file; `None` when it does not exist.
    pub fn read(
        fs: &dyn FileSystem,
        path: &Path,
    ) -> Result<Option<MetaProperties>, CheckpointError> {
        let Some(pairs) = read_pairs(fs, path, '=')? else {
            return Ok(None);
        };
        check_crc(&read_lines(fs, path)?.unwrap_or_default(), path)?;
        let find = |key: &str| {
            let pair = pairs.iter().find(|(_, name, _)| name == key);
            pair.map(|(line, _, value)| (*line, value.as_str()))
                .ok_or_else(|| CheckpointError::malformed(path, 1, format!("`{key}` is missing")))
        };
        let (line, version) = find("version")?;
        if version != "1" {
            let reason = format!("version {version} is not known, only 1 is");
            return Err(CheckpointError::malformed(path, line, reason));
        }
        let (_, cluster_id) = find("cluster.id")?;
        let (line, node_id) = find("node.id")?;
        let node_id = node_id
            .parse()
            .map_err(|_| CheckpointError::malformed(path, line, "`node.id` is not a number"))?;
        let (line, directory_id) = find("directory.id")?;
        let directory_id = id_from_text(directory_id)
            .ok_or_else(|| CheckpointError::malformed(path, line, "`directory.id` is not an id"))?;
        Ok(Some(MetaProperties {
            cluster_id: cluster_id.to_owned(),
            node_id,
            directory_id,
        }))
    }

    /// Replaces the file.
    pub fn write(&self, fs: &dyn FileSystem, path: &Path) -> Result<(), CheckpointError> {
        write_atomically(fs, path, self.to_text().as_bytes())
    }

    /// What the file holds.
    pub fn to_text(&self) -> String {
        let lines = format!(
            "version=1\ncluster.id={}\nnode.id={}\ndirectory.id={}\n",
            self.cluster_id,
            self.node_id,
            id_to_text(self.directory_id)
        );
        let crc = crc32c::crc32c(lines.as_bytes());
        format!("{CRC_PREFIX}{crc:08x}\n{lines}")
    }
}

/// Nothing else tells that an id has changed.
fn check_crc(lines: &[String], path: &Path) -> Result<(), CheckpointError> {
    let Some((stored, rest)) = lines
        .split_first()
        .and_then(|(first, rest)| Some((first.strip_prefix(CRC_PREFIX)?, rest)))
    else {
        return Ok(());
    };
    let text: String = rest.iter().map(|line| format!("{line}\n")).collect();
    let computed = format!("{:08x}", crc32c::crc32c(text.as_bytes()));
    if stored == computed {
        return Ok(());
    }
    let reason = format!(
        "the CRC-32C of the lines that follow is {computed}, which is right if they were changed on purpose: then write it here"
    );
    Err(CheckpointError::malformed(path, 1, reason))
}
