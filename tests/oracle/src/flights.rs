//! What examples/01-flights must commit, computed from its CSV.
//!
//! A source puts each row into `flights` as a JSON object of strings, keyed by destination, at the time of
//! `time_hour`. `clean` types the fields and refuses rows without an arrival delay; `route` splits by lateness.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::{Comparison, Header, Order, Record, dead_letters, partition_for_key};

/// Partitions of every topic of the example.
pub const PARTITIONS: i32 = 4;
pub const SOURCE: &str = "flights";
pub const CLEAN: &str = "flights.clean";
pub const LATE: &str = "flights.late";
pub const ONTIME: &str = "flights.ontime";
pub const DEAD: &str = "flights.dead";
/// Where the example's results end up.
pub const RESULTS: [&str; 3] = [LATE, ONTIME, DEAD];

/// Rows in the example's file, and what becomes of them.
pub const ROWS: usize = 336_776;
pub const LATE_ROWS: usize = 27_789;
pub const ONTIME_ROWS: usize = 299_557;
pub const DEAD_ROWS: usize = 9_430;

/// How the example's records are compared: in order per key. Which offset a dead letter names depends on the run, so
/// that is left to `dead_letters::check_origins`.
pub fn comparison() -> Comparison {
    Comparison::new()
        .order(Order::PerKey)
        .any_value_of(DEAD, dead_letters::OFFSET)
}

/// The expected records of `RESULTS`, from a file that ends in `.zst` or is plain CSV. For [`comparison`].
pub fn expected(csv: &Path) -> Result<Vec<Record>> {
    expected_of(csv, &RESULTS)
}

/// The expected records of some of the example's topics.
pub fn expected_of(csv: &Path, topics: &[&str]) -> Result<Vec<Record>> {
    let file = File::open(csv).with_context(|| format!("opening {}", csv.display()))?;
    if csv.extension().is_some_and(|extension| extension == "zst") {
        expected_from(zstd::Decoder::new(file)?, topics)
    } else {
        expected_from(BufReader::new(file), topics)
    }
}

/// The lines of such a file, the one that names the columns first.
pub fn lines(csv: &Path) -> Result<Vec<String>> {
    let text = |reader: &mut dyn Read| -> Result<String> {
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        Ok(text)
    };
    let mut file = File::open(csv).with_context(|| format!("opening {}", csv.display()))?;
    let text = if csv.extension().is_some_and(|extension| extension == "zst") {
        text(&mut zstd::Decoder::new(file)?)?
    } else {
        text(&mut file)?
    };
    Ok(text.lines().map(str::to_owned).collect())
}

/// As `expected_of`, from CSV text. Each topic's records are in the order of the rows.
pub fn expected_from(csv: impl Read, topics: &[&str]) -> Result<Vec<Record>> {
    let mut reader = csv::Reader::from_reader(csv);
    let columns: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let mut records = Vec::new();
    for row in reader.records() {
        let row = row?;
        let row: Vec<_> = columns.iter().map(String::as_str).zip(row.iter()).collect();
        let key = field(&row, "dest")?.as_bytes();
        let timestamp = milliseconds(field(&row, "time_hour")?)?;
        let partition = partition_for_key(key, PARTITIONS);
        for (topic, value) in outcomes(&row)? {
            if topics.contains(&topic) {
                let headers = if topic == DEAD {
                    dead_headers(&row, partition)?
                } else {
                    Vec::new()
                };
                records.push(Record {
                    topic: topic.to_owned(),
                    partition,
                    key: Some(key.to_vec()),
                    value: Some(value.into_bytes()),
                    headers,
                    timestamp,
                });
            }
        }
    }
    Ok(records)
}

