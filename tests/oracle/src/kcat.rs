//! What `kcat -C -J` prints: one JSON object per line.
//!
//! `{"topic":"t","partition":0,"offset":7,"tstype":"create","ts":123,"broker":1,"headers":["name","value",…],"key":"k","payload":"v"}`
//! `headers` is missing when there are none; keys, payloads and header values may be null. kcat copies bytes that are
//! not UTF-8 into its strings as they are, so the strings are read as bytes.

use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;

use anyhow::{Context, Result, bail, ensure};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::Record;

/// As [`parse_kcat_with_offsets`], without the offsets.
pub fn parse_kcat(output: impl BufRead) -> Result<Vec<Record>> {
    let records = parse_kcat_with_offsets(output)?;
    Ok(records.into_iter().map(|(_, record)| record).collect())
}

/// Reads kcat's output: offsets and records. The order of records within each partition is kept; an offset that does
/// not rise within its partition is an error (something was delivered twice or out of order).
pub fn parse_kcat_with_offsets(output: impl BufRead) -> Result<Vec<(i64, Record)>> {
    let mut records = Vec::new();
    let mut last_offsets: HashMap<(String, i32), i64> = HashMap::new();
    for (index, line) in output.split(b'\n').enumerate() {
        let number = index + 1;
        let line = line.with_context(|| format!("reading line {number}"))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let parsed = serde_json::from_slice::<Line>(&line).with_context(|| {
            format!(
                "line {number} is not what kcat -J prints: {}",
                String::from_utf8_lossy(&line)
            )
        })?;
        let (offset, record) = parsed
            .into_record()
            .with_context(|| format!("line {number}"))?;
        let partition = (record.topic.clone(), record.partition);
        if let Some(last) = last_offsets.insert(partition, offset) {
            let (topic, partition) = (&record.topic, record.partition);
            ensure!(
                offset > last,
                "line {number}: {topic}-{partition} has offset {offset} after {last}"
            );
        }
        records.push((offset, record));
    }
    Ok(records)
}

#[derive(serde::Deserialize)]
struct Line {
    topic: String,
    partition: i32,
    offset: i64,
    ts: Option<i64>,
    #[serde(default)]
    headers: Vec<Option<Text>>,
    key: Option<Text>,
    payload: Option<Text>,
}

impl Line {
    fn into_record(self) -> Result<(i64, Record)> {
        let mut headers = Vec::new();
        let mut fields = self.headers.into_iter();
        while let Some(name) = fields.next() {
            let (Some(name), Some(value)) = (name, fields.next()) else {
                bail!("headers are not pairs of a name and a value");
            };
            headers.push((name.0, value.map(|value| value.0)));
        }
        let record = Record {
            topic: self.topic,
            partition: self.partition,
            key: self.key.map(|key| key.0),
            value: self.payload.map(|payload| payload.0),
            headers,
            timestamp: self.ts.unwrap_or(-1),
        };
        Ok((self.offset, record))
    }
}

/// A JSON string whose bytes need not be UTF-8.
struct Text(Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> std::result::Result<Text, E> {
                Ok(Text(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_records() {
        let output = concat!(
            r#"{"topic":"t","partition":1,"offset":0,"tstype":"create","ts":1357034400000,"broker":1,"key":"IAH","payload":"{\"a\":\"b\"}"}"#,
            "\n\n",
            r#"{"topic":"t","partition":1,"offset":5,"tstype":"create","ts":-1,"broker":1,"headers":["a","1","a",null,"","é\u0001"],"key":null,"payload":""}"#,
            "\n",
            r#"{"topic":"t","partition":0,"offset":2,"tstype":"logappend","ts":3,"broker":1,"key":"","payload":null}"#,
        );
        let records = parse_kcat(output.as_bytes()).unwrap();
        let record = |partition, timestamp, key: Option<&[u8]>, value: Option<&[u8]>| Record {
            topic: "t".into(),
            partition,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
            timestamp,
        };
        let mut expected = vec![
            record(1, 1_357_034_400_000, Some(b"IAH"), Some(br#"{"a":"b"}"#)),
            record(1, -1, None, Some(b"")),
            record(0, 3, Some(b""), None),
        ];
        expected[1].headers = vec![
            (b"a".to_vec(), Some(b"1".to_vec())),
            (b"a".to_vec(), None),
            (b"".to_vec(), Some("é\u{1}".into())),
        ];
        assert_eq!(records, expected);
        assert_eq!(records[1].header("a"), Some(&b"1"[..]));
        assert_eq!(records[1].header("b"), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        let mut line =
            br#"{"topic":"t","partition":0,"offset":0,"ts":1,"key":null,"payload":""#.to_vec();
        line.extend_from_slice(b"\xff\xfe\\n\x80\"}\n");
        let records = parse_kcat(line.as_slice()).unwrap();
        assert_eq!(records[0].value.as_deref(), Some(&b"\xff\xfe\n\x80"[..]));
    }

    #[test]
    fn an_offset_that_does_not_rise_is_an_error() {
        let line = |partition: i32, offset: i64| {
            format!(
                r#"{{"topic":"t","partition":{partition},"offset":{offset},"ts":1,"key":null,"payload":"v"}}"#
            )
        };
        let output = [line(0, 4), line(1, 4), line(0, 5)].join("\n");
        assert_eq!(parse_kcat(output.as_bytes()).unwrap().len(), 3);
        for repeated in [4, 3] {
            let output = [line(0, 4), line(0, repeated)].join("\n");
            let error = parse_kcat(output.as_bytes()).unwrap_err();
            assert!(
                error.to_string().contains("line 2: t-0 has offset"),
                "{error}"
            );
        }
    }

    #[test]
    fn other_output_is_an_error_that_shows_it() {
        let error = parse_kcat(&b"% Reached end of topic\n"[..]).unwrap_err();
        assert!(
            error.to_string().contains("Reached end of topic"),
            "{error}"
        );
        let odd = r#"{"topic":"t","partition":0,"offset":0,"ts":1,"headers":["a"],"key":null,"payload":"v"}"#;
        assert!(parse_kcat(odd.as_bytes()).is_err());
    }
}
