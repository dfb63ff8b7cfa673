//! Times, durations and amounts in the words of people.

use std::time::Duration;

/// A duration in two units at most: `850ms`, `12.3s`, `4m05s`, `2h03m`, `5d04h`.
///
/// To the nearest millisecond first, as summaries keep it: one figure has one value wherever it is shown.
pub(crate) fn duration(duration: Duration) -> String {
    let duration = to_millis(duration);
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn to_millis(duration: Duration) -> Duration {
    let millis = (duration + Duration::from_micros(500)).as_millis();
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// A duration that ticks: whole seconds, so that it does not flicker.
pub(crate) fn ticking(elapsed: Duration) -> String {
    if elapsed.as_secs() == 0 {
        "0s".to_owned()
    } else {
        duration(Duration::from_secs(elapsed.as_secs())).replace(".0s", "s")
    }
}

/// An amount of bytes with a binary unit: `512 B`, `3.4 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1023.95 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (millis, shown) in [
            (0, "0ms"),
            (850, "850ms"),
            (12_340, "12.3s"),
            (245_000, "4m05s"),
            (7_380_000, "2h03m"),
            (446_400_000, "5d04h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), shown);
        }
        assert_eq!(duration(Duration::from_micros(5_500)), "6ms");
        assert_eq!(duration(Duration::from_secs_f64(0.006)), "6ms");
        assert_eq!(duration(Duration::from_micros(999_700)), "1.0s");
        assert_eq!(ticking(Duration::from_millis(900)), "0s");
        assert_eq!(ticking(Duration::from_millis(12_900)), "12s");
    }

    #[test]
    fn amounts_keep_their_width() {
        for (amount, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (3_565_158, "3.4 MiB"),
            (1 << 30, "1.0 GiB"),
            (1_048_575, "1.0 MiB"),
        ] {
            assert_eq!(bytes(amount), shown);
        }
    }
}
