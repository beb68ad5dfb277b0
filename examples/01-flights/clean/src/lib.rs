//! Cleans the flights of nycflights13: texts become numbers, what nobody asked for is left out, and a flight that
//! never arrived is refused.
//! It knows the columns of the CSV file, and nothing of delays being late or not: that is the business of `route`.
//! Read `Row` (what comes in) and `Flight` (what goes out) first.

use std::borrow::Cow;

use millstream_sdk::prelude::*;

/// A row as the source gives it: a JSON object of texts, by the file's header. Missing values are `NA` or empty.
#[derive(serde::Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    carrier: Cow<'a, str>,
    #[serde(borrow)]
    flight: Cow<'a, str>,
    #[serde(borrow)]
    tailnum: Cow<'a, str>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    #[serde(borrow)]
    dest: Cow<'a, str>,
    #[serde(borrow)]
    dep_delay: Cow<'a, str>,
    #[serde(borrow)]
    arr_delay: Cow<'a, str>,
    #[serde(borrow)]
    distance: Cow<'a, str>,
    #[serde(borrow)]
    time_hour: Cow<'a, str>,
}

/// A flight with typed fields. Their order is the order in the JSON text.
#[derive(serde::Serialize)]
struct Flight<'a> {
    time: &'a str,
    carrier: &'a str,
    flight: u32,
    /// Absent when the file does not know the aircraft.
    #[serde(skip_serializing_if = "Option::is_none")]
    tailnum: Option<&'a str>,
    origin: &'a str,
    dest: &'a str,
    /// Minutes behind the schedule; negative when early.
    dep_delay: i32,
    arr_delay: i32,
    /// Miles.
    distance: u32,
}

#[millstream::processor(outputs = ["ok"])]
fn clean(record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject> {
    let row: Row<'_> = record.json()?;
    let flight = Flight {
        time: &row.time_hour,
        carrier: &row.carrier,
        flight: number("flight", &row.flight)?,
        tailnum: known(&row.tailnum),
        origin: &row.origin,
        dest: &row.dest,
        dep_delay: number("dep_delay", &row.dep_delay)?,
        arr_delay: number("arr_delay", &row.arr_delay)?,
        distance: number("distance", &row.distance)?,
    };
    ctx.emit_json("ok", flight.dest, &flight)?;
    Ok(())
}

/// The text, unless the file says that it is not known.
fn known(text: &str) -> Option<&str> {
    (!text.is_empty() && text != "NA").then_some(text)
}

/// The number in a column that every flight must have.
fn number<N: std::str::FromStr<Err: std::fmt::Display>>(
    column: &str,
    text: &str,
) -> Result<N, Reject> {
    let Some(text) = known(text) else {
        reject!("no {column}")
    };
    text.parse()
        .map_err(|error| Reject::new(format!("{column} is {text:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use millstream_sdk::testing::{Harness, Input};
    use serde_json::json;

    use super::*;

    fn row() -> serde_json::Value {
        json!({
            "year": "2013", "month": "1", "day": "1", "dep_time": "517", "sched_dep_time": "515", "dep_delay": "2",
            "arr_time": "830", "sched_arr_time": "819", "arr_delay": "11", "carrier": "UA", "flight": "1545",
            "tailnum": "N14228", "origin": "EWR", "dest": "IAH", "air_time": "227", "distance": "1400", "hour": "5",
            "minute": "15", "time_hour": "2013-01-01T10:00:00Z",
        })
    }

    fn cleaned(row: &serde_json::Value) -> Result<(String, String), String> {
        let mut harness = Harness::<Plugin>::open(serde_json::Value::Null).unwrap();
        match harness.process_one(Input::new("IAH", row.to_string())) {
            Ok(outputs) => Ok((
                outputs[0].key_text().to_owned(),
                outputs[0].value_text().to_owned(),
            )),
            Err(refusal) => Err(refusal.message),
        }
    }

    #[test]
    fn a_row_becomes_a_flight_with_typed_fields() {
        let value =
            r#"{"time":"2013-01-01T10:00:00Z","carrier":"UA","flight":1545,"tailnum":"N14228","#
                .to_owned()
                + r#""origin":"EWR","dest":"IAH","dep_delay":2,"arr_delay":11,"distance":1400}"#;
        assert_eq!(cleaned(&row()), Ok(("IAH".to_owned(), value)));
    }

    #[test]
    fn a_flight_that_never_arrived_is_refused() {
        for missing in ["", "NA"] {
            let mut row = row();
            row["arr_delay"] = json!(missing);
            assert_eq!(cleaned(&row), Err("no arr_delay".to_owned()));
        }
    }

    #[test]
    fn a_number_that_is_none_is_refused_with_its_text() {
        let mut row = row();
        row["flight"] = json!("UA1545");
        assert_eq!(
            cleaned(&row),
            Err("flight is \"UA1545\": invalid digit found in string".to_owned())
        );
    }
}
