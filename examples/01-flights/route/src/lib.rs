//! Routes flights by their arrival delay: more than an hour late, or on time.
//! It knows what `clean` writes, and nothing else.
//! Read the function below; there is nothing else.

use millstream_sdk::prelude::*;

/// A flight is late when it arrives more than this many minutes behind its schedule.
const LATE_MINUTES: i64 = 60;

/// What is read of a cleaned flight.
#[derive(serde::Deserialize)]
struct Flight {
    arr_delay: i64,
}

#[millstream::processor(outputs = ["late", "ontime"])]
fn route(record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject> {
    let flight: Flight = record.json()?;
    ctx.forward(
        if flight.arr_delay > LATE_MINUTES {
            "late"
        } else {
            "ontime"
        },
        &record,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use millstream_sdk::testing::{Harness, Input};

    use super::*;

    #[test]
    fn an_hour_is_still_on_time() {
        let mut harness = Harness::<Plugin>::open(serde_json::Value::Null).unwrap();
        for (delay, output) in [(-3, "ontime"), (60, "ontime"), (61, "late")] {
            let value = format!(r#"{{"carrier":"UA","arr_delay":{delay}}}"#);
            let outputs = harness.process_one(Input::new("IAH", &value)).unwrap();
            assert_eq!(outputs.len(), 1);
            assert_eq!(outputs[0].output, output, "{delay} minutes");
            assert_eq!(
                (outputs[0].key_text(), outputs[0].value_text()),
                ("IAH", value.as_str())
            );
        }
    }

    #[test]
    fn a_flight_without_a_delay_is_refused() {
        let mut harness = Harness::<Plugin>::open(serde_json::Value::Null).unwrap();
        assert!(
            harness
                .process_one(Input::new("IAH", r#"{"carrier":"UA"}"#))
                .is_err()
        );
    }
}
