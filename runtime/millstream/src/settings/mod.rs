//! A node's settings: flags before environment before `millstream.toml` before defaults.

mod file;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::outcome::{Failure, Outcome};
use file::SettingsFile;

/// Looked for in the current folder when `--config` does not name another.
const SETTINGS_FILE: &str = "millstream.toml";

/// When an acknowledged write is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flush {
    /// Before it is acknowledged: one flush of the journal for all that wait
    Journal,
    /// When the operating system writes it back, as Kafka does
    Os,
}

/// The flags that `run` and `serve` share. clap reads the environment where a flag is missing.
#[derive(Debug, Clone, Default, Args)]
pub struct NodeArguments {
    /// Where the node keeps its data [default: ./millstream-data]
    #[arg(long, env = "MILLSTREAM_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where Kafka clients connect; port 0 takes a free one [default: 127.0.0.1:9092]
    #[arg(long, env = "MILLSTREAM_KAFKA_ADDR", value_name = "ADDR")]
    pub kafka_addr: Option<SocketAddr>,
    /// Where metrics and health are served; port 0 takes a free one [default: 127.0.0.1:8090]
    #[arg(long, env = "MILLSTREAM_HTTP_ADDR", value_name = "ADDR")]
    pub http_addr: Option<SocketAddr>,
    /// When an acknowledged write is on the disk [default: journal]
    #[arg(long, env = "MILLSTREAM_FLUSH", value_enum)]
    pub flush: Option<Flush>,
    /// The node's id in the cluster [default: 1]
    #[arg(long, env = "MILLSTREAM_NODE_ID", value_name = "ID")]
    pub node_id: Option<i32>,
    /// A broker setting by Kafka's name, as in `--set num.partitions=4`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// The settings file [default: ./millstream.toml if it is there]
    #[arg(long, env = "MILLSTREAM_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What a node is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    pub data_dir: PathBuf,
    pub kafka_addr: SocketAddr,
    pub http_addr: SocketAddr,
    pub flush: Flush,
    pub node_id: i32,
    /// Broker settings by Kafka's names.
    pub broker: BTreeMap<String, String>,
}

impl Default for NodeSettings {
    fn default() -> NodeSettings {
        NodeSettings {
            data_dir: "millstream-data".into(),
            kafka_addr: ([127, 0, 0, 1], 9092).into(),
            http_addr: ([127, 0, 0, 1], 8090).into(),
            flush: Flush::Journal,
            node_id: 1,
            broker: BTreeMap::new(),
        }
    }
}

impl NodeArguments {
    /// Reads the settings file, if there is one, and lays environment and flags over it.
    pub fn resolve(&self) -> Outcome<NodeSettings> {
        let file = self.settings_file()?;
        let defaults = NodeSettings::default();
        let mut broker = file.broker;
        broker.extend(broker_environment(std::env::vars()));
        broker.extend(self.set.iter().cloned());
        Ok(NodeSettings {
            data_dir: self
                .data_dir
                .clone()
                .or(file.data_dir)
                .unwrap_or(defaults.data_dir),
            kafka_addr: self
                .kafka_addr
                .or(file.kafka_addr)
                .unwrap_or(defaults.kafka_addr),
            http_addr: self
                .http_addr
                .or(file.http_addr)
                .unwrap_or(defaults.http_addr),
            flush: self.flush.or(file.flush).unwrap_or(defaults.flush),
            node_id: self.node_id.or(file.node_id).unwrap_or(defaults.node_id),
            broker,
        })
    }

    fn settings_file(&self) -> Outcome<SettingsFile> {
        let path = match &self.config {
            Some(path) => path.as_path(),
            None if Path::new(SETTINGS_FILE).exists() => Path::new(SETTINGS_FILE),
            None => return Ok(SettingsFile::default()),
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!(
                "cannot read the settings file {}: {error}",
                path.display()
            ))
        })?;
        SettingsFile::parse(&text).map_err(|error| {
            Failure::usage(format!("in the settings file {}: {error}", path.display()))
        })
    }
}

/// `MILLSTREAM_BROKER_NUM_PARTITIONS=4` means `num.partitions = 4`.
fn broker_environment(
    variables: impl Iterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    let by_kafkas_name = |(name, value): (String, String)| {
        let key = name.strip_prefix("MILLSTREAM_BROKER_")?;
        Some((key.to_ascii_lowercase().replace('_', "."), value))
    };
    variables.filter_map(by_kafkas_name).collect()
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok((key.trim().to_string(), value.trim().to_string()))
        }
        _ => Err(format!("`{text}` is not of the form KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_before_the_file_and_the_file_before_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.toml");
        let text = "data-dir = \"/from/file\"\nflush = \"os\"\n[broker]\n\"num.partitions\" = 3\n\"log.segment.bytes\" = 5\n";
        std::fs::write(&path, text).unwrap();
        let arguments = NodeArguments {
            config: Some(path),
            kafka_addr: Some("127.0.0.1:7".parse().unwrap()),
            set: vec![("num.partitions".into(), "9".into())],
            ..NodeArguments::default()
        };
        let settings = arguments.resolve().unwrap();
        assert_eq!(settings.data_dir, Path::new("/from/file"));
        assert_eq!(settings.flush, Flush::Os);
        assert_eq!(settings.kafka_addr.port(), 7);
        assert_eq!(settings.http_addr.port(), 8090);
        assert_eq!(settings.broker["num.partitions"], "9");
        assert_eq!(settings.broker["log.segment.bytes"], "5");
    }

    #[test]
    fn the_environment_spells_kafkas_names_in_capitals() {
        let variables = [("MILLSTREAM_BROKER_NUM_PARTITIONS", "4"), ("OTHER", "1")];
        let found = broker_environment(
            variables
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string())),
        );
        assert_eq!(
            found,
            BTreeMap::from([("num.partitions".to_string(), "4".to_string())])
        );
    }

    #[test]
    fn a_settings_file_that_is_named_must_exist() {
        let arguments = NodeArguments {
            config: Some("/nowhere/m.toml".into()),
            ..NodeArguments::default()
        };
        let failure = arguments.resolve().unwrap_err();
        assert_eq!(failure.kind, crate::outcome::FailureKind::Usage);
        assert!(failure.error.to_string().contains("/nowhere/m.toml"));
    }
}
