//! `[topic.NAME]`: created when missing, checked when present.

use toml::Spanned;
use toml::de::DeValue;

use super::check_topic_name;
use super::document::{Problems, Section, wrong_type};

/// One declared topic.
#[derive(Debug, Clone)]
pub struct TopicSection {
    pub name: Spanned<String>,
    pub partitions: Option<Spanned<i32>>,
    pub config: Vec<Setting>,
}

/// A topic setting by Kafka's name, its value as Kafka writes it.
#[derive(Debug, Clone)]
pub struct Setting {
    pub name: Spanned<String>,
    pub value: Spanned<String>,
}

/// More than this is taken for a slip of the keyboard.
const PARTITIONS_MAX: i64 = 100_000;

pub fn read(name: Spanned<String>, mut section: Section<'_>) -> Option<TopicSection> {
    let problems = section.problems;
    let partitions = section
        .integer_in("partitions", 1..=PARTITIONS_MAX)
        .map(|count| Spanned::new(count.span(), *count.get_ref() as i32));
    let config = section
        .section("config")
        .map(|table| {
            table
                .entries()
                .into_iter()
                .filter_map(|(name, value)| setting(name, value, problems))
                .collect()
        })
        .unwrap_or_default();
    section.finish();
    Some(TopicSection {
        name: check_topic_name(name, problems)?,
        partitions,
        config,
    })
}

/// A setting's value: a string, a number or a truth value.
pub fn setting(
    name: Spanned<String>,
    value: &Spanned<DeValue<'_>>,
    problems: &Problems,
) -> Option<Setting> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Table(_) => {
            // `retention.ms = 1` without quotes is a table `retention` in TOML.
            let wrong = wrong_type(
                name.get_ref(),
                value.span(),
                "a string or a number",
                value.get_ref(),
            );
            problems.add(wrong.help(format!(
                "a name with dots needs quotes: \"{}.…\" = …",
                name.get_ref()
            )));
            return None;
        }
        other => {
            problems.add(wrong_type(
                name.get_ref(),
                value.span(),
                "a string or a number",
                other,
            ));
            return None;
        }
    };
    Some(Setting {
        value: Spanned::new(value.span(), text),
        name,
    })
}
