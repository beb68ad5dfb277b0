//! Replaces every digit in values by `#` and passes all else on: key, headers, timestamp.
//! It knows nothing of what the values mean; every byte is looked at, which makes it the bench's plugin too.
//! Read `Config` for what can be set, then `process`.

use millstream_sdk::ConfigFields;
use millstream_sdk::prelude::*;
use serde_json::Value;

/// The stage's config.
#[derive(Debug)]
pub struct Config {
    /// Bytes at the beginning of each value that stay as they are.
    keep: usize,
}

impl millstream_sdk::Config for Config {
    fn schema() -> Option<Value> {
        ConfigFields::schema(include_str!("config.schema.json"))
    }

    fn read(config: Value) -> Result<Self, ConfigError> {
        let mut fields = ConfigFields::of(config)?;
        let keep = match fields.take("keep") {
            None => 0,
            Some(keep) => {
                let keep = keep.as_u64().and_then(|keep| keep.try_into().ok());
                keep.ok_or_else(|| ConfigError::at("keep", "must be a number of bytes"))?
            }
        };
        fields.end()?;
        Ok(Self { keep })
    }
}

/// The plugin.
#[derive(Debug)]
pub struct MaskDigits {
    keep: usize,
}

#[millstream::processor(outputs = ["masked"])]
impl Processor for MaskDigits {
    type Config = Config;

    fn open(config: Config, _open: &Open) -> Result<Self, ConfigError> {
        Ok(Self { keep: config.keep })
    }

    fn process(&mut self, record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject> {
        ctx.forward_mapped("masked", &record, |value| {
            for byte in value.iter_mut().skip(self.keep) {
                *byte = if byte.is_ascii_digit() { b'#' } else { *byte };
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millstream_sdk::testing::{Harness, Input};

    use super::*;

    #[test]
    fn digits_are_masked_and_nothing_else_changes() {
        let mut harness = Harness::<MaskDigits>::open(serde_json::json!({})).unwrap();
        let input = Input::new("card 1", "4711 is ours, 0815 is not")
            .header("n", "7")
            .timestamp(5);
        let outputs = harness.process_one(input).unwrap();
        assert_eq!(outputs.len(), 1);
        assert_eq!(outputs[0].output, "masked");
        assert_eq!(outputs[0].value_text(), "#### is ours, #### is not");
        assert_eq!(outputs[0].key_text(), "card 1");
        assert_eq!(outputs[0].timestamp, 5);
        assert_eq!(outputs[0].headers, [(b"n".to_vec(), Some(b"7".to_vec()))]);
    }

    #[test]
    fn the_kept_beginning_stays() {
        let mut harness = Harness::<MaskDigits>::open(serde_json::json!({ "keep": 4 })).unwrap();
        let outputs = harness.process_one(Input::new("k", "47110815")).unwrap();
        assert_eq!(outputs[0].value_text(), "4711####");
        let outputs = harness.process_one(Input::new("k", "47")).unwrap();
        assert_eq!(outputs[0].value_text(), "47");
    }

    #[test]
    fn a_config_that_makes_no_sense_is_refused_with_its_path() {
        for (config, path) in [
            (serde_json::json!({ "keep": -1 }), "keep"),
            (serde_json::json!({ "keep": "all" }), "keep"),
            (serde_json::json!({ "kept": 1 }), "kept"),
            (serde_json::json!([4]), ""),
        ] {
            let error = Harness::<MaskDigits>::open(config).err().unwrap();
            assert_eq!(error.issues().next().unwrap().0, path);
        }
    }

    #[test]
    fn a_tombstone_stays_a_tombstone() {
        let mut harness = Harness::<MaskDigits>::open(serde_json::json!({})).unwrap();
        let outputs = harness.process_one(Input::new("k", NULL)).unwrap();
        assert_eq!(outputs[0].value, None);
    }
}
