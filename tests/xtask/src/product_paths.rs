//! The product finds nothing by the folder that it was built in: there it lies on one machine only.

use anyhow::{Result, bail};

use crate::sources::{self, Source};

/// What puts a path of the building machine into a program.
const BUILD_PATHS: [&str; 2] = ["CARGO_MANIFEST_DIR", "CARGO_WORKSPACE_DIR"];

pub fn check() -> Result<()> {
    let wrong = violations(&sources::all()?);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "product code that needs the folder it was built in:\n  {}",
        wrong.join("\n  ")
    );
}

/// Build scripts and tests run where they were built.
fn violations(sources: &[Source]) -> Vec<String> {
    let of_product = sources.iter().filter(|source| {
        let product = source.path.starts_with("runtime/") || source.path.starts_with("plugin-sdk/");
        product && source.path.contains("/src/") && !source.is_test()
    });
    let mut wrong = Vec::new();
    for source in of_product {
        for (index, line) in source.text.lines().enumerate() {
            if BUILD_PATHS.iter().any(|path| line.contains(path)) {
                wrong.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_needs_no_build_folder() {
        check().unwrap();
    }

    #[test]
    fn a_path_of_the_building_machine_is_found_in_the_product_only() {
        let line = "let x = env!(\"CARGO_MANIFEST_DIR\");";
        let sources = [
            Source::new("runtime/log/src/a.rs", &format!("\n{line}")),
            Source::new("runtime/log/src/a/tests.rs", line),
            Source::new("runtime/log/build.rs", line),
            Source::new("runtime/log/tests/b.rs", line),
            Source::new("tests/bench/src/c.rs", line),
        ];
        assert_eq!(
            violations(&sources),
            [format!("runtime/log/src/a.rs:2: {line}")]
        );
    }
}
