//! `[stage.NAME]`: a plugin between topics.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::config::ConfigTable;
use super::document::{Problems, Section, as_choice, as_string, entries, wrong_type};
use super::on_error::{self, RejectPolicy};
use super::report::Problem;
use super::topic::{Setting, setting};
use super::topic_of;

pub const DEFAULT_MEMORY_BYTES: u64 = 64 << 20;
pub const DEFAULT_CALL_CPU: Duration = Duration::from_secs(1);

/// From one page of WebAssembly's memory to all that it can address.
const MEMORY_BOUNDS: (&str, &str) = ("64KiB", "4GiB");
/// From the step in which a call's time is measured.
const CALL_CPU_BOUNDS: (&str, &str) = ("5ms", "1h");

/// One stage.
#[derive(Debug, Clone)]
pub struct StageSection {
    pub name: Spanned<String>,
    pub plugin: Spanned<PluginRef>,
    pub inputs: Vec<Endpoint>,
    pub outputs: Vec<Endpoint>,
    pub on_reject: RejectPolicy,
    /// Where refused records go; `<pipeline>.<stage>.dead` unless the manifest names it. Used only
    /// with [`RejectPolicy::DeadLetter`].
    pub dead_letters: Spanned<String>,
    pub if_no_offset: Spanned<IfNoOffset>,
    pub limits: LimitsSection,
    pub config: ConfigTable,
}

/// Where the plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginRef {
    /// A crate's folder (it has a `Cargo.toml`).
    Crate(PathBuf),
    /// A WebAssembly file.
    File(PathBuf),
    /// A ready-made plugin: `name` or `name@version`.
    Named {
        name: String,
        version: Option<String>,
    },
}

impl PluginRef {
    fn is_path(word: &str) -> bool {
        word.contains('/')
            || matches!(word, "." | "..")
            || word.ends_with(".wasm")
            || word.ends_with(".wat")
    }

    /// Name and version that the word has, if it names a ready-made plugin and no path.
    pub fn ready_made(word: &str) -> Option<(&str, Option<&str>)> {
        let (name, version) = match word.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (word, None),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let names = !Self::is_path(word) && !name.is_empty() && name.chars().all(fits);
        names.then_some((name, version))
    }
}

/// An input or output: the plugin's name for it and the topic.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `None` when the manifest gives only a topic: then the plugin has exactly one.
    pub name: Option<Spanned<String>>,
    pub topic: Spanned<String>,
    /// Settings for the topic if it has to be created.
    pub config: Vec<Setting>,
}

