//! Replaces every digit in values by `#` and passes all else on: key, headers, timestamp.
//! It knows nothing of what the values mean; every byte is looked at, which makes it the bench's plugin too.
//! Read the function below; there is nothing else.

use millstream_sdk::prelude::*;

#[millstream::processor(outputs = ["masked"])]
fn mask_digits(record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject> {
    ctx.forward_mapped("masked", &record, |value| {
        for byte in value {
            *byte = if byte.is_ascii_digit() { b'#' } else { *byte };
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use millstream_sdk::testing::{Harness, Input};

    use super::*;

    #[test]
    fn digits_are_masked_and_nothing_else_changes() {
        let mut harness = Harness::<Plugin>::open(serde_json::Value::Null).unwrap();
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
    fn a_tombstone_stays_a_tombstone() {
        let mut harness = Harness::<Plugin>::open(serde_json::Value::Null).unwrap();
        let outputs = harness.process_one(Input::new("k", NULL)).unwrap();
        assert_eq!(outputs[0].value, None);
    }
}
