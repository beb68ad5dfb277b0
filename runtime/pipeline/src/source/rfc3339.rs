//! Moments as RFC 3339 text.

/// Epoch milliseconds of an RFC 3339 moment (`2013-01-01T10:00:00Z`, `…+02:00`, with or without a
/// fraction; a blank may stand for the `T`). `None` when it is none. Fractions are cut off at
/// milliseconds; a leap second counts as the first of the next minute.
pub fn rfc3339_to_epoch_ms(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then_some(())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|b| wanted.contains(b));
    let punctuated = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    punctuated.then_some(())?;
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_bounds = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60;
    in_bounds.then_some(())?;

    let mut at = 19;
    let mut millis = 0;
    if is(at, b".") {
        let from = at + 1;
        at = from;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > from).then_some(())?;
        let kept = (at - from).min(3);
        millis = number(from, from + kept)? * [1000, 100, 10, 1][kept];
    }
    let offset_minutes = match bytes.get(at)? {
        b'Z' | b'z' => {
            at += 1;
            0
        }
        sign @ (b'+' | b'-') => {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            (is(at + 3, b":") && hours <= 23 && minutes <= 59).then_some(())?;
            at += 6;
            let minutes = hours * 60 + minutes;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    (at == bytes.len()).then_some(())?;
    let minutes = (days_from_epoch(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * 1000 + millis)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days between 1970-01-01 and a date of the Gregorian calendar.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_become_epoch_milliseconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2013-01-01T10:00:00Z", 1_357_034_400_000),
            ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("2024-12-31T23:59:60Z", 1_735_689_600_000),
            ("1969-12-31T23:59:59.5Z", -500),
            ("2013-01-01 12:00:00.1234+02:00", 1_357_034_400_123),
            ("2013-01-01t05:00:00-05:00", 1_357_034_400_000),
        ] {
            assert_eq!(rfc3339_to_epoch_ms(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "NA",
            "2013-01-01",
            "2013-01-01T10:00:00",
            "2013-02-29T10:00:00Z",
            "2013-13-01T10:00:00Z",
            "2013-01-01T24:00:00Z",
            "2013-01-01T10:00:00.Z",
            "2013-01-01T10:00:00Zjunk",
            "2013-01-01T10:00:00+0200",
            "20é3-01-01T10:00:00Z",
        ] {
            assert_eq!(rfc3339_to_epoch_ms(text), None, "{text}");
        }
    }
}
