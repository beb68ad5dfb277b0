//! The manifest: a TOML file as typed sections with the place of everything in it, so that later
//! checks (the plan's) can still point at the line.

mod config;
mod document;
mod on_error;
mod report;
mod source;
mod stage;
mod suggest;
mod topic;
mod units;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeTable;

pub use config::ConfigTable;
pub use on_error::RejectPolicy;
pub use report::{Entry, ManifestText, Problem, Report, Severity};
pub use source::{SourceFormat, SourceSection, TimestampColumn, TimestampFormat};
pub use stage::{
    DEFAULT_CALL_CPU, DEFAULT_MEMORY_BYTES, Endpoint, IfNoOffset, LimitsSection, PluginRef,
    StageSection,
};
pub use suggest::{nearest, one_of};
pub use topic::{Setting, TopicSection};

use document::{Problems, Section, as_string};

/// The longest time that a transaction stays open under load, unless `commit.max_interval` says
/// otherwise.
pub const DEFAULT_COMMIT_INTERVAL: Duration = Duration::from_millis(10);

/// A transaction that stays open for longer may be given up by the node.
const COMMIT_INTERVAL_BOUNDS: (&str, &str) = ("0s", "30s");

/// A manifest that was read. Nothing in it was compared with plugins or topics yet: `Plan` does.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub source: Arc<ManifestText>,
    pub pipeline: Spanned<String>,
    pub commit_interval_max: Duration,
    pub topics: Vec<TopicSection>,
    pub sources: Vec<SourceSection>,
    pub stages: Vec<StageSection>,
}

impl Manifest {
    /// Reads a manifest, or tells every mistake in it.
    pub fn parse(path: &Path) -> Result<Manifest, Report> {
        let (manifest, report) = Manifest::read(path);
        match manifest {
            Some(manifest) if report.is_empty() => Ok(manifest),
            _ => Err(report),
        }
    }

    /// Reads as much as is well formed, so that a caller can load the plugins of the sound stages
    /// and tell their mistakes together with these. `None` when there is nothing to go on with.
    pub fn read(path: &Path) -> (Option<Manifest>, Report) {
        match std::fs::read_to_string(path) {
            Ok(text) => Manifest::read_text(path, text),
            Err(error) => {
                let source = Arc::new(ManifestText {
                    path: path.to_owned(),
                    text: String::new(),
                });
                let problem = Problem::new(format!("the manifest cannot be read: {error}"));
                (None, Report::new(source, vec![problem]))
            }
        }
    }

    /// [`Manifest::read`] of a text that stands at `path`, against which its files are resolved.
    pub fn read_text(path: &Path, text: String) -> (Option<Manifest>, Report) {
        let source = Arc::new(ManifestText {
            path: path.to_owned(),
            text,
        });
        let problems = Problems::default();
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        for error in &errors {
            let mut problem = Problem::new(format!("not TOML: {}", error.message())).label("here");
            if let Some(span) = error.span() {
                problem = problem.at(span);
            }
            problems.add(problem);
        }
        // After a syntax error what was recovered may be half a table: more mistakes in it would
        // be echoes of the first.
        let manifest = errors
            .is_empty()
            .then(|| read_manifest(&source, &table, &problems))
            .flatten();
        (manifest, Report::new(source, problems.into_vec()))
    }

    /// A report on this manifest.
    pub fn report(&self, problems: Vec<Problem>) -> Report {
        Report::new(Arc::clone(&self.source), problems)
    }
}

