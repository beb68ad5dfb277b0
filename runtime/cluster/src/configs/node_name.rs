//! The names under which a node's settings are known: Kafka's own, and synonyms in other units or spellings.

/// A node's setting by one of its names. Of several that are set, the one that stands first in the table counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeName {
    pub name: &'static str,
    pub unit: Unit,
}

/// How a value under a name becomes the setting's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As it stands.
    Same,
    /// Minutes, where the setting itself counts milliseconds.
    Minutes,
    /// Hours, where the setting itself counts milliseconds.
    Hours,
}

impl NodeName {
    pub const fn new(name: &'static str) -> NodeName {
        NodeName {
            name,
            unit: Unit::Same,
        }
    }

    pub const fn minutes(name: &'static str) -> NodeName {
        NodeName {
            name,
            unit: Unit::Minutes,
        }
    }

    pub const fn hours(name: &'static str) -> NodeName {
        NodeName {
            name,
            unit: Unit::Hours,
        }
    }
}

impl Unit {
    /// The value in the setting's own unit; none when it is no number or too large. A negative one means "none" in
    /// every unit.
    pub fn convert(self, value: &str) -> Option<String> {
        let factor = match self {
            Unit::Same => return Some(value.to_owned()),
            Unit::Minutes => 60_000,
            Unit::Hours => 3_600_000,
        };
        let number = i64::from(value.parse::<i32>().ok()?);
        let converted = if number < 0 { number } else { number * factor };
        Some(converted.to_string())
    }
}
