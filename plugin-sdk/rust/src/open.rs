//! What a plugin is told when it is opened.

use std::fmt::Display;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

/// The stage and task that an instance works for.
#[derive(Debug, Clone, Deserialize)]
pub struct Open {
    pub pipeline: String,
    pub stage: String,
    /// Partition of the task.
    pub partition: i32,
    inputs: Vec<Input>,
    pub(crate) outputs: Vec<String>,
    #[serde(default)]
    pub(crate) config: serde_json::Value,
}

#[derive(Debug, Clone, Deserialize)]
struct Input {
    name: String,
    topic: String,
}

impl Open {
    /// Name and topic of each input.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inputs
            .iter()
            .map(|input| (input.name.as_str(), input.topic.as_str()))
    }

    /// Names of the outputs that the manifest binds.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(String::as_str)
    }

    pub(crate) fn input(&self, index: u16) -> Option<(&str, &str)> {
        let input = self.inputs.get(usize::from(index))?;
        Some((&input.name, &input.topic))
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

/// A plugin that takes no config. A manifest that gives one is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoConfig;

impl<'de> Deserialize<'de> for NoConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Empty {}
        Option::<Empty>::deserialize(deserializer).map(|_| Self)
    }
}

impl JsonSchema for NoConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NoConfig".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": ["object", "null"], "additionalProperties": false })
    }
}
