//! The list of unsafe exceptions in ARCHITECTURE.md, compared with the sources.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::sources::{self, Source};

/// The section of ARCHITECTURE.md whose table names the files.
const SECTION: &str = "## Where `unsafe` is allowed";

pub fn check() -> Result<()> {
    let path = shell::root().join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&path).context("reading ARCHITECTURE.md")?;
    let wrong = differences(&listed(&text), &allowing(&sources::all()?));
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "the list of unsafe exceptions in ARCHITECTURE.md is not what the sources allow:\n  {}",
        wrong.join("\n  ")
    );
}

/// Files in the first column of the section's table.
fn listed(text: &str) -> BTreeSet<String> {
    let section = text.split(SECTION).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
        .collect()
}

/// Files that lift the lint.
fn allowing(sources: &[Source]) -> BTreeSet<String> {
    let lifts = |line: &str| {
        let attribute = line.trim_start();
        attribute.starts_with("#[allow(unsafe_code)]")
            || attribute.starts_with("#![allow(unsafe_code)]")
    };
    let found = sources
        .iter()
        .filter(|source| source.text.lines().any(lifts));
    found.map(|source| source.path.clone()).collect()
}

fn differences(listed: &BTreeSet<String>, allowing: &BTreeSet<String>) -> Vec<String> {
    let unlisted = allowing.difference(listed);
    let idle = listed.difference(allowing);
    unlisted
        .map(|path| format!("{path} allows unsafe code and is not listed"))
        .chain(idle.map(|path| format!("{path} is listed and allows none")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_what_the_sources_allow() {
        check().unwrap();
    }

    #[test]
    fn a_file_too_many_and_one_too_few_are_found() {
        let text = format!(
            "## Other\n| `x.rs` | why |\n{SECTION}\n| file | why |\n|---|---|\n| `a.rs` | x |\n| `b.rs` | y |\n## Next\n| `z.rs` | z |\n"
        );
        let sources = [
            Source::new("a.rs", "//! Doc.\n#![allow(unsafe_code)]\n"),
            Source::new("c.rs", "mod x {\n    #[allow(unsafe_code)] // because\n}"),
            Source::new("d.rs", "// it says #[allow(unsafe_code)] somewhere\n"),
        ];
        assert_eq!(
            differences(&listed(&text), &allowing(&sources)),
            [
                "c.rs allows unsafe code and is not listed",
                "b.rs is listed and allows none"
            ]
        );
    }
}
