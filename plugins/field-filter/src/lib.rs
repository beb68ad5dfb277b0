//! Routes JSON records by the value of one field: `matched` or `unmatched`.
//! It must not know what the records mean; the field and the values come from the stage's config.
//! Read `Config` for what can be set, then `process`.

use millstream_sdk::ConfigFields;
use millstream_sdk::prelude::*;
use serde_json::Value;

/// The stage's config.
#[derive(Debug)]
pub struct Config {
    /// The parts of the field's path.
    path: Vec<String>,
    /// A record matches when the field has one of these values.
    values: Vec<Value>,
    missing: Missing,
}

/// What happens to a record that does not have the field at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Missing {
    /// It goes to `unmatched`.
    #[default]
    Unmatched,
    /// It is refused, and goes where `on_error.reject` says.
    Refuse,
}

impl millstream_sdk::Config for Config {
    fn schema() -> Option<Value> {
        ConfigFields::schema(include_str!("config.schema.json"))
    }

    fn read(config: Value) -> Result<Self, ConfigError> {
        let mut fields = ConfigFields::of(config)?;
        let path = match fields.take("field") {
            Some(Value::String(field)) => field.split('.').map(str::to_owned).collect(),
            _ => return Err(ConfigError::at("field", "must be the path of a field")),
        };
        let values = match fields.take("values") {
            Some(Value::Array(values)) => values,
            _ => return Err(ConfigError::at("values", "must be a list")),
        };
        let missing = match fields.take("missing") {
            None => Missing::default(),
            Some(missing) if missing == "unmatched" => Missing::Unmatched,
            Some(missing) if missing == "refuse" => Missing::Refuse,
            Some(_) => {
                return Err(ConfigError::at(
                    "missing",
                    "must be `unmatched` or `refuse`",
                ));
            }
        };
        fields.end()?;
        Ok(Self {
            path,
            values,
            missing,
        })
    }
}

/// The plugin.
#[derive(Debug)]
pub struct FieldFilter(Config);

#[millstream::processor(outputs = ["matched", "unmatched"])]
impl Processor for FieldFilter {
    type Config = Config;

    fn open(config: Config, _open: &Open) -> Result<Self, ConfigError> {
        if config.path.iter().any(String::is_empty) {
            return Err(ConfigError::at("field", "a part of the path is empty"));
        }
        if config.values.is_empty() {
            return Err(ConfigError::at(
                "values",
                "there must be at least one value to look for",
            ));
        }
        Ok(Self(config))
    }

    fn process(&mut self, record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject> {
        let Self(config) = self;
        let document: Value = record.json()?;
        let found = config
            .path
            .iter()
            .try_fold(&document, |value, part| value.get(part));
        let matched = match (found, config.missing) {
            (Some(value), _) => config.values.contains(value),
            (None, Missing::Unmatched) => false,
            (None, Missing::Refuse) => reject!("there is no field `{}`", config.path.join(".")),
        };
        ctx.forward(if matched { "matched" } else { "unmatched" }, &record);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millstream_sdk::testing::{Harness, Input};
    use serde_json::json;

    use super::*;

    fn outputs_of(config: Value, document: &str) -> Result<Vec<String>, String> {
        let mut harness = Harness::<FieldFilter>::open(config).unwrap();
        match harness.process_one(Input::new("k", document)) {
            Ok(outputs) => Ok(outputs.into_iter().map(|output| output.output).collect()),
            Err(refusal) => Err(refusal.message),
        }
    }

    #[test]
    fn records_go_by_the_value_of_the_field() {
        let config = json!({ "field": "address.country", "values": ["NO", 47] });
        for (document, output) in [
            (r#"{"address":{"country":"NO"}}"#, "matched"),
            (r#"{"address":{"country":47}}"#, "matched"),
            (r#"{"address":{"country":"SE"}}"#, "unmatched"),
            (r#"{"address":{}}"#, "unmatched"),
            (r#"{"address":"NO"}"#, "unmatched"),
        ] {
            assert_eq!(
                outputs_of(config.clone(), document),
                Ok(vec![output.to_owned()]),
                "{document}"
            );
        }
    }

    #[test]
    fn a_missing_field_can_be_refused_and_no_json_always_is() {
        let config = json!({ "field": "a", "values": [1], "missing": "refuse" });
        assert_eq!(
            outputs_of(config.clone(), "{}"),
            Err("there is no field `a`".to_owned())
        );
        assert!(outputs_of(config, "no json").is_err());
    }

    #[test]
    fn a_config_that_makes_no_sense_is_refused_with_its_path() {
        for (config, path) in [
            (json!({ "field": "a..b", "values": [1] }), "field"),
            (json!({ "field": "a", "values": [] }), "values"),
            (json!({ "field": 1, "values": [1] }), "field"),
            (json!({ "field": "a" }), "values"),
            (
                json!({ "field": "a", "values": [1], "missing": "other" }),
                "missing",
            ),
            (json!({ "field": "a", "values": [1], "more": 1 }), "more"),
            (json!(["a"]), ""),
        ] {
            let error = Harness::<FieldFilter>::open(config).err().unwrap();
            assert_eq!(error.issues().next().unwrap().0, path);
        }
    }
}
