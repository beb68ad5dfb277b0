//! What a plugin is told when it is opened.

use serde_json::Value;

use crate::ConfigError;

/// The stage and task that an instance works for.
#[derive(Debug, Clone)]
pub struct Open {
    pub pipeline: String,
    pub stage: String,
    /// Partition of the task.
    pub partition: i32,
    inputs: Vec<Input>,
    pub(crate) outputs: Vec<String>,
}

#[derive(Debug, Clone)]
struct Input {
    name: String,
    topic: String,
}

impl Open {
    /// Reads the contract's open context; the config in it stands beside.
    ///
    /// By hand, and not with serde's derive: this is compiled into every plugin, and the derive costs more than all
    /// the rest of it.
    pub(crate) fn parse(context: &str) -> Result<(Self, Value), ConfigError> {
        let wrong = |what: &dyn std::fmt::Display| {
            ConfigError::new(format!("the open context cannot be read: {what}"))
        };
        let mut context: Value = serde_json::from_str(context).map_err(|error| wrong(&error))?;
        let config = context.get_mut("config").map(Value::take);
        let open = Self::of_document(&context).map_err(|key| wrong(&format!("`{key}`")))?;
        Ok((open, config.unwrap_or_default()))
    }

    /// An error is the key that is missing or has another type.
    fn of_document(context: &Value) -> Result<Self, &'static str> {
        let list = |key| context[key].as_array().ok_or(key);
        let input = |input: &Value| {
            Ok(Input {
                name: text(input, "name")?,
                topic: text(input, "topic")?,
            })
        };
        let output = |output: &Value| output.as_str().map(str::to_owned).ok_or("outputs");
        let partition = context["partition"].as_i64();
        Ok(Self {
            pipeline: text(context, "pipeline")?,
            stage: text(context, "stage")?,
            partition: partition
                .and_then(|partition| i32::try_from(partition).ok())
                .ok_or("partition")?,
            inputs: list("inputs")?
                .iter()
                .map(input)
                .collect::<Result<_, _>>()?,
            outputs: list("outputs")?
                .iter()
                .map(output)
                .collect::<Result<_, _>>()?,
        })
    }

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

fn text(document: &Value, key: &'static str) -> Result<String, &'static str> {
    document[key].as_str().map(str::to_owned).ok_or(key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn context() -> Value {
        json!({
            "frames": 1, "pipeline": "p", "stage": "s", "partition": 3,
            "inputs": [{ "name": "in", "topic": "flights" }], "outputs": ["late"], "config": { "keep": 4 },
            "later": "keys are only ever added",
        })
    }

    #[test]
    fn the_open_context_is_read() {
        let (open, config) = Open::parse(&context().to_string()).unwrap();
        assert_eq!(
            (open.pipeline.as_str(), open.stage.as_str(), open.partition),
            ("p", "s", 3)
        );
        assert_eq!(open.inputs().collect::<Vec<_>>(), [("in", "flights")]);
        assert_eq!(open.outputs().collect::<Vec<_>>(), ["late"]);
        assert_eq!(config, json!({ "keep": 4 }));

        let mut without = context();
        without.as_object_mut().unwrap().remove("config");
        assert_eq!(Open::parse(&without.to_string()).unwrap().1, Value::Null);
    }

    #[test]
    fn a_context_that_breaks_the_contract_is_refused_with_its_key() {
        for key in ["pipeline", "stage", "partition", "inputs", "outputs"] {
            let mut broken = context();
            broken[key] = json!({ "not": "this" });
            let error = Open::parse(&broken.to_string()).unwrap_err();
            let message = format!("the open context cannot be read: `{key}`");
            assert_eq!(error, ConfigError::new(message));
        }
        for no_document in ["", "3", "[]", "null"] {
            assert!(Open::parse(no_document).is_err(), "{no_document:?}");
        }
    }
}
