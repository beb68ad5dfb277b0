//! Input records as JSON lines.
//!
//! ```json
//! {"key": "IAH", "value": "text", "headers": {"name": "value"}, "timestamp": 1700000000000}
//! {"value": {"any": "JSON but a string is its text"}}
//! {"key_base64": "AAEC", "value": null}
//! ```

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One input record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fixture {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Milliseconds since 1970; 0 when the line does not say.
    pub timestamp: i64,
}

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not a record: {reason}")]
pub struct FixtureError {
    pub line: usize,
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    key: Value,
    key_base64: Option<String>,
    #[serde(default)]
    value: Value,
    value_base64: Option<String>,
    #[serde(default)]
    headers: InOrder,
    #[serde(default)]
    timestamp: i64,
}

/// The members of a JSON object as they stand there; a name may come twice, as headers may.
#[derive(Default)]
struct InOrder(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = InOrder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(InOrder(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Reads JSON lines; empty lines are passed over.
pub fn parse_fixtures(text: &str) -> Result<Vec<Fixture>, FixtureError> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            parse_line(line).map_err(|reason| FixtureError {
                line: index + 1,
                reason,
            })
        })
        .collect()
}

fn parse_line(line: &str) -> Result<Fixture, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if line.timestamp < 0 {
        return Err(format!("the timestamp {} is before 1970", line.timestamp));
    }
    Ok(Fixture {
        key: field("key", line.key, line.key_base64)?,
        value: field("value", line.value, line.value_base64)?,
        headers: line
            .headers
            .0
            .into_iter()
            .map(|(name, value)| (name.into_bytes(), bytes_of(value)))
            .collect(),
        timestamp: line.timestamp,
    })
}

fn field(name: &str, value: Value, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (value, base64) {
        (value, None) => Ok(bytes_of(value)),
        (Value::Null, Some(text)) => match BASE64_STANDARD.decode(text) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(format!("{name}_base64: {error}")),
        },
        _ => Err(format!("there is a {name} and a {name}_base64")),
    }
}

/// A string is its text, null is null, anything else is its JSON.
fn bytes_of(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.into_bytes()),
        other => Some(other.to_string().into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_records() {
        let text = r#"{"key":"k","value":{"a":1},"headers":{"n":"v","m":null},"timestamp":7}

            {"key_base64":"AAEC"}"#;
        let fixtures = parse_fixtures(text).unwrap();
        assert_eq!(fixtures[0].value.as_deref(), Some(&br#"{"a":1}"#[..]));
        assert_eq!(
            fixtures[0].headers,
            [(b"n".to_vec(), Some(b"v".to_vec())), (b"m".to_vec(), None)]
        );
        assert_eq!(fixtures[0].timestamp, 7);
        assert_eq!(
            fixtures[1],
            Fixture {
                key: Some(vec![0, 1, 2]),
                ..Fixture::default()
            }
        );
    }

    #[test]
    fn a_wrong_line_is_named() {
        for line in [
            "no json",
            r#"{"vaule":1}"#,
            r#"{"key":"a","key_base64":"AA=="}"#,
            r#"{"timestamp":-1}"#,
        ] {
            let error = parse_fixtures(&format!("{{}}\n{line}")).unwrap_err();
            assert_eq!(error.line, 2, "{error}");
        }
    }
}
