//! `cargo xtask check`: everything that can be said of the code without running it.

use anyhow::Result;

use crate::{arrows, bindings, docs, fail_points, plugins, product_paths, shell, unsafe_list};

pub fn run() -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    arrows::check()?;
    docs::check()?;
    bindings::check()?;
    unsafe_list::check()?;
    fail_points::check()?;
    product_paths::check()?;
    plugins::check()?;
    let clippy = [
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--quiet",
    ];
    shell::run(shell::cargo().args(clippy).args(["--", "-D", "warnings"]))?;
    let doc = [
        "doc",
        "--release",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--quiet",
    ];
    shell::run(shell::cargo().args(doc).env(
        "RUSTDOCFLAGS",
        "-D warnings -A rustdoc::private-intra-doc-links",
    ))
}
