//! One fact of a dump: a line for people, an object for programs.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::output::OutputFormat;

/// `batch: position=0 base_offset=5 …`, or `{"kind":"batch","position":0,"base_offset":5,…}`.
pub struct Line {
    kind: &'static str,
    fields: Vec<(&'static str, Value)>,
}

impl Line {
    pub fn new(kind: &'static str) -> Line {
        Line {
            kind,
            fields: Vec::new(),
        }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Line {
        self.fields.push((name, value.into()));
        self
    }

    /// As [`Line::with`], when there is something to say.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Line {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub fn write(self, out: &mut impl Write, output: OutputFormat) -> io::Result<()> {
        if output.is_json() {
            let mut object = Map::new();
            object.insert("kind".to_owned(), self.kind.into());
            for (name, value) in self.fields {
                object.insert(name.to_owned(), value);
            }
            return writeln!(out, "{}", Value::Object(object));
        }
        write!(out, "{}:", self.kind)?;
        for (name, value) in &self.fields {
            write!(out, " {name}={value}")?;
        }
        writeln!(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_text_or_json() {
        let line = || {
            Line::new("batch")
                .with("position", 7)
                .with("codec", "zstd")
                .with_some("marker", None::<&str>)
        };
        let written = |output| {
            let mut bytes = Vec::new();
            line().write(&mut bytes, output).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(
            written(OutputFormat::Table),
            "batch: position=7 codec=\"zstd\"\n"
        );
        let json: Value = serde_json::from_str(&written(OutputFormat::Json)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"kind": "batch", "position": 7, "codec": "zstd"})
        );
    }
}
