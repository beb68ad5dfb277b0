//! Keys and timestamps out of a row's fields.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::rfc3339::rfc3339_to_epoch_ms;
use crate::manifest::TimestampFormat;

/// A field as epoch milliseconds, or why it is none.
pub fn timestamp_ms(text: &str, format: TimestampFormat) -> Result<i64, String> {
    let parsed = match format {
        TimestampFormat::Rfc3339 => rfc3339_to_epoch_ms(text),
        TimestampFormat::EpochMs => text.trim().parse().ok(),
    };
    let name = match format {
        TimestampFormat::Rfc3339 => "RFC 3339",
        TimestampFormat::EpochMs => "epoch milliseconds",
    };
    let sound = parsed.filter(|ms| *ms >= 0);
    sound.ok_or_else(|| format!("the timestamp `{text}` is not {name} from 1970 on"))
}

/// Up to two fields of a JSON object, as text: strings without their quotes, numbers and truth
/// values as they are written.
pub fn json_fields<'j>(
    line: &'j [u8],
    wanted: [Option<&str>; 2],
) -> Result<[Option<Cow<'j, str>>; 2], String> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let found = serde::Deserializer::deserialize_map(&mut deserializer, Wanted(wanted));
    let found = found.map_err(|error| format!("the line is no JSON object: {error}"))?;
    deserializer
        .end()
        .map_err(|error| format!("something follows the JSON object: {error}"))?;
    Ok(found)
}

struct Wanted<'w>([Option<&'w str>; 2]);

impl<'j> Visitor<'j> for Wanted<'_> {
    type Value = [Option<Cow<'j, str>>; 2];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None, None];
        while let Some(key) = map.next_key::<String>()? {
            // Both may want the same field.
            if !self.0.contains(&Some(&key)) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: serde_json::Value = map.next_value()?;
            let text = match value {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(Cow::Owned(text)),
                other => Some(Cow::Owned(other.to_string())),
            };
            for (slot, name) in found.iter_mut().zip(self.0) {
                if name == Some(&key) {
                    slot.clone_from(&text);
                }
            }
        }
        Ok(found)
    }
}
