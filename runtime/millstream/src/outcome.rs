//! How a command ends: one error type with the exit code that belongs to it.

use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;

use millstream_pipeline::manifest::{Report, Severity};
use serde::Serialize;

use crate::output::OutputFormat;

/// The kinds of failure that programs can tell apart by the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum FailureKind {
    /// Something went wrong while running.
    Failed = 1,
    /// The command line, a settings file or a manifest is wrong. Nothing was changed.
    Usage = 2,
    /// A running node said no.
    Refused = 3,
    /// What was asked for is not there.
    NotFound = 4,
    /// Stopped by a signal.
    Interrupted = 130,
}

/// A command that did not do what it was asked to do.
#[derive(Debug)]
pub struct Failure {
    pub kind: FailureKind,
    pub error: anyhow::Error,
}

pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub fn new(kind: FailureKind, error: impl Into<anyhow::Error>) -> Failure {
        Failure {
            kind,
            error: error.into(),
        }
    }

    pub fn usage(message: impl std::fmt::Display) -> Failure {
        Failure {
            kind: FailureKind::Usage,
            error: anyhow::anyhow!("{message}"),
        }
    }

    /// Prints the error, as text for people or as one line of JSON for programs, and gives the exit code.
    pub fn report(&self, output: OutputFormat) -> ExitCode {
        if output.is_json() {
            // A reader that has gone away takes nothing from the exit code.
            let _ = writeln!(std::io::stdout(), "{}", self.to_json());
        } else {
            eprintln!("error: {}", self.to_text(std::io::stderr().is_terminal()));
        }
        ExitCode::from(self.kind as u8)
    }

    /// The mistakes of a manifest, where that is what failed.
    fn report_on_manifest(&self) -> Option<&Report> {
        self.error.downcast_ref::<Report>()
    }

    fn to_text(&self, colours: bool) -> String {
        match self.report_on_manifest() {
            Some(report) => format!("{}\n{}", self.error, report.render(colours)),
            None => said(&self.error),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let report = self.report_on_manifest();
        let problems = report.map(problems_json);
        // A report's own text is its problems, which stand beside it.
        let error = match report {
            Some(_) => self.error.to_string(),
            None => said(&self.error),
        };
        serde_json::json!({
            "error": error,
            "kind": self.kind,
            "problems": problems.unwrap_or_default(),
        })
    }
}

/// What an error and its causes say, each once: many an error has its cause in its own text.
pub fn said(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

/// The problems of a report, for programs.
pub fn problems_json(report: &Report) -> Vec<ProblemJson<'_>> {
    let file = report.source().path.display().to_string();
    let entries = report.entries().into_iter();
    let problems = entries.map(|entry| ProblemJson {
        severity: match entry.problem.severity {
            Severity::Mistake => "error",
            Severity::Warning => "warning",
        },
        file: file.clone(),
        line: entry.line,
        column: entry.column,
        message: &entry.problem.message,
        label: &entry.problem.label,
        help: entry.problem.help.as_deref(),
    });
    problems.collect()
}

/// One problem of a manifest; lines and columns count from 1, and are 0 where the file as a whole is meant.
#[derive(Debug, Serialize)]
pub struct ProblemJson<'r> {
    severity: &'static str,
    file: String,
    line: usize,
    column: usize,
    message: &'r str,
    label: &'r str,
    help: Option<&'r str>,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure {
            kind: FailureKind::Failed,
            error: error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anyhow::Context as _;
    use millstream_pipeline::manifest::{ManifestText, Problem};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read x: {source}")]
    struct CannotRead {
        source: std::io::Error,
    }

    #[test]
    fn a_cause_that_an_error_names_itself_is_said_once() {
        let source = std::io::Error::other("the disk is gone");
        let error = anyhow::Error::new(CannotRead { source }).context("no plugin");
        assert_eq!(said(&error), "no plugin: cannot read x: the disk is gone");
        let failure = Failure::new(FailureKind::Failed, error);
        assert_eq!(failure.to_text(false), said(&failure.error));
        assert_eq!(failure.to_json()["error"], said(&failure.error));
    }

    fn refused() -> Failure {
        let source = ManifestText {
            path: "p.toml".into(),
            text: "manifest = 1\nstages = 2\n".into(),
        };
        let problem = Problem::new("`stages` is not known")
            .at(13..19)
            .label("not known")
            .help("did you mean `stage`?");
        let report = Report::new(Arc::new(source), vec![problem]);
        let refused: anyhow::Result<()> = Err(report).context("the manifest is refused");
        Failure::new(FailureKind::Usage, refused.unwrap_err())
    }

    #[test]
    fn a_refused_manifest_is_told_with_its_places() {
        let expected = serde_json::json!({
            "error": "the manifest is refused",
            "kind": "usage",
            "problems": [{
                "severity": "error",
                "file": "p.toml",
                "line": 2,
                "column": 1,
                "message": "`stages` is not known",
                "label": "not known",
                "help": "did you mean `stage`?",
            }],
        });
        assert_eq!(refused().to_json(), expected);
        let text = refused().to_text(false);
        assert!(text.starts_with("the manifest is refused\n"), "{text}");
        assert!(text.contains("p.toml:2:1"), "{text}");
        assert_eq!(text.matches("is not known").count(), 1, "{text}");
    }

    #[test]
    fn other_failures_have_no_problems() {
        let failed: anyhow::Result<()> = Err(anyhow::anyhow!("the cause")).context("what failed");
        let failure = Failure::new(FailureKind::NotFound, failed.unwrap_err());
        let expected = serde_json::json!({
            "error": "what failed: the cause",
            "kind": "not-found",
            "problems": [],
        });
        assert_eq!(failure.to_json(), expected);
        assert_eq!(failure.to_text(false), "what failed: the cause");
    }
}
