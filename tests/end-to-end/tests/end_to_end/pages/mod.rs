//! Pages that tell a reader what to type: a new plugin's, the examples', the ones in `docs/`. Each is typed as it is
//! written, in an empty folder, with the program copied to another.

mod page;
mod reader;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::scene::root;
use page::Page;
use reader::Reader;

/// What lies in the source tree of a checkout beside the sources.
const NOT_SOURCES: [&str; 3] = ["target", ".git", "millstream-data"];

#[test]
fn a_new_plugins_page_does_what_it_says() -> Result<()> {
    let mut reader = Reader::new()?;
    reader.types("millstream plugin new words\ncd words\n")?;
    let page = Page::read(&reader.folder().join("README.md"))?;
    let said = reader.follows(&page)?;
    ensure!(said.contains("ground"), "no word was printed:\n{said}");
    let said =
        reader.types("millstream run pipeline.toml --once --data-dir again --output json")?;
    let summary: Value = serde_json::from_str(said.lines().last().context("a summary")?)?;
    ensure!(summary["records_in"] == 2, "{summary}");
    ensure!(summary["records_out"]["words.words"] == 10, "{summary}");
    Ok(())
}

#[test]
fn the_flights_page_does_what_it_says() -> Result<()> {
    let mut reader = Reader::new()?;
    copy_sources(&root(), &reader.folder())?;
    let page = Page::read(&reader.folder().join("examples/01-flights/README.md"))?;
    let said = reader.follows(&page)?.replace(',', "");
    for records in ["336776", "327346", "9430", "27789", "299557"] {
        ensure!(said.contains(records), "no {records} in:\n{said}");
    }
    Ok(())
}

#[test]
fn the_page_on_plugins_does_what_it_says() -> Result<()> {
    let mut reader = Reader::new()?;
    let page = Page::read(&root().join("docs/plugins.md"))?;
    let said = reader.follows(&page)?;
    ensure!(said.contains("31.5"), "no hot reading was printed:\n{said}");
    let expected = std::fs::read_to_string(reader.folder().join("fixtures/expected.jsonl"))?;
    let reasons = [
        "-300 degrees cannot be",
        "the value is not the JSON expected",
    ];
    ensure!(expected.lines().count() == 4, "{expected}");
    for reason in reasons {
        ensure!(expected.contains(reason), "no {reason} in:\n{expected}");
    }
    let node = reader.types("millstream plugin list --output json")?;
    let listed: Value = serde_json::from_str(&node)?;
    ensure!(listed[1]["name"] == "mask-digits", "{listed}");
    Ok(())
}

/// As a fresh clone has them.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        if NOT_SOURCES.iter().any(|other| name == *other) {
            continue;
        }
        let to = to.join(&name);
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&to)?;
            copy_sources(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}
