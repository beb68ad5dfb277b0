//! A stage's config, as a plugin gets it.

use std::fmt::Display;

use serde_json::{Map, Value};

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

/// A config that a plugin reads by hand, field by field: its module is a quarter smaller than with the two derives.
///
/// ```
/// use millstream_sdk::{Config, ConfigError, ConfigFields};
/// use serde_json::Value;
///
/// struct Keep(usize);
///
/// impl Config for Keep {
///     fn schema() -> Option<Value> {
///         ConfigFields::schema(r#"{ "properties": { "keep": { "type": "integer" } } }"#)
///     }
///
///     fn read(config: Value) -> Result<Self, ConfigError> {
///         let mut fields = ConfigFields::of(config)?;
///         let keep = fields.take("keep").and_then(|keep| keep.as_u64());
///         let keep = keep.ok_or_else(|| ConfigError::at("keep", "must be a number of bytes"))?;
///         fields.end()?;
///         Ok(Self(keep as usize))
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ConfigFields(Map<String, Value>);

impl ConfigFields {
    /// The schema that a text has.
    ///
    /// # Panics
    ///
    /// When the text is not JSON.
    pub fn schema(text: &str) -> Option<Value> {
        Some(serde_json::from_str(text).expect("the schema is JSON"))
    }

    /// The fields of a config; whatever is not a table is refused.
    pub fn of(config: Value) -> Result<Self, ConfigError> {
        match config {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(ConfigError::new("the config is a table")),
        }
    }

    /// Takes a field out; `None` when the config does not have it.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Refuses the fields that nobody took.
    pub fn end(self) -> Result<(), ConfigError> {
        let unknown = self
            .0
            .keys()
            .map(|name| ConfigError::at(name, "is not known"));
        unknown.reduce(ConfigError::and).map_or(Ok(()), Err)
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

    #[test]
    fn fields_that_nobody_takes_are_all_refused() {
        let mut fields = ConfigFields::of(json!({ "keep": 4, "kept": 1, "kip": 2 })).unwrap();
        assert_eq!(fields.take("keep"), Some(json!(4)));
        assert_eq!(fields.take("keep"), None);
        let error = fields.end().unwrap_err();
        let issues: Vec<_> = error.issues().collect();
        assert_eq!(issues, [("kept", "is not known"), ("kip", "is not known")]);
        assert_eq!(ConfigFields::of(json!({})).unwrap().end(), Ok(()));
        assert!(ConfigFields::of(json!([4])).is_err());
    }
}
