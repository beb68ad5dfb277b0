//! Which values a setting takes.

use std::borrow::Cow;

/// Kafka's types of settings, with the numbers that DescribeConfigs sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

/// Which values a setting takes, beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Any text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number in this closed range.
    Whole(i64, i64),
    /// A number in this closed range.
    Real(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A comma-separated, non-empty list of `words`; a value of `spellings` stands for the list beside it.
    ListOf {
        words: &'static [&'static str],
        spellings: &'static [(&'static str, &'static str)],
    },
}

impl Rule {
    /// Checks a trimmed value; the error says what would be right.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let (good, expected) = match self {
            Rule::Text => (true, String::new()),
            Rule::Boolean => {
                let good =
                    value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false");
                (good, "it must be true or false".to_owned())
            }
            Rule::Whole(min, max) => {
                let good = value
                    .parse::<i64>()
                    .is_ok_and(|number| (*min..=*max).contains(&number));
                (
                    good,
                    format!("it must be a whole number from {min} to {max}"),
                )
            }
            Rule::Real(min, max) => {
                let good = value
                    .parse::<f64>()
                    .is_ok_and(|number| (*min..=*max).contains(&number));
                (good, format!("it must be a number from {min} to {max}"))
            }
            Rule::OneOf(words) => (
                words.contains(&value),
                format!("it must be one of {}", words.join(", ")),
            ),
            Rule::ListOf { words, .. } => {
                let list = self.canonical(value);
                let good = list.split(',').all(|word| words.contains(&word));
                (good, format!("it must be a list of {}", words.join(", ")))
            }
        };
        if good { Ok(()) } else { Err(expected) }
    }

    /// A value that passed the check in the form that is shown and compared: lists without spaces and in Kafka's own
    /// words, flags in small letters.
    pub fn canonical<'a>(&self, value: &'a str) -> Cow<'a, str> {
        match self {
            Rule::Boolean if value.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                Cow::Owned(value.to_ascii_lowercase())
            }
            Rule::ListOf { spellings, .. } => {
                if let Some((_, list)) = spellings.iter().find(|(spelling, _)| *spelling == value) {
                    return Cow::Borrowed(list);
                }
                let words: Vec<&str> = value.split(',').map(str::trim).collect();
                Cow::Owned(words.join(","))
            }
            _ => Cow::Borrowed(value),
        }
    }
}
