//! What a plugin is.

use crate::{Config, ConfigError, Context, Open, Record, Reject};

/// A plugin with state or config. Put `#[millstream::processor(outputs = [..])]` on the `impl`.
///
/// ```
/// use millstream_sdk::prelude::*;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Config {
///     /// Values below this are refused.
///     least: f64,
/// }
///
/// struct Filter {
///     config: Config,
/// }
///
/// #[millstream::processor(outputs = ["ok"])]
/// impl Processor for Filter {
///     type Config = Config;
///
///     fn open(config: Config, _open: &Open) -> Result<Self, ConfigError> {
///         if config.least.is_nan() {
///             return Err(ConfigError::at("least", "it must be a number"));
///         }
///         Ok(Self { config })
///     }
///
///     fn process(&mut self, record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject> {
///         let value: f64 = record.text()?.parse()?;
///         if value < self.config.least {
///             reject!("{value} is less than {}", self.config.least);
///         }
///         ctx.forward("ok", &record);
///         Ok(())
///     }
/// }
/// # fn main() {}
/// ```
///
/// Memory is a cache: the instance may be dropped between any two calls, so a field may only hold what can be read
/// or computed again. Holding an output back until a later record loses it.
pub trait Processor: Sized + 'static {
    /// The stage's config in the manifest; [`crate::NoConfig`] when there is none. Its JSON Schema goes into the
    /// descriptor, and the manifest is checked against that.
    type Config: Config;

    /// Makes the plugin of its config, once per instance.
    fn open(config: Self::Config, open: &Open) -> Result<Self, ConfigError>;

    /// Works on one record. What it emits belongs to that record: a refused record has no outputs.
    fn process(&mut self, record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject>;
}

/// What the attribute writes down about a plugin.
pub trait Describe: Processor {
    const NAME: &'static str;
    const VERSION: &'static str;
    const INPUTS: &'static [&'static str];
    const OUTPUTS: &'static [&'static str];
}
