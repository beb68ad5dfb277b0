//! `cargo xtask docs`: the pages that are written from the code.

use std::process::Command;

use anyhow::Result;

use crate::shell;

/// Writes the pages.
pub fn write() -> Result<()> {
    shell::run(settings_page().env("MILLSTREAM_WRITE_DOCS", "1"))
}

/// Fails when a page is out of date.
pub fn check() -> Result<()> {
    shell::run(&mut settings_page())
}

/// The test that knows the page of settings.
fn settings_page() -> Command {
    let mut test = shell::cargo();
    test.args(["test", "--release", "--quiet", "-p", "millstream-broker"]);
    test.args(["--test", "settings_page"]);
    test
}
