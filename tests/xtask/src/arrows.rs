//! The crate arrows of the architecture, checked against what cargo says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::shell;

/// Which of our crates each crate may name. A crate that is missing here may name none.
const ARROWS: &[(&str, &[&str])] = &[
    ("millstream-records", &[]),
    ("millstream-wire", &[]),
    ("millstream-log", &["millstream-records"]),
    (
        "millstream-cluster",
        &["millstream-records", "millstream-log"],
    ),
    (
        "millstream-broker",
        &[
            "millstream-records",
            "millstream-wire",
            "millstream-log",
            "millstream-cluster",
        ],
    ),
    ("millstream-state", &[]),
    ("millstream-build-once", &[]),
    ("millstream-frames", &[]),
    (
        "millstream-plugin-host",
        &["millstream-frames", "millstream-build-once"],
    ),
    (
        "millstream-pipeline",
        &[
            "millstream-records",
            "millstream-frames",
            "millstream-plugin-host",
        ],
    ),
    ("millstream-console", &[]),
    ("millstream-plugin-build", &[]),
    ("millstream-testkit", &["millstream-plugin-host"]),
    ("millstream-macros", &[]),
    (
        "millstream-sdk",
        &["millstream-frames", "millstream-macros"],
    ),
];

/// Crates that stand outside the layers: the binary knows all, the test tools know what they test.
const UNBOUNDED: &[&str] = &[
    "millstream",
    "millstream-end-to-end",
    "millstream-bench",
    "millstream-storm",
    "xtask",
];

pub fn check() -> Result<()> {
    let metadata = MetadataCommand::new()
        .current_dir(shell::root())
        .no_deps()
        .other_options(vec!["--offline".into()])
        .exec()?;
    let wrong = violations(&dependencies(&metadata), ARROWS);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "arrows that the architecture does not have:\n  {}",
        wrong.join("\n  ")
    );
}

type Dependencies = BTreeMap<String, BTreeSet<String>>;

/// Crate → crates of this workspace that it names, tests left out.
fn dependencies(metadata: &Metadata) -> Dependencies {
    let ours: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let named = |package: &cargo_metadata::Package| {
        package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .filter(|dependency| ours.contains(dependency.name.as_str()))
            .map(|dependency| dependency.name.clone())
            .collect()
    };
    metadata
        .packages
        .iter()
        .map(|package| (package.name.to_string(), named(package)))
        .collect()
}

fn violations(dependencies: &Dependencies, arrows: &[(&str, &[&str])]) -> Vec<String> {
    let plugin_author = ["millstream-sdk"];
    let mut wrong = Vec::new();
    for (name, named) in dependencies {
        if UNBOUNDED.contains(&name.as_str()) {
            continue;
        }
        let rule = arrows
            .iter()
            .find(|(layer, _)| layer == name)
            .map(|(_, allowed)| *allowed);
        // A crate without a rule is a plugin, or a tool of the tests: it sees what users see.
        let allowed = rule.unwrap_or(&plugin_author);
        for target in named
            .iter()
            .filter(|target| !allowed.contains(&target.as_str()))
        {
            wrong.push(format!("{name} -> {target}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(edges: &[(&str, &[&str])]) -> Dependencies {
        let set = |targets: &&[&str]| targets.iter().map(|target| target.to_string()).collect();
        edges
            .iter()
            .map(|(name, targets)| (name.to_string(), set(targets)))
            .collect()
    }

    #[test]
    fn the_workspace_has_only_the_arrows_of_the_architecture() {
        check().unwrap();
    }

    #[test]
    fn every_layer_with_a_rule_exists() {
        let metadata = MetadataCommand::new()
            .current_dir(shell::root())
            .no_deps()
            .exec()
            .unwrap();
        let dependencies = dependencies(&metadata);
        for (layer, _) in ARROWS {
            assert!(
                dependencies.contains_key(*layer),
                "{layer} has a rule and is gone"
            );
        }
    }

    #[test]
    fn an_arrow_upwards_is_found() {
        let wrong = tree(&[(
            "millstream-log",
            &["millstream-records", "millstream-broker"],
        )]);
        assert_eq!(
            violations(&wrong, ARROWS),
            ["millstream-log -> millstream-broker"]
        );
    }

    #[test]
    fn a_plugin_sees_only_the_sdk() {
        let plugins = tree(&[
            ("good", &["millstream-sdk"]),
            ("nosy", &["millstream-broker"]),
        ]);
        assert_eq!(violations(&plugins, ARROWS), ["nosy -> millstream-broker"]);
    }

    #[test]
    fn the_pipeline_and_the_broker_do_not_know_each_other() {
        let wrong = tree(&[
            ("millstream-pipeline", &["millstream-broker"]),
            ("millstream-broker", &["millstream-pipeline"]),
        ]);
        assert_eq!(violations(&wrong, ARROWS).len(), 2);
    }
}
