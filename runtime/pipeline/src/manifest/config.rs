//! A stage's `config`: TOML turned into JSON, with the place of every value, and its check by the
//! plugin's own JSON Schema.

use std::ops::Range;

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use super::Spans;
use super::document::{Problems, wrong_type};
use super::report::Problem;
use super::suggest::{nearest, one_of};

/// A stage's config.
#[derive(Debug, Clone)]
pub struct ConfigTable {
    pub json: Value,
    pub span: Range<usize>,
    /// Places of values and, under `<pointer>#key`, of keys; by JSON pointer.
    spans: Spans,
}

impl ConfigTable {
    pub fn empty(span: Range<usize>) -> Self {
        ConfigTable {
            json: Value::Object(serde_json::Map::new()),
            span,
            spans: Spans::new(),
        }
    }

    pub(super) fn read(value: &Spanned<DeValue<'_>>, problems: &Problems) -> Option<Self> {
        if !value.get_ref().is_table() {
            problems.add(wrong_type(
                "config",
                value.span(),
                "a table",
                value.get_ref(),
            ));
            return None;
        }
        let mut spans = Spans::new();
        let json = convert(value, String::new(), &mut spans, problems)?;
        Some(ConfigTable {
            json,
            span: value.span(),
            spans,
        })
    }

    /// Checks the config by a plugin's schema; no schema means that the plugin takes no config.
    /// `plugin` names the plugin in messages.
    pub fn check(&self, plugin: &str, schema: Option<&Value>) -> Vec<Problem> {
        let Some(schema) = schema else {
            let empty = self.json.as_object().is_none_or(|table| table.is_empty());
            return if empty {
                Vec::new()
            } else {
                vec![
                    Problem::new(format!("the plugin {plugin} takes no config"))
                        .at(self.span.clone())
                        .label("leave this out"),
                ]
            };
        };
        let validator = match jsonschema::validator_for(schema) {
            Ok(validator) => validator,
            Err(error) => {
                return vec![
                    Problem::new(format!(
                        "the config schema of the plugin {plugin} is broken: {error}"
                    ))
                    .at(self.span.clone())
                    .help("this is a mistake in the plugin, not in the manifest"),
                ];
            }
        };
        validator
            .iter_errors(&self.json)
            .flat_map(|error| {
                let pointer = error.instance_path().as_str().to_owned();
                self.explain(plugin, &pointer, error.kind(), &error.to_string(), schema)
            })
            .collect()
    }

    fn explain(
        &self,
        plugin: &str,
        pointer: &str,
        kind: &ValidationErrorKind,
        text: &str,
        schema: &Value,
    ) -> Vec<Problem> {
        match kind {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = known_properties(schema, pointer);
                unexpected
                    .iter()
                    .map(|key| self.unknown_key(plugin, pointer, key, &known))
                    .collect()
            }
            ValidationErrorKind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                vec![
                    Problem::new(format!("the config of the plugin {plugin} needs `{key}`"))
                        .at(self.span_of(pointer))
                        .label(format!("needs `{key}`")),
                ]
            }
            _ => vec![
                Problem::new(format!(
                    "the plugin {plugin} does not take this config: {text}"
                ))
                .at(self.span_of(pointer))
                .label("does not fit the plugin's schema"),
            ],
        }
    }

    fn unknown_key(&self, plugin: &str, pointer: &str, key: &str, known: &[String]) -> Problem {
        let place = format!("{pointer}/{}#key", escape(key));
        let span = self.spans.get(&place).cloned();
        let problem = Problem::new(format!("the config of the plugin {plugin} has no `{key}`"))
            .at(span.unwrap_or_else(|| self.span_of(pointer)))
            .label("not known");
        match nearest(key, known.iter().map(String::as_str)) {
            Some(meant) => problem.help(format!("did you mean `{meant}`?")),
            None if known.is_empty() => problem,
            None => problem.help(format!("known here: {}", one_of(known))),
        }
    }

    /// The place of what a pointer names, or of the nearest thing around it.
    pub fn span_of(&self, pointer: &str) -> Range<usize> {
        let mut pointer = pointer;
        loop {
            if let Some(span) = self.spans.get(pointer) {
                return span.clone();
            }
            match pointer.rfind('/') {
                Some(cut) => pointer = &pointer[..cut],
                None => return self.span.clone(),
            }
        }
    }
}

/// The properties that the schema names where `pointer` points, as far as that can be followed.
fn known_properties(schema: &Value, pointer: &str) -> Vec<String> {
    let mut at = schema;
    for step in pointer.split('/').skip(1) {
        let next = at
            .get("properties")
            .and_then(|properties| properties.get(step))
            .or_else(|| at.get("items"));
        let Some(next) = next else { return Vec::new() };
        at = match next.get("$ref").and_then(Value::as_str) {
            Some(reference) => match schema.pointer(reference.trim_start_matches('#')) {
                Some(target) => target,
                None => return Vec::new(),
            },
            None => next,
        };
    }
    let properties = at.get("properties").and_then(Value::as_object);
    properties
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

fn convert(
    value: &Spanned<DeValue<'_>>,
    pointer: String,
    spans: &mut Spans,
    problems: &Problems,
) -> Option<Value> {
    spans.insert(pointer.clone(), value.span());
    Some(match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Integer(number) => {
            let Ok(number) = i64::from_str_radix(number.as_str(), number.radix()) else {
                problems.add(
                    Problem::new("this number is too large")
                        .at(value.span())
                        .label("must fit 64 bits"),
                );
                return None;
            };
            Value::from(number)
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse::<f64>().ok();
            let Some(number) = parsed.and_then(serde_json::Number::from_f64) else {
                problems.add(
                    Problem::new("this number cannot be written as JSON")
                        .at(value.span())
                        .label("must be finite"),
                );
                return None;
            };
            Value::Number(number)
        }
        DeValue::Array(items) => {
            let mut out = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                out.push(convert(
                    item,
                    format!("{pointer}/{index}"),
                    spans,
                    problems,
                )?);
            }
            Value::Array(out)
        }
        DeValue::Table(table) => {
            let mut out = serde_json::Map::new();
            for (key, item) in table.iter() {
                let place = format!("{pointer}/{}", escape(key.get_ref()));
                spans.insert(format!("{place}#key"), key.span());
                out.insert(
                    key.get_ref().to_string(),
                    convert(item, place, spans, problems)?,
                );
            }
            Value::Object(out)
        }
    })
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
