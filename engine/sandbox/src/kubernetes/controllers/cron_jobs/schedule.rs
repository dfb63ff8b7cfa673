//! When a CronJob runs: five fields, the names for them, or `@every` and a duration.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The fields with their least and greatest values.
const FIELDS: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// How many minutes into the past are looked at: a little more than a leap year.
const HORIZON: i64 = 367 * 24 * 60;

/// A schedule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Schedule {
    /// At fixed distances.
    Every(SignedDuration),
    /// At minutes that fit all five fields.
    Fields(Fields),
}

/// One bit for each value that fits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fields {
    sets: [u64; 5],
    /// Whether day of month and day of week both say something: then either is enough.
    either_day: bool,
    zone: TimeZone,
}

impl Schedule {
    /// Reads a schedule, for a time zone by name (empty for UTC). `None` where it is none.
    pub(super) fn parse(text: &str, zone: &str) -> Option<Self> {
        if let Some(distance) = text.strip_prefix("@every ") {
            let distance: SignedDuration = distance.trim().parse().ok()?;
            return (distance.as_secs() >= 1).then_some(Self::Every(distance));
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            fields => fields,
        };
        let words: Vec<_> = text.split_whitespace().collect();
        let mut sets = [0; 5];
        if words.len() != sets.len() {
            return None;
        }
        for (index, word) in words.iter().enumerate() {
            sets[index] = set(&word.to_lowercase(), index)?;
        }
        let says = |word: &str| !word.starts_with(['*', '?']);
        Some(Self::Fields(Fields {
            sets,
            either_day: says(words[2]) && says(words[4]),
            zone: if zone.is_empty() {
                TimeZone::UTC
            } else {
                TimeZone::get(zone).ok()?
            },
        }))
    }

    /// The last time after `since` and not after `now`.
    pub(super) fn last_between(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(distance) => {
                let times = (now.as_second() - since.as_second()) / distance.as_secs();
                let last = since.as_second() + times * distance.as_secs();
                (times > 0).then(|| Timestamp::from_second(last).ok()).flatten()
            }
            Self::Fields(fields) => {
                let minute = now.as_second().div_euclid(60);
                (minute - HORIZON..=minute)
                    .rev()
                    .map_while(|minute| Timestamp::from_second(minute * 60).ok())
                    .take_while(|at| *at > since)
                    .find(|at| fields.fit(at.to_zoned(fields.zone.clone()).datetime()))
            }
        }
    }
}

impl Fields {
    fn fit(&self, at: DateTime) -> bool {
        let has = |index: usize, value: i8| u32::try_from(value).is_ok_and(|value| self.sets[index] & 1 << value != 0);
        let (day, weekday) = (has(2, at.day()), has(4, at.weekday().to_sunday_zero_offset()));
        let fits = if self.either_day {
            day || weekday
        } else {
            day && weekday
        };
        fits && has(0, at.minute()) && has(1, at.hour()) && has(3, at.month())
    }
}

/// The values of a field such as `*/15`, `1-5`, `mon,wed`, `0-30/10`.
fn set(word: &str, index: usize) -> Option<u64> {
    word.split(',')
        .map(|part| range(part, index))
        .try_fold(0, |all, part| Some(all | part?))
}

fn range(part: &str, index: usize) -> Option<u64> {
    let (least, most) = FIELDS[index];
    let (values, step) = match part.split_once('/') {
        Some((values, step)) => (values, step.parse::<u32>().ok().filter(|step| *step > 0)?),
        None => (part, 1),
    };
    let (from, to) = match values.split_once('-') {
        _ if values == "*" || values == "?" => (least, most),
        Some((from, to)) => (value(from, index)?, value(to, index)?),
        // A single value with a step goes on to the greatest.
        None if part.contains('/') => (value(values, index)?, most),
        None => (value(values, index)?, value(values, index)?),
    };
    let good = least <= from && from <= to && to <= most;
    let step = usize::try_from(step).ok()?;
    good.then(|| (from..=to).step_by(step).fold(0, |all, value| all | 1 << value))
}

fn value(word: &str, index: usize) -> Option<u32> {
    let place = |names: &[&str]| names.iter().position(|name| *name == word);
    let named = match index {
        3 => place(&MONTHS).map(|place| place + 1),
        4 => place(&DAYS),
        _ => None,
    };
    named
        .and_then(|place| u32::try_from(place).ok())
        .or_else(|| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The last time in the year before the first of March 2026, a Sunday.
    fn last(schedule: &str, zone: &str) -> Option<String> {
        let schedule = Schedule::parse(schedule, zone)?;
        let now = at("2026-03-01T12:34:56Z");
        schedule
            .last_between(now - (365 * 24).hours(), now)
            .map(|at| at.to_string())
    }

    #[test]
    fn times_of_schedules() {
        for (schedule, zone, expected) in [
            ("* * * * *", "", "2026-03-01T12:34:00Z"),
            ("*/15 * * * *", "", "2026-03-01T12:30:00Z"),
            ("0 2 * * *", "", "2026-03-01T02:00:00Z"),
            ("0 2 * * *", "America/New_York", "2026-03-01T07:00:00Z"),
            ("0 2 * * MON-FRI", "", "2026-02-27T02:00:00Z"),
            ("5,35 0-6/2 * * *", "", "2026-03-01T06:35:00Z"),
            ("0 0 13 * 5", "", "2026-02-27T00:00:00Z"),
            ("0 0 31 dec *", "", "2025-12-31T00:00:00Z"),
            ("50/5 * * * *", "", "2026-03-01T11:55:00Z"),
            ("@hourly", "", "2026-03-01T12:00:00Z"),
            ("@weekly", "", "2026-03-01T00:00:00Z"),
            ("@every 90m", "", "2026-03-01T12:34:56Z"),
        ] {
            assert_eq!(last(schedule, zone).as_deref(), Some(expected), "{schedule} {zone}");
        }
        assert_eq!(last("0 0 30 2 *", ""), None);
    }

    #[test]
    fn what_is_no_schedule() {
        for schedule in [
            "",
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "@every 0s",
        ] {
            assert_eq!(Schedule::parse(schedule, ""), None, "{schedule}");
        }
        assert_eq!(Schedule::parse("* * * * *", "Nowhere/At_All"), None);
    }

    #[test]
    fn distances_count_from_the_last_time() {
        let every = Schedule::parse("@every 2s", "").unwrap();
        let since = at("2026-01-01T00:00:00Z");
        assert_eq!(every.last_between(since, at("2026-01-01T00:00:01Z")), None);
        assert_eq!(
            every.last_between(since, at("2026-01-01T00:00:05Z")),
            Some(at("2026-01-01T00:00:04Z"))
        );
    }
}
