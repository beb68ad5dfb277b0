//! `[source.NAME]`: a file that feeds a topic.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::check_topic_name;
use super::document::Section;
use super::on_error::{self, RejectPolicy};
use super::report::Problem;

/// One source.
#[derive(Debug, Clone)]
pub struct SourceSection {
    pub name: Spanned<String>,
    /// The file as the manifest writes it.
    pub file_text: Spanned<String>,
    /// The file, resolved against the manifest's folder.
    pub file: PathBuf,
    pub format: SourceFormat,
    pub topic: Spanned<String>,
    /// The column (csv) or field (jsonl) whose text becomes the record's key.
    pub key: Option<Spanned<String>>,
    pub timestamp: Option<TimestampColumn>,
    /// What happens to a row that cannot be used, or that does not fit the topic.
    pub on_error: RejectPolicy,
    /// Where such rows go, with [`RejectPolicy::DeadLetter`]; `<pipeline>.source.<name>.dead` unless the manifest names
    /// it.
    pub dead_letters: Spanned<String>,
    /// At most so many records per second; `None` as fast as possible.
    pub rate: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceFormat {
    /// One row per record, the first row names the columns. The value is a JSON object of strings
    /// in the order of the columns, or with `raw` the row as it stands in the file.
    Csv { raw: bool },
    /// One JSON object per line; the line is the value.
    JsonLines,
    /// One record per line; the line is the value.
    Lines,
}

#[derive(Debug, Clone)]
pub struct TimestampColumn {
    pub column: Spanned<String>,
    pub format: TimestampFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    Rfc3339,
    EpochMs,
}

pub fn read(
    name: Spanned<String>,
    mut section: Section<'_>,
    directory: &Path,
    pipeline: &str,
) -> Option<SourceSection> {
    let problems = section.problems;
    let file_text = section.required_string("file", "file = \"data/flights.csv.zst\"");
    let file = file_text
        .as_ref()
        .map(|text| directory.join(text.get_ref()));
    if let (Some(text), Some(file)) = (&file_text, &file)
        && !file.is_file()
    {
        problems.add(
            Problem::new(format!("the file `{}` does not exist", text.get_ref()))
                .at(text.span())
                .label("no such file")
                .help(format!("looked for {}", file.display())),
        );
    }
    let format = section
        .required("format", "format = \"csv\"")
        .and_then(|value| super::as_string("format", value, problems))
        .and_then(|text| {
            let choices = [
                ("csv", SourceFormat::Csv { raw: false }),
                ("jsonl", SourceFormat::JsonLines),
                ("lines", SourceFormat::Lines),
            ];
            super::document::as_choice("format", &text, &choices, problems)
        });
    let value = section.choice("value", &[("json", false), ("raw", true)]);
    let topic = section
        .required_string("topic", "topic = \"flights\"")
        .and_then(|topic| check_topic_name(topic, problems));
    let key = section.string("key");
    let timestamp = read_timestamp(&mut section);
    let default = format!("{pipeline}.source.{}.dead", name.get_ref());
    let default = Spanned::new(name.span(), default);
    let on_error = on_error::read(&mut section, RejectPolicy::Fail, default);
    let rate = section
        .integer_in("rate", 1..=1_000_000_000)
        .map(|rate| *rate.get_ref() as u64);
    section.finish();

    let mut format = *format?.get_ref();
    match (&mut format, &value) {
        (SourceFormat::Csv { raw }, Some(value)) => *raw = *value.get_ref(),
        (_, Some(value)) => problems.add(
            Problem::new("`value` is for csv only")
                .at(value.span())
                .label("here the line is the value"),
        ),
        (_, None) => {}
    }
    if format == SourceFormat::Lines {
        let columns = key
            .iter()
            .chain(timestamp.iter().map(|timestamp| &timestamp.column));
        for column in columns {
            problems.add(
                Problem::new("a source of lines has no columns")
                    .at(column.span())
                    .label("there is no such column")
                    .help("use the format `csv` or `jsonl`, or leave this out"),
            );
        }
    }
    let on_error = on_error?;
    Some(SourceSection {
        name,
        file_text: file_text?,
        file: file?,
        format,
        topic: topic?,
        key,
        timestamp,
        on_error: on_error.policy,
        dead_letters: on_error.dead_letters,
        rate,
    })
}

fn read_timestamp(section: &mut Section<'_>) -> Option<TimestampColumn> {
    let mut table = section.section("timestamp")?;
    let column = table.required_string("column", "column = \"time\"");
    let format = table.choice(
        "format",
        &[
            ("rfc3339", TimestampFormat::Rfc3339),
            ("epoch-ms", TimestampFormat::EpochMs),
        ],
    );
    table.finish();
    Some(TimestampColumn {
        column: column?,
        format: format.map_or(TimestampFormat::Rfc3339, |format| *format.get_ref()),
    })
}