/// Where a stage begins that never committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfNoOffset {
    Earliest,
    Latest,
    /// The first record with this timestamp or a later one, epoch milliseconds.
    Timestamp(i64),
    /// By partition; partitions that are not named begin at the earliest record.
    Offsets(Vec<(i32, i64)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsSection {
    pub memory_bytes: u64,
    pub call_cpu: Duration,
}

pub fn read(
    name: Spanned<String>,
    mut section: Section<'_>,
    directory: &Path,
    pipeline: &str,
) -> Option<StageSection> {
    let problems = section.problems;
    let plugin = section
        .required_string("plugin", "plugin = \"./clean\"")
        .and_then(|text| plugin_ref(text, directory, problems));
    let inputs = section
        .required("inputs", "inputs = \"flights\"")
        .map(|value| endpoints("inputs", value, false, problems))
        .unwrap_or_default();
    let outputs = section
        .value("outputs")
        .map(|value| endpoints("outputs", value, true, problems))
        .unwrap_or_default();
    let default = format!("{pipeline}.{}.dead", name.get_ref());
    let default = Spanned::new(name.span(), default);
    let on_error = on_error::read(&mut section, RejectPolicy::DeadLetter, default);
    let if_no_offset = section
        .section("start")
        .and_then(read_start)
        .unwrap_or_else(|| Spanned::new(name.span(), IfNoOffset::Earliest));
    let limits = read_limits(&mut section);
    let config = match section.value("config") {
        Some(value) => ConfigTable::read(value, problems),
        None => Some(ConfigTable::empty(name.span())),
    };
    section.finish();
    let on_error = on_error?;
    Some(StageSection {
        name,
        plugin: plugin?,
        inputs,
        outputs,
        on_reject: on_error.policy,
        dead_letters: on_error.dead_letters,
        if_no_offset,
        limits,
        config: config?,
    })
}

fn plugin_ref(
    text: Spanned<String>,
    directory: &Path,
    problems: &Problems,
) -> Option<Spanned<PluginRef>> {
    let span = text.span();
    let word = text.get_ref();
    let missing = |what: String, path: &Path| {
        problems.add(
            Problem::new(what)
                .at(span.clone())
                .label("not found")
                .help(format!("looked for {}", path.display())),
        );
        None
    };
    if PluginRef::is_path(word) {
        let path = directory.join(word);
        if path.is_file() {
            return Some(Spanned::new(span, PluginRef::File(path)));
        }
        if path.is_dir() {
            let cargo = path.join("Cargo.toml");
            if !cargo.is_file() {
                return missing(
                    format!("the folder `{word}` is not a plugin's crate"),
                    &cargo,
                );
            }
            return Some(Spanned::new(span, PluginRef::Crate(path)));
        }
        return missing(format!("the plugin `{word}` does not exist"), &path);
    }
    if word.starts_with("sha256:") {
        problems.add(
            Problem::new("a digest does not tell where the plugin is")
                .at(span)
                .label("no file and no folder")
                .help("name a crate's folder, a .wasm file or a ready-made plugin"),
        );
        return None;
    }
    let Some((name, version)) = PluginRef::ready_made(word) else {
        problems.add(
            Problem::new(format!("`{word}` names no plugin"))
                .at(span)
                .label("must be a crate's folder, a .wasm file or the name of a plugin")
                .help("a path begins with `./`, for example plugin = \"./clean\""),
        );
        return None;
    };
    let (name, version) = (name.to_owned(), version.map(str::to_owned));
    Some(Spanned::new(span, PluginRef::Named { name, version }))
}

/// `"topic"`, `{ name = "topic" }`, and for outputs `{ name = { topic = "…", SETTING = … } }`.
fn endpoints<'d>(
    what: &'static str,
    value: &'d Spanned<DeValue<'d>>,
    settings: bool,
    problems: &Problems,
) -> Vec<Endpoint> {
    match value.get_ref() {
        DeValue::String(_) => topic_of(what, value, problems)
            .map(|topic| Endpoint {
                name: None,
                topic,
                config: Vec::new(),
            })
            .into_iter()
            .collect(),
        DeValue::Table(table) => {
            if table.is_empty() {
                problems.add(
                    Problem::new(format!("`{what}` names no topic"))
                        .at(value.span())
                        .label("empty"),
                );
            }
            entries(table)
                .into_iter()
                .filter_map(|(name, value)| endpoint(name, value, settings, problems))
                .collect()
        }
        other => {
            let wanted = "a topic's name or a table of names";
            problems.add(wrong_type(what, value.span(), wanted, other));
            Vec::new()
        }
    }
}

fn endpoint<'d>(
    name: Spanned<String>,
    value: &'d Spanned<DeValue<'d>>,
    settings: bool,
    problems: &Problems,
) -> Option<Endpoint> {
    let mut config = Vec::new();
    let topic = match value.get_ref() {
        DeValue::Table(table) if settings => {
            let mut topic = None;
            for (key, value) in entries(table) {
                if key.get_ref() == "topic" {
                    topic = topic_of("topic", value, problems);
                    topic.as_ref()?;
                } else {
                    config.extend(setting(key, value, problems));
                }
            }
            if topic.is_none() {
                problems.add(
                    Problem::new(format!("the output `{}` names no topic", name.get_ref()))
                        .at(value.span())
                        .label("needs `topic`")
                        .help("for example { topic = \"flights.late\" }"),
                );
            }
            topic?
        }
        _ => topic_of(name.get_ref(), value, problems)?,
    };
    Some(Endpoint {
        name: Some(name),
        topic,
        config,
    })
}

