//! `millstream.toml`, the settings of a node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::Flush;

/// The file's keys; a key that is not here is an error with its line.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SettingsFile {
    pub data_dir: Option<PathBuf>,
    pub kafka_addr: Option<SocketAddr>,
    pub http_addr: Option<SocketAddr>,
    pub flush: Option<Flush>,
    pub node_id: Option<i32>,
    /// Broker settings by Kafka's names; numbers and booleans may be written as such.
    #[serde(default, deserialize_with = "scalars")]
    pub broker: BTreeMap<String, String>,
}

impl SettingsFile {
    pub fn parse(text: &str) -> Result<SettingsFile, toml::de::Error> {
        toml::from_str(text)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

fn scalars<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, Scalar>::deserialize(from)?;
    let text = |scalar| match scalar {
        Scalar::Text(text) => text,
        Scalar::Integer(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Boolean(flag) => flag.to_string(),
    };
    Ok(values
        .into_iter()
        .map(|(key, scalar)| (key, text(scalar)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = SettingsFile::parse("flush = \"os\"\ndata-dirr = \"x\"\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2") && error.contains("data-dirr"),
            "{error}"
        );
    }
}
