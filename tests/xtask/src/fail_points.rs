//! Every fail point is reached by the product and armed by a test: one that nobody arms is decoration.

use anyhow::{Result, bail};

use crate::sources::{self, Source};

/// Where fail points are declared.
const DECLARATIONS: &str = "runtime/log/src/failpoint.rs";

pub fn check() -> Result<()> {
    let wrong = violations(&sources::all()?);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "fail points that do nothing for us:\n  {}",
        wrong.join("\n  ")
    );
}

fn violations(sources: &[Source]) -> Vec<String> {
    let declared = sources.iter().find(|source| source.path == DECLARATIONS);
    let names = declared.map_or_else(Vec::new, |source| names(&source.text));
    let mut wrong = Vec::new();
    if names.is_empty() {
        wrong.push(format!("none is declared in {DECLARATIONS}"));
    }
    for name in names {
        let quoted = format!("\"{name}");
        let named_in = |tests: bool| {
            let mut others = sources.iter().filter(|source| source.path != DECLARATIONS);
            others.any(|source| source.is_test() == tests && source.text.contains(&quoted))
        };
        if !named_in(false) {
            wrong.push(format!("{name} is reached by nothing"));
        }
        if !named_in(true) {
            wrong.push(format!("{name} is armed by no test"));
        }
    }
    wrong
}

/// The names in `const NAMES`, each followed by its description.
fn names(text: &str) -> Vec<String> {
    let table = text.split("const NAMES").nth(1).unwrap_or_default();
    let table = table.split("\n];").next().unwrap_or_default();
    let strings = table.split('"').skip(1).step_by(2);
    let is_name = |text: &&str| text.contains('.') && !text.contains(' ');
    strings.filter(is_name).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fail_point_is_reached_and_armed() {
        check().unwrap();
    }

    #[test]
    fn one_that_is_not_reached_or_not_armed_is_found() {
        let declared = "const NAMES: &[(&str, &str)] = &[\n    (\"a.one\", \"x. y\"),\n    (\n        \"a.two\",\n        \"z\",\n    ),\n];\nfn f() { let a = \"b.three\"; }\n";
        let sources = [
            Source::new(DECLARATIONS, declared),
            Source::new("runtime/log/src/log/append.rs", "hit(\"a.one\");"),
            Source::new("runtime/log/src/log/tests/crash.rs", "arm(\"a.two=kill\");"),
        ];
        assert_eq!(
            violations(&sources),
            ["a.one is armed by no test", "a.two is reached by nothing"]
        );
    }
}
