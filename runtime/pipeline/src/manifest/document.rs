//! Reading TOML tables key by key: what is asked for is typed, what is left over is reported.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::Problem;
use super::suggest::{nearest, one_of};
use super::units;

/// Where mistakes are gathered while reading goes on.
#[derive(Debug, Default)]
pub struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    pub fn into_vec(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// One table of the manifest. Every key that was asked for is known; [`Section::finish`] reports
/// the others.
pub struct Section<'d> {
    /// How the table is called in messages: `[stage.clean]`.
    pub name: String,
    pub span: Range<usize>,
    table: &'d DeTable<'d>,
    known: Vec<&'static str>,
    pub problems: &'d Problems,
}

impl<'d> Section<'d> {
    pub fn new(
        name: String,
        span: Range<usize>,
        table: &'d DeTable<'d>,
        problems: &'d Problems,
    ) -> Self {
        Section {
            name,
            span,
            table,
            known: Vec::new(),
            problems,
        }
    }

    /// A value that must be a table, as a section; reported when it is something else.
    pub fn of_value(
        name: String,
        value: &'d Spanned<DeValue<'d>>,
        problems: &'d Problems,
    ) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(name, value.span(), table, problems)),
            other => {
                problems.add(wrong_type(&name, value.span(), "a table", other));
                None
            }
        }
    }

    pub fn value(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// The value of a key that must be there.
    pub fn required(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Option<&'d Spanned<DeValue<'d>>> {
        let value = self.value(key);
        if value.is_none() {
            self.problems.add(
                Problem::new(format!("`{key}` is missing in {}", self.name))
                    .at(self.span.clone())
                    .label(format!("needs `{key}`"))
                    .help(format!("for example `{example}`")),
            );
        }
        value
    }

    pub fn string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.value(key)?;
        as_string(key, value, self.problems)
    }

    pub fn required_string(&mut self, key: &'static str, example: &str) -> Option<Spanned<String>> {
        let value = self.required(key, example)?;
        as_string(key, value, self.problems)
    }

    pub fn integer(&mut self, key: &'static str) -> Option<Spanned<i64>> {
        let value = self.value(key)?;
        let parsed = value
            .get_ref()
            .as_integer()
            .and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
        if parsed.is_none() {
            self.problems.add(wrong_type(
                key,
                value.span(),
                "a whole number",
                value.get_ref(),
            ));
        }
        Some(Spanned::new(value.span(), parsed?))
    }

    /// A whole number within bounds.
    pub fn integer_in(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<Spanned<i64>> {
        let value = self.integer(key)?;
        if range.contains(value.get_ref()) {
            return Some(value);
        }
        self.problems.add(
            Problem::new(format!("`{key}` is out of bounds"))
                .at(value.span())
                .label(format!("must be {} to {}", range.start(), range.end())),
        );
        None
    }

    /// A duration within bounds, which are given as a manifest writes them.
    pub fn duration_in(&mut self, key: &'static str, bounds: (&str, &str)) -> Option<Duration> {
        let text = self.string(key)?;
        let what = ("duration", units::DURATION_HELP);
        self.measure(key, &text, units::duration, what, bounds)
    }

    /// A size within bounds, which are given as a manifest writes them.
    pub fn size_in(&mut self, key: &'static str, bounds: (&str, &str)) -> Option<u64> {
        let text = self.string(key)?;
        self.measure(key, &text, units::size, ("size", units::SIZE_HELP), bounds)
    }

    fn measure<T: PartialOrd>(
        &self,
        key: &str,
        text: &Spanned<String>,
        parse: impl Fn(&str) -> Option<T>,
        (kind, help): (&str, &str),
        (least, most): (&str, &str),
    ) -> Option<T> {
        let Some(value) = parse(text.get_ref()) else {
            self.problems.add(
                Problem::new(format!("`{key}` is not a {kind}"))
                    .at(text.span())
                    .label(format!("not a {kind}"))
                    .help(help),
            );
            return None;
        };
        let too_little = parse(least).is_some_and(|least| value < least);
        if too_little || parse(most).is_some_and(|most| value > most) {
            self.problems.add(
                Problem::new(format!("`{key}` is out of bounds"))
                    .at(text.span())
                    .label(format!("must be {least} to {most}")),
            );
            return None;
        }
        Some(value)
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<Spanned<T>> {
        let text = self.string(key)?;
        as_choice(key, &text, choices, self.problems)
    }

    pub fn section(&mut self, key: &'static str) -> Option<Section<'d>> {
        let value = self.value(key)?;
        Section::of_value(format!("`{key}` of {}", self.name), value, self.problems)
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.table.iter() {
            let word: &str = key.get_ref();
            if self.known.contains(&word) {
                continue;
            }
            let mut problem = Problem::new(format!("`{word}` is not known in {}", self.name))
                .at(key.span())
                .label("not known");
            problem = match nearest(word, self.known.iter().copied()) {
                Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                None => problem.help(format!("known here: {}", one_of(&self.known))),
            };
            self.problems.add(problem);
        }
    }

    /// Every entry in the order of the file, for tables whose keys the user names.
    pub fn entries(&self) -> Vec<(Spanned<String>, &'d Spanned<DeValue<'d>>)> {
        entries(self.table)
    }
}

/// A table's entries in the order of the file (the parser sorts them by name).
pub fn entries<'d>(table: &'d DeTable<'d>) -> Vec<(Spanned<String>, &'d Spanned<DeValue<'d>>)> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| (Spanned::new(key.span(), key.get_ref().to_string()), value))
        .collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

pub fn as_string(
    what: &str,
    value: &Spanned<DeValue<'_>>,
    problems: &Problems,
) -> Option<Spanned<String>> {
    match value.get_ref() {
        DeValue::String(text) => Some(Spanned::new(value.span(), text.to_string())),
        other => {
            problems.add(wrong_type(what, value.span(), "a string", other));
            None
        }
    }
}

pub fn as_choice<T: Copy>(
    what: &str,
    text: &Spanned<String>,
    choices: &[(&str, T)],
    problems: &Problems,
) -> Option<Spanned<T>> {
    let found = choices.iter().find(|(word, _)| word == text.get_ref());
    if let Some((_, choice)) = found {
        return Some(Spanned::new(text.span(), *choice));
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let mut problem = Problem::new(format!("`{}` is no value of `{what}`", text.get_ref()))
        .at(text.span())
        .label(format!("must be {}", one_of(&words)));
    if let Some(meant) = nearest(text.get_ref(), words.iter().copied()) {
        problem = problem.help(format!("did you mean `{meant}`?"));
    }
    problems.add(problem);
    None
}

pub fn wrong_type(what: &str, span: Range<usize>, wanted: &str, found: &DeValue<'_>) -> Problem {
    let what = if what.starts_with(['`', '[']) {
        what.to_owned()
    } else {
        format!("`{what}`")
    };
    Problem::new(format!("{what} has the wrong type"))
        .at(span)
        .label(format!(
            "must be {wanted}, not {}",
            with_article(found.type_str())
        ))
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}
