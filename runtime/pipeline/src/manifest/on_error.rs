//! `on_error` and `dead_letters`: what happens to what cannot be used, of a stage and of a source alike.

use toml::Spanned;
use toml::de::DeValue;

use super::check_topic_name;
use super::document::{Problems, Section, as_choice, as_string, wrong_type};
use super::report::Problem;

/// What happens to a record that a plugin refuses, or to a row that a source cannot use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectPolicy {
    DeadLetter,
    Skip,
    Fail,
}

const CHOICES: [(&str, RejectPolicy); 3] = [
    ("dead-letter", RejectPolicy::DeadLetter),
    ("skip", RejectPolicy::Skip),
    ("fail", RejectPolicy::Fail),
];

/// The policy and the topic of dead letters.
#[derive(Debug, Clone)]
pub struct OnError {
    pub policy: RejectPolicy,
    /// Used only with [`RejectPolicy::DeadLetter`].
    pub dead_letters: Spanned<String>,
}

/// Reads both keys of a section. `None` when the topic's name is none.
pub fn read(
    section: &mut Section<'_>,
    default_policy: RejectPolicy,
    default_topic: Spanned<String>,
) -> Option<OnError> {
    let problems = section.problems;
    let name = format!("`on_error` of {}", section.name);
    let given = section.value("on_error");
    let read = given.and_then(|value| read_policy(name, value, problems));
    let named = section.string("dead_letters");
    let policy = read.unwrap_or(default_policy);
    // Of a policy that could not be read nothing more is said.
    let is_known = given.is_none() || read.is_some();
    if let (Some(topic), true) = (&named, is_known)
        && policy != RejectPolicy::DeadLetter
    {
        problems.add(
            Problem::new("`dead_letters` names a topic that nothing is sent to")
                .at(topic.span())
                .label("no use with this `on_error`")
                .help("leave it out, or set on_error = \"dead-letter\""),
        );
    }
    let dead_letters = match named {
        Some(topic) => check_topic_name(topic, problems)?,
        None => default_topic,
    };
    Some(OnError {
        policy,
        dead_letters,
    })
}

/// `"skip"` or `{ reject = "skip" }`.
fn read_policy<'d>(
    name: String,
    value: &'d Spanned<DeValue<'d>>,
    problems: &'d Problems,
) -> Option<RejectPolicy> {
    match value.get_ref() {
        DeValue::String(_) => {
            let word = as_string("on_error", value, problems)?;
            Some(*as_choice("on_error", &word, &CHOICES, problems)?.get_ref())
        }
        DeValue::Table(_) => {
            let mut table = Section::of_value(name, value, problems)?;
            let policy = table.choice("reject", &CHOICES);
            table.finish();
            policy.map(|policy| *policy.get_ref())
        }
        other => {
            let wanted = "a word or a table";
            problems.add(wrong_type("on_error", value.span(), wanted, other));
            None
        }
    }
}
