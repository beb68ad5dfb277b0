//! Mistakes of a manifest and warnings about it, each with its place, all told at once.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A manifest file as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestText {
    pub path: PathBuf,
    pub text: String,
}

/// How much a problem weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The manifest is refused.
    Mistake,
    /// It is taken, but may not do what its owner means.
    Warning,
}

/// One mistake, or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// What is wrong, as a sentence without its place.
    pub message: String,
    /// The offending bytes of the manifest; `None` when the file as a whole is meant.
    pub span: Option<Range<usize>>,
    /// A few words beside the excerpt.
    pub label: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Problem {
            severity: Severity::Mistake,
            message: message.into(),
            span: None,
            label: String::new(),
            help: None,
        }
    }

    pub fn warning(message: impl Into<String>) -> Self {
        Problem {
            severity: Severity::Warning,
            ..Problem::new(message)
        }
    }

    pub fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// All mistakes and warnings of one manifest, in the order of the file. `Display` is what a person reads,
/// [`Report::entries`] what a program does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    source: Arc<ManifestText>,
    problems: Vec<Problem>,
}

impl std::error::Error for Report {}

impl Report {
    pub fn new(source: Arc<ManifestText>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| (span.start, span.end)));
        problems.dedup();
        Report { source, problems }
    }

    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether the manifest is refused.
    pub fn has_mistakes(&self) -> bool {
        self.count(Severity::Mistake) > 0
    }

    fn count(&self, severity: Severity) -> usize {
        let problems = self.problems.iter();
        problems
            .filter(|problem| problem.severity == severity)
            .count()
    }

    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub fn source(&self) -> &Arc<ManifestText> {
        &self.source
    }

    /// This report and further problems of the same file.
    pub fn with(self, more: Vec<Problem>) -> Report {
        let mut problems = self.problems;
        problems.extend(more);
        Report::new(self.source, problems)
    }

    /// Each problem with its line and column (both from 1; 0 when it has no place).
    pub fn entries(&self) -> Vec<Entry<'_>> {
        self.problems
            .iter()
            .map(|problem| {
                let (line, column) = problem.span.as_ref().map_or((0, 0), |span| {
                    line_and_column(&self.source.text, span.start)
                });
                Entry {
                    line,
                    column,
                    problem,
                }
            })
            .collect()
    }

    /// The report as text; `colours` for a terminal.
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours {
            Renderer::styled()
        } else {
            Renderer::plain()
        }
        .decor_style(DecorStyle::Ascii);
        let path = self.source.path.display().to_string();
        let mut out = String::new();
        for problem in &self.problems {
            let level = match problem.severity {
                Severity::Mistake => Level::ERROR,
                Severity::Warning => Level::WARNING,
            };
            let mut group = level
                .primary_title(problem.message.clone())
                .elements(Vec::<Snippet<'_, annotate_snippets::Annotation<'_>>>::new());
            match &problem.span {
                Some(span) => {
                    let span = clamp(&self.source.text, span);
                    let mut annotation = AnnotationKind::Primary.span(span);
                    if !problem.label.is_empty() {
                        annotation = annotation.label(problem.label.clone());
                    }
                    group = group.element(
                        Snippet::source(&self.source.text)
                            .path(path.clone())
                            .annotation(annotation),
                    );
                }
                None => group = group.element(annotate_snippets::Origin::path(path.clone())),
            }
            if let Some(help) = &problem.help {
                group = group.element(Level::HELP.message(help.clone()));
            }
            out.push_str(&renderer.render(&[group]));
            out.push_str("\n\n");
        }
        out.push_str(&format!("{path}: {}", self.verdict()));
        out
    }

    /// `2 mistakes, 1 warning; nothing was changed`
    fn verdict(&self) -> String {
        let counted = |severity, noun: &str| match self.count(severity) {
            0 => None,
            1 => Some(format!("1 {noun}")),
            count => Some(format!("{count} {noun}s")),
        };
        let mistakes = counted(Severity::Mistake, "mistake");
        let refused = mistakes.is_some();
        let warnings = counted(Severity::Warning, "warning");
        let counts: Vec<String> = mistakes.into_iter().chain(warnings).collect();
        let counts = counts.join(", ");
        match refused {
            true => format!("{counts}; nothing was changed"),
            false => counts,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// One problem with its place as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'r> {
    pub line: usize,
    pub column: usize,
    pub problem: &'r Problem,
}

/// A span inside the text, on character boundaries, whatever a parser said.
fn clamp(text: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    start..floor(span.end.max(span.start)).max(start)
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..clamp(text, &(at..at)).start];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}
