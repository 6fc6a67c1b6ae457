//! Numbers, ids and times as a person reads them.

use std::time::Duration;

/// As much of an id as a table shows: any unique prefix is taken where an id is asked for.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A digest short enough for a table, without the name of its algorithm.
pub(crate) fn short_digest(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    short_id(hex)
}

/// A span of time in its one or two largest units: `4s`, `3m 20s`, `2h 5m`, `6d 1h`.
pub(crate) fn span(duration: Duration) -> String {
    let s = duration.as_secs();
    let (days, hours, minutes, seconds) = (s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60);
    let two = |a: u64, au: &str, b: u64, bu: &str| match b {
        0 => format!("{a}{au}"),
        _ => format!("{a}{au} {b}{bu}"),
    };
    match () {
        () if days >= 14 => format!("{days}d"),
        () if days > 0 => two(days, "d", hours, "h"),
        () if hours > 0 => two(hours, "h", minutes, "m"),
        () if minutes > 0 => two(minutes, "m", seconds, "s"),
        () => format!("{seconds}s"),
    }
}

/// How long ago `then` was at `now`, both in milliseconds since the epoch: `4s ago`. A clock that was set back gives
/// `just now`.
pub(crate) fn ago(then_ms: u64, now_ms: u64) -> String {
    match now_ms.checked_sub(then_ms) {
        Some(ms) if ms >= 1_000 => format!("{} ago", span(Duration::from_millis(ms))),
        _ => "just now".to_owned(),
    }
}

/// Bytes in the largest binary unit that leaves a number of at least one: `512 B`, `4.2 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    // 1023.95 would be printed as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match (unit, value.fract() == 0.0) {
        (0, _) | (_, true) => format!("{value:.0} {}", UNITS[unit]),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// `n` things, with the plural where it is due.
pub(crate) fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// Milliseconds since the epoch, now.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// A moment in RFC 3339, UTC, to the millisecond.
pub(crate) fn timestamp(ms: u64) -> String {
    match i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
        Some(t) => format!("{t:.3}"),
        None => ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_shows_its_two_largest_units() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (200, "3m 20s"),
            (7_500, "2h 5m"),
            (522_000, "6d 1h"),
            (9_000_000, "104d"),
        ];
        for (s, text) in cases {
            assert_eq!(span(Duration::from_secs(s)), text);
        }
    }

    #[test]
    fn a_clock_that_was_set_back_gives_no_age() {
        assert_eq!(ago(5_000, 1_000), "just now");
        assert_eq!(ago(1_000, 5_000), "4s ago");
    }

    #[test]
    fn bytes_never_show_a_thousand_and_twenty_four_of_a_unit() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1_048_575, "1 MiB"),
            (4_404_019, "4.2 MiB"),
            (64 << 20, "64 MiB"),
            (u64::MAX, "16777216 TiB"),
        ];
        for (n, text) in cases {
            assert_eq!(bytes(n).replace(".0", ""), text);
        }
    }

    #[test]
    fn short_ids_are_prefixes_that_can_be_copied() {
        assert_eq!(short_id("0af3"), "0af3");
        assert_eq!(short_id("0123456789abcdef"), "0123456789ab");
        assert_eq!(short_digest("sha256:0123456789abcdef"), "0123456789ab");
    }

    #[test]
    fn a_moment_is_written_in_utc() {
        assert_eq!(timestamp(1_500), "1970-01-01T00:00:01.500Z");
    }
}