fn read_manifest(
    source: &Arc<ManifestText>,
    table: &Spanned<DeTable<'_>>,
    problems: &Problems,
) -> Option<Manifest> {
    let directory = source.path.parent().unwrap_or(Path::new("")).to_owned();
    let mut root = Section::new("the manifest".into(), 0..0, table.get_ref(), problems);
    if let Some(version) = root.required("manifest", "manifest = 1") {
        let number = version.get_ref().as_integer().map(|n| n.as_str());
        if number != Some("1") {
            problems.add(
                Problem::new("this manifest is of a version that is not known")
                    .at(version.span())
                    .label("must be 1"),
            );
        }
    }
    let pipeline = root
        .required_string("pipeline", "pipeline = \"flights\"")
        .filter(|name| check_name("pipeline", name, problems));
    let exactly_once = [("exactly-once", ())];
    root.choice("delivery", &exactly_once);
    let commit_interval_max = read_commit(&mut root);
    let fallback_pipeline = pipeline
        .as_ref()
        .map_or("", |name| name.get_ref())
        .to_owned();
    let topics = named(&mut root, "topic", |name, section| {
        topic::read(name, section)
    });
    let sources = named(&mut root, "source", |name, section| {
        source::read(name, section, &directory, &fallback_pipeline)
    });
    let stages = named(&mut root, "stage", |name, section| {
        stage::read(name, section, &directory, &fallback_pipeline)
    });
    root.finish();
    if table.get_ref().get("stage").is_none() && table.get_ref().get("source").is_none() {
        problems.add(
            Problem::new("the manifest has neither a stage nor a source")
                .help("a stage begins with `[stage.NAME]`"),
        );
    }
    Some(Manifest {
        source: Arc::clone(source),
        pipeline: pipeline?,
        commit_interval_max,
        topics,
        sources,
        stages,
    })
}

fn read_commit(root: &mut Section<'_>) -> Duration {
    let Some(mut commit) = root.section("commit") else {
        return DEFAULT_COMMIT_INTERVAL;
    };
    let interval = commit.duration_in("max_interval", COMMIT_INTERVAL_BOUNDS);
    commit.finish();
    interval.unwrap_or(DEFAULT_COMMIT_INTERVAL)
}

/// Reads `[kind.NAME]` tables.
fn named<'d, T>(
    root: &mut Section<'d>,
    kind: &'static str,
    mut read: impl FnMut(Spanned<String>, Section<'d>) -> Option<T>,
) -> Vec<T> {
    let Some(tables) = root.section(kind) else {
        return Vec::new();
    };
    let problems = tables.problems;
    let mut out = Vec::new();
    for (name, value) in tables.entries() {
        let sound = kind == "topic" || check_name(kind, &name, problems);
        let label = format!("[{kind}.{}]", name.get_ref());
        if let Some(mut section) = Section::of_value(label, value, problems) {
            section.span = name.span();
            out.extend(read(name, section).filter(|_| sound));
        }
    }
    out
}

/// Names of pipelines, stages and sources become parts of group and transactional ids.
fn check_name(kind: &str, name: &Spanned<String>, problems: &Problems) -> bool {
    let text = name.get_ref();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let sound = !text.is_empty() && text.len() <= 100 && text.chars().all(fits);
    if !sound {
        problems.add(
            Problem::new(format!("`{text}` cannot be the name of a {kind}"))
                .at(name.span())
                .label("letters, digits, `-` and `_` only, at most 100"),
        );
    }
    sound
}

/// Kafka's rule for topic names.
fn check_topic_name(name: Spanned<String>, problems: &Problems) -> Option<Spanned<String>> {
    let text = name.get_ref();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let sound = !text.is_empty()
        && text.len() <= 249
        && text != "."
        && text != ".."
        && text.chars().all(fits);
    if sound {
        return Some(name);
    }
    problems.add(
        Problem::new(format!("`{text}` cannot be the name of a topic"))
            .at(name.span())
            .label("letters, digits, `.`, `-` and `_` only, at most 249"),
    );
    None
}

/// Entries of a table as map from key to string, used where the user names the keys.
fn topic_of(
    what: &str,
    value: &Spanned<toml::de::DeValue<'_>>,
    problems: &Problems,
) -> Option<Spanned<String>> {
    as_string(what, value, problems).and_then(|name| check_topic_name(name, problems))
}

/// Spans of a table's entries by JSON pointer.
pub(crate) type Spans = BTreeMap<String, std::ops::Range<usize>>;
