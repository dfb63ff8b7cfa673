//! Durations as plans write them: `500ms`, `25m`, `24h`, `30d`, `1h30m`.

use std::time::Duration;

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// What a duration looks like, for messages and schemas.
pub const EXAMPLES: &str = "`500ms`, `90s`, `25m`, `1h30m` or `30d`";
/// The same as a regular expression.
pub const PATTERN: &str = r"^(\d+(w|d|h|m|s|ms))+$";

/// Reads a duration: whole numbers with units, the larger unit first. `None` where it is not one.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut largest_left = 0;
    let mut milliseconds: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let at = UNITS.iter().position(|(unit, _)| *unit == &rest[..letters])?;
        if at < largest_left {
            return None;
        }
        largest_left = at + 1;
        milliseconds = milliseconds.checked_add(number.checked_mul(UNITS[at].1)?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then(|| Duration::from_millis(milliseconds))
}

/// Writes a duration as plans write it: `1h30m`. What is below a millisecond is dropped.
pub fn show(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    // As people say it: `30d`, not `4w2d`; `24h`, not `1d`.
    let days = if left >= 2 * UNITS[1].1 { 1 } else { 2 };
    for (unit, size) in &UNITS[days..] {
        if left >= *size {
            text.push_str(&(left / size).to_string());
            text.push_str(unit);
            left %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, seconds) in [
            ("25m", 1500),
            ("24h", 86400),
            ("1h30m", 5400),
            ("1w", 604_800),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("1s500ms"), Some(Duration::from_millis(1500)));
        for text in [
            "",
            "5",
            "m",
            "30m1h",
            "1h1h",
            "1.5h",
            "-5m",
            "5 m",
            "5M",
            "99999999999999999999s",
            "é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(milliseconds in 0u64..10_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&show(duration)), Some(duration));
        }

        #[test]
        fn nothing_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