fn read_limits(section: &mut Section<'_>) -> LimitsSection {
    let (memory, cpu) = match section.section("limits") {
        Some(mut table) => {
            let read = (
                table.size_in("memory", MEMORY_BOUNDS),
                table.duration_in("call_cpu", CALL_CPU_BOUNDS),
            );
            table.finish();
            read
        }
        None => (None, None),
    };
    LimitsSection {
        memory_bytes: memory.unwrap_or(DEFAULT_MEMORY_BYTES),
        call_cpu: cpu.unwrap_or(DEFAULT_CALL_CPU),
    }
}

fn read_start(mut table: Section<'_>) -> Option<Spanned<IfNoOffset>> {
    let problems = table.problems;
    let value = table.required("if_no_offset", "if_no_offset = \"earliest\"");
    table.finish();
    let value = value?;
    let start = match value.get_ref() {
        DeValue::String(_) => {
            let word = as_string("if_no_offset", value, problems)?;
            let choices = [("earliest", false), ("latest", true)];
            let latest = as_choice("if_no_offset", &word, &choices, problems)?;
            Some(if *latest.get_ref() {
                IfNoOffset::Latest
            } else {
                IfNoOffset::Earliest
            })
        }
        DeValue::Table(_) => {
            read_start_table(Section::of_value("`if_no_offset`".into(), value, problems)?)
        }
        other => {
            let wanted = "`earliest`, `latest`, { timestamp = … } or { offsets = … }";
            problems.add(wrong_type("if_no_offset", value.span(), wanted, other));
            None
        }
    };
    Some(Spanned::new(value.span(), start?))
}

fn read_start_table(mut table: Section<'_>) -> Option<IfNoOffset> {
    let problems = table.problems;
    let timestamp = table.string("timestamp");
    let offsets = table.section("offsets");
    let span = table.span.clone();
    table.finish();
    match (timestamp, offsets) {
        (Some(text), None) => {
            let parsed = crate::source::rfc3339_to_epoch_ms(text.get_ref());
            if parsed.is_none() {
                problems.add(
                    Problem::new("`timestamp` is not a moment")
                        .at(text.span())
                        .label("not RFC 3339")
                        .help("for example \"2013-01-01T10:00:00Z\""),
                );
            }
            parsed.map(IfNoOffset::Timestamp)
        }
        (None, Some(offsets)) => read_offsets(offsets),
        _ => {
            problems.add(
                Problem::new("`if_no_offset` must say one of `timestamp` and `offsets`")
                    .at(span)
                    .label("one of them, not both"),
            );
            None
        }
    }
}

fn read_offsets(table: Section<'_>) -> Option<IfNoOffset> {
    let problems = table.problems;
    let mut offsets = Vec::new();
    for (key, value) in table.entries() {
        let partition = key.get_ref().parse::<i32>().ok().filter(|p| *p >= 0);
        let offset = value
            .get_ref()
            .as_integer()
            .and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok())
            .filter(|offset| *offset >= 0);
        match (partition, offset) {
            (Some(partition), Some(offset)) => offsets.push((partition, offset)),
            (None, _) => problems.add(
                Problem::new(format!("`{}` is no partition", key.get_ref()))
                    .at(key.span())
                    .label("must be a partition's number, as in { \"0\" = 42 }"),
            ),
            (_, None) => problems.add(
                Problem::new("this is no offset")
                    .at(value.span())
                    .label("must be a whole number from 0"),
            ),
        }
    }
    Some(IfNoOffset::Offsets(offsets))
}