/// Topics that a row reaches, and its value there.
fn outcomes(row: &[(&str, &str)]) -> Result<Vec<(&'static str, String)>> {
    let source = source_value(row)?;
    let Some(arr_delay) = number(row, "arr_delay")? else {
        return Ok(vec![(SOURCE, source.clone()), (DEAD, source)]);
    };
    let clean = clean_value(row)?;
    let route = if arr_delay > 60 { LATE } else { ONTIME };
    Ok(vec![
        (SOURCE, source),
        (CLEAN, clean.clone()),
        (route, clean),
    ])
}

/// What the headers of a refused row say, but for the offset. A flight that never left has no departure delay either,
/// and that column is looked at first.
fn dead_headers(row: &[(&str, &str)], partition: i32) -> Result<Vec<Header>> {
    let column = match number(row, "dep_delay")? {
        None => "dep_delay",
        Some(_) => "arr_delay",
    };
    let headers = [
        ("pipeline", "flights".to_owned()),
        ("stage", "clean".to_owned()),
        ("topic", SOURCE.to_owned()),
        ("partition", partition.to_string()),
        ("offset", "?".to_owned()),
        ("code", "0".to_owned()),
        ("message", format!("no {column}")),
    ];
    Ok(headers
        .map(|(name, value)| {
            let name = format!("millstream.dead.{name}");
            (name.into_bytes(), Some(value.into_bytes()))
        })
        .into())
}

/// The row as a JSON object, every field a string.
fn source_value(row: &[(&str, &str)]) -> Result<String> {
    let texts = row
        .iter()
        .map(|(name, text)| Ok(format!("\"{name}\":{}", quoted(text)?)));
    Ok(format!(
        "{{{}}}",
        texts.collect::<Result<Vec<_>>>()?.join(",")
    ))
}

/// What `clean` keeps, typed, in this order; the tail number only where it is known.
fn clean_value(row: &[(&str, &str)]) -> Result<String> {
    let text = |name| quoted(field(row, name)?);
    let whole = |name| number(row, name)?.with_context(|| format!("{name} is empty"));
    let tailnum = match field(row, "tailnum")? {
        "" | "NA" => String::new(),
        known => format!("\"tailnum\":{},", quoted(known)?),
    };
    Ok(format!(
        "{{\"time\":{},\"carrier\":{},\"flight\":{},{tailnum}\"origin\":{},\"dest\":{},\
         \"dep_delay\":{},\"arr_delay\":{},\"distance\":{}}}",
        text("time_hour")?,
        text("carrier")?,
        whole("flight")?,
        text("origin")?,
        text("dest")?,
        whole("dep_delay")?,
        whole("arr_delay")?,
        whole("distance")?,
    ))
}

fn field<'r>(row: &[(&str, &'r str)], name: &str) -> Result<&'r str> {
    let found = row.iter().find(|(found, _)| *found == name);
    found
        .map(|(_, text)| *text)
        .with_context(|| format!("no column {name}"))
}

/// A field's integer; none where the row has no value.
fn number(row: &[(&str, &str)], name: &str) -> Result<Option<i64>> {
    match field(row, name)? {
        "" | "NA" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .with_context(|| format!("{name} is {text:?}")),
    }
}

fn quoted(text: &str) -> Result<String> {
    let plain = text
        .chars()
        .all(|c| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ');
    ensure!(
        plain,
        "{text:?} would need JSON's escapes, which this file has no need of"
    );
    Ok(format!("\"{text}\""))
}

/// `2013-01-01T10:00:00Z` in milliseconds since 1970, by counting days.
fn milliseconds(text: &str) -> Result<i64> {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    ensure!(
        shape == "0000-00-00T00:00:00Z",
        "{text:?} is not a time in UTC"
    );
    let number = |from: usize, to: usize| text[from..to].parse::<i64>();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut days = day - 1;
    for year in 1970..year {
        days += if is_leap(year) { 366 } else { 365 };
    }
    for month in 1..month {
        days += match month {
            4 | 6 | 9 | 11 => 30,
            2 if is_leap(year) => 29,
            2 => 28,
            _ => 31,
        };
    }
    let seconds = days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    Ok(seconds * 1_000)
}

#[cfg(test)]
mod tests;
