//! A stage's config, as a plugin gets it.

use std::fmt::Display;

use serde_json::Value;

/// What a stage's config in the manifest is read into.
///
/// A type of your own needs the feature `config` of `millstream-sdk` and two derives, `serde::Deserialize` and
/// `schemars::JsonSchema`; that is all. Plugins without a config name [`NoConfig`], and build neither of the two crates.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a plugin's config",
    note = "a config has `#[derive(serde::Deserialize, schemars::JsonSchema)]`",
    note = "in Cargo.toml, `millstream-sdk` needs `features = [\"config\"]`; `serde` (feature `derive`) and `schemars` \
            are dependencies"
)]
pub trait Config: Sized + 'static {
    /// The JSON Schema that manifests are checked against; `None`: the plugin takes no config.
    fn schema() -> Option<Value>;

    /// Reads what the manifest says; an empty object when it says nothing.
    fn read(config: Value) -> Result<Self, ConfigError>;
}

#[cfg(feature = "config")]
impl<T: serde_core::de::DeserializeOwned + schemars::JsonSchema + 'static> Config for T {
    fn schema() -> Option<Value> {
        Some(schemars::schema_for!(T).to_value())
    }

    fn read(config: Value) -> Result<Self, ConfigError> {
        Ok(serde_json::from_value(config)?)
    }
}

/// A plugin that takes no config. A manifest that gives one is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoConfig;

impl Config for NoConfig {
    fn schema() -> Option<Value> {
        None
    }

    fn read(config: Value) -> Result<Self, ConfigError> {
        match config {
            Value::Null => Ok(Self),
            Value::Object(entries) => match entries.keys().next() {
                None => Ok(Self),
                Some(name) => Err(ConfigError::at(name, "the plugin takes no config")),
            },
            _ => Err(ConfigError::new("the plugin takes no config")),
        }
    }
}

/// The config is refused: which part, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub(crate) issues: Vec<(String, String)>,
}

impl ConfigError {
    /// The config as a whole is wrong.
    pub fn new(message: impl Display) -> Self {
        Self::at("", message)
    }

    /// The part at `path` (as `columns[2]`) is wrong.
    pub fn at(path: impl Display, message: impl Display) -> Self {
        Self {
            issues: vec![(path.to_string(), message.to_string())],
        }
    }

    /// Adds the complaints of another, so that all are seen at once.
    pub fn and(mut self, other: Self) -> Self {
        self.issues.extend(other.issues);
        self
    }

    /// Path and message of each complaint.
    pub fn issues(&self) -> impl Iterator<Item = (&str, &str)> {
        self.issues
            .iter()
            .map(|(path, message)| (path.as_str(), message.as_str()))
    }
}

impl<E: std::error::Error> From<E> for ConfigError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plugin_without_a_config_takes_nothing_and_says_what_is_too_much() {
        assert_eq!(NoConfig::schema(), None);
        for nothing in [json!(null), json!({})] {
            assert_eq!(NoConfig::read(nothing), Ok(NoConfig));
        }
        let error = NoConfig::read(json!({ "keep": 4 })).unwrap_err();
        let issues: Vec<_> = error.issues().collect();
        assert_eq!(issues, [("keep", "the plugin takes no config")]);
        assert!(NoConfig::read(json!([1])).is_err());
    }
}
