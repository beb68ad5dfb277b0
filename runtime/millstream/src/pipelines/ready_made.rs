//! The ready-made plugins by name, as a manifest and the command line name them.

use std::fmt;

use millstream_pipeline::manifest::{Problem, nearest, one_of};
use millstream_plugin_build::ready_made::{ReadyMade, ready_made};
use millstream_plugin_host::{Engine, Plugin};

/// A name, perhaps with a version, that no ready-made plugin has.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    message: String,
    label: String,
    help: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.help)
    }
}

impl Unknown {
    /// As a mistake of a manifest.
    pub fn problem(self) -> Problem {
        Problem::new(self.message).label(self.label).help(self.help)
    }
}

/// The plugin of that name. `version` may be given in part: `1.2` asks for any `1.2.x`.
pub fn find(name: &str, version: Option<&str>) -> Result<&'static ReadyMade, Unknown> {
    let names: Vec<&str> = ready_made().iter().map(|plugin| plugin.name).collect();
    let Some(plugin) = ready_made().iter().find(|plugin| plugin.name == name) else {
        return Err(Unknown {
            message: format!("there is no ready-made plugin `{name}`"),
            label: "not known".to_owned(),
            help: match nearest(name, names.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!(
                    "it may be {}; the path of a crate or a file begins with `./`",
                    one_of(&names)
                ),
            },
        });
    };
    let found = &plugin.about.version;
    match version {
        Some(wanted) if !is_version(found, wanted) => Err(Unknown {
            message: format!("the ready-made plugin {name} is not there in version {wanted}"),
            label: format!("must be {found}"),
            help: format!("this Millstream has `{name}@{found}`"),
        }),
        _ => Ok(plugin),
    }
}

/// Loads it with `engine`.
pub async fn load(engine: &Engine, plugin: &ReadyMade) -> anyhow::Result<Plugin> {
    Ok(engine.load(&plugin.module()?).await?)
}

fn is_version(found: &str, wanted: &str) -> bool {
    let rest = found.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_may_be_given_in_part() {
        assert!(is_version("1.2.3", "1.2") && is_version("1.2.3", "1.2.3"));
        assert!(!is_version("1.20.3", "1.2") && !is_version("1.2.3", "2"));
    }

    #[test]
    fn a_name_finds_its_plugin_and_a_typo_the_nearest() {
        assert_eq!(find("mask-digits", None).unwrap().name, "mask-digits");
        assert_eq!(
            find("mask-digits", Some("0.1")).unwrap().name,
            "mask-digits"
        );
        let typo = find("mask-digit", None).unwrap_err();
        assert_eq!(
            typo.to_string(),
            "there is no ready-made plugin `mask-digit`; did you mean `mask-digits`?"
        );
        let strange = find("enrich", None).unwrap_err();
        assert!(
            strange.help.contains("`field-filter` or `mask-digits`"),
            "{strange}"
        );
        let version = find("mask-digits", Some("9")).unwrap_err();
        let found = &find("mask-digits", None).unwrap().about.version;
        assert_eq!(
            version.help,
            format!("this Millstream has `mask-digits@{found}`")
        );
    }
}
