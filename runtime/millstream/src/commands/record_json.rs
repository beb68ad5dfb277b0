//! The JSON form of a record: what `consume --output json` prints and `produce --input json` reads.
//!
//! ```json
//! {"topic":"t","partition":0,"offset":5,"timestamp":1700000000000,
//!  "key":"k","value":"text","headers":[["trace","1"],["empty",null]]}
//! ```
//! Bytes that are not UTF-8 have the form `{"base64":"…"}`. On input every field may be missing,
//! `topic` and `offset` are not looked at, `headers` may also be an object, and a key or value that
//! is another JSON value stands for its compact text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millstream_records::Record;
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

use crate::client::{NewHeaders, NewRecord};

/// A record that was read, ready to be printed.
#[derive(Debug, Serialize)]
pub struct PrintedRecord<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: PrintedBytes<'a>,
    value: PrintedBytes<'a>,
    headers: PrintedHeaders<'a>,
}

impl<'a> PrintedRecord<'a> {
    pub fn new(topic: &'a str, partition: i32, record: &Record<'a>) -> PrintedRecord<'a> {
        PrintedRecord {
            topic,
            partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: PrintedBytes(record.key),
            value: PrintedBytes(record.value),
            headers: PrintedHeaders(record.headers.iter().collect()),
        }
    }
}

#[derive(Debug)]
struct PrintedBytes<'a>(Option<&'a [u8]>);

impl Serialize for PrintedBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_none(),
            Some(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => {
                    let mut map = serializer.serialize_map(Some(1))?;
                    map.serialize_entry("base64", &STANDARD.encode(bytes))?;
                    map.end()
                }
            },
        }
    }
}

#[derive(Debug)]
struct PrintedHeaders<'a>(Vec<(&'a [u8], Option<&'a [u8]>)>);

impl Serialize for PrintedHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            list.serialize_element(&(PrintedBytes(Some(name)), PrintedBytes(*value)))?;
        }
        list.end()
    }
}

/// Reads one line.
pub fn parse(line: &[u8]) -> Result<NewRecord, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let Value::Object(mut fields) = value else {
        return Err("a record is a JSON object".to_owned());
    };
    let mut record = NewRecord {
        key: fields.remove("key").map_or(Ok(None), |v| bytes("key", v))?,
        value: fields
            .remove("value")
            .map_or(Ok(None), |v| bytes("value", v))?,
        headers: fields.remove("headers").map_or(Ok(Vec::new()), headers)?,
        ..NewRecord::default()
    };
    if let Some(partition) = integer(&mut fields, "partition")? {
        let partition = i32::try_from(partition);
        record.partition = Some(partition.map_err(|_| "\"partition\" is too large".to_owned())?);
    }
    record.timestamp = integer(&mut fields, "timestamp")?;
    fields.remove("topic");
    fields.remove("offset");
    match fields.keys().next() {
        None => Ok(record),
        Some(name) => Err(format!(
            "unknown field {name:?}; known are key, value, headers, partition and timestamp"
        )),
    }
}

fn integer(fields: &mut serde_json::Map<String, Value>, name: &str) -> Result<Option<i64>, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{name:?} is a whole number, not {value}")),
        },
    }
}

fn bytes(name: &str, value: Value) -> Result<Option<Vec<u8>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.into_bytes())),
        Value::Object(object) if object.len() == 1 && object.contains_key("base64") => {
            let text = object["base64"]
                .as_str()
                .ok_or(format!("{name:?}: base64 is text"))?;
            let decoded = STANDARD.decode(text);
            decoded
                .map(Some)
                .map_err(|error| format!("{name:?}: {error}"))
        }
        other => Ok(Some(other.to_string().into_bytes())),
    }
}

/// A list of pairs, which keeps order and repeated names, or an object.
fn headers(value: Value) -> Result<NewHeaders, String> {
    let wrong = || "\"headers\" is an object or a list of [name, value] pairs".to_owned();
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(object) => object
            .into_iter()
            .map(|(name, value)| Ok((name.into_bytes(), bytes("headers", value)?)))
            .collect(),
        Value::Array(pairs) => pairs
            .into_iter()
            .map(|pair| match pair {
                Value::Array(pair) => {
                    let [name, value] = <[Value; 2]>::try_from(pair).map_err(|_| wrong())?;
                    let name = bytes("headers", name)?.ok_or_else(wrong)?;
                    Ok((name, bytes("headers", value)?))
                }
                _ => Err(wrong()),
            })
            .collect(),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use millstream_records::{BatchBuilder, BatchOptions, BatchView};

    use super::*;

    #[test]
    fn what_is_printed_can_be_read_again() {
        let headers: [(&[u8], Option<&[u8]>); 3] =
            [(b"a", Some(b"1")), (b"a", None), (b"b", Some(b"\xff\x00"))];
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder
            .append(17, Some(b"k\"\n"), Some(b"\xfe\xff"), headers)
            .expect("fits");
        let batch = builder.build().expect("builds");
        let records = BatchView::parse(&batch).expect("sound").records(1000);
        let records = records.expect("sound");
        let record = records.iter().next().expect("one").expect("sound");
        let line = serde_json::to_string(&PrintedRecord::new("t", 3, &record)).expect("prints");
        assert_eq!(
            line,
            r#"{"topic":"t","partition":3,"offset":0,"timestamp":17,"key":"k\"\n","value":{"base64":"/v8="},"headers":[["a","1"],["a",null],["b",{"base64":"/wA="}]]}"#
        );
        let owned =
            |(name, value): (&[u8], Option<&[u8]>)| (name.to_vec(), value.map(<[u8]>::to_vec));
        assert_eq!(
            parse(line.as_bytes()),
            Ok(NewRecord {
                partition: Some(3),
                timestamp: Some(17),
                key: Some(b"k\"\n".to_vec()),
                value: Some(b"\xfe\xff".to_vec()),
                headers: headers.map(owned).to_vec(),
            })
        );
    }

    #[test]
    fn every_field_may_be_missing_and_a_json_value_is_its_text() {
        assert_eq!(parse(b"{}"), Ok(NewRecord::default()));
        let record = parse(br#"{"key":5,"value":{"b":[1,2]},"headers":{"x":"y"}}"#).expect("reads");
        assert_eq!(record.key.as_deref(), Some(&b"5"[..]));
        assert_eq!(record.value.as_deref(), Some(&br#"{"b":[1,2]}"#[..]));
        assert_eq!(record.headers, [(b"x".to_vec(), Some(b"y".to_vec()))]);
    }

    #[test]
    fn a_mistake_is_named() {
        for (line, part) in [
            ("[1]", "a JSON object"),
            ("{\"valeu\":1}", "valeu"),
            ("{\"partition\":\"x\"}", "partition"),
            ("{\"partition\":99999999999}", "too large"),
            ("{\"headers\":[1]}", "pairs"),
            ("{\"key\":{\"base64\":\"*\"}}", "key"),
            ("{\"key\"", "EOF"),
        ] {
            let error = parse(line.as_bytes()).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
