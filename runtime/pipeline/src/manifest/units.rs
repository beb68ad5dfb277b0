//! Durations and sizes as text with a unit: `10ms`, `1.5s`, `64MiB`.

use std::time::Duration;

const DURATION_UNITS: [(&str, f64); 6] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

pub const DURATION_HELP: &str =
    "a number with `ns`, `us`, `ms`, `s`, `m` or `h`, for example \"10ms\"";
pub const SIZE_HELP: &str =
    "a number with `B`, `KB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`, for example \"64MiB\"";

/// Parses a duration of at most 100 days.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let (_, seconds) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
    let seconds = number * seconds;
    (seconds <= 8_640_000.0).then(|| Duration::from_secs_f64(seconds))
}

/// Parses a size in bytes, at most 1 PB.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    let bytes = number * *bytes as f64;
    (bytes <= 1e15).then_some(bytes as u64)
}

fn split(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_unit_they_know() {
        assert_eq!(duration("10ms"), Some(Duration::from_millis(10)));
        assert_eq!(duration("1.5 s"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("2h"), Some(Duration::from_secs(7200)));
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("0.5KiB"), Some(512));
        for wrong in ["", "10", "ms", "10 parsecs", "-1s", "1e3s", "9999999999h"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        for wrong in ["64", "64mib", "-1B", "9999999999999GiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
