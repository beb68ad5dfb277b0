//! A topic's settings in effect: its own value, else the node's, else the default.

use std::{borrow::Cow, collections::BTreeMap};

use super::{ConfigError, TopicSetting, topic_setting};

/// A topic's settings in effect. Both maps hold values as they were given; what is read here is the canonical form.
#[derive(Clone, Copy, Debug)]
pub struct EffectiveConfig<'a> {
    /// Settings of the topic.
    pub topic: &'a BTreeMap<String, String>,
    /// Defaults that the node's own settings give, by topic setting name.
    pub node: &'a BTreeMap<String, String>,
}

impl<'a> EffectiveConfig<'a> {
    /// The text in effect.
    ///
    /// # Panics
    /// When the table has no setting of that name: the caller's mistake, not a client's.
    pub fn text(&self, name: &str) -> Cow<'a, str> {
        let setting = known(name);
        let own = self.topic.get(name).or_else(|| self.node.get(name));
        match own {
            Some(value) => setting.rule.canonical(value),
            None => Cow::Borrowed(setting.default),
        }
    }

    /// The number in effect. A stored value that is not one (checked when it was stored) counts as the default.
    pub fn whole(&self, name: &str) -> i64 {
        let fallback = || known(name).default.parse().unwrap_or(0);
        self.text(name).parse().unwrap_or_else(|_| fallback())
    }

    /// The fraction in effect; as [`EffectiveConfig::whole`].
    pub fn real(&self, name: &str) -> f64 {
        let fallback = || known(name).default.parse().unwrap_or(0.0);
        self.text(name).parse().unwrap_or_else(|_| fallback())
    }

    /// Whether a flag is set.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    /// Whether a list holds a word.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        self.text(name).split(',').any(|entry| entry == word)
    }
}

fn known(name: &str) -> &'static TopicSetting {
    topic_setting(name).unwrap_or_else(|| panic!("no topic setting {name}"))
}

/// Checks what no single setting can say: settings that contradict each other.
pub fn check_together(config: EffectiveConfig<'_>) -> Result<(), ConfigError> {
    let (shortest, longest) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
    if config.whole(shortest) > config.whole(longest) {
        return Err(ConfigError::Invalid {
            name: shortest.to_owned(),
            value: config.text(shortest).into_owned(),
            expected: format!("it must not exceed {longest}, {}", config.text(longest)),
        });
    }
    Ok(())
}
