//! Durations and times as people type them.

use crate::ports::time::UnixTime;

/// Seconds in `90s`, `15m`, `24h`, `7d` or bare `900`.
///
/// # Errors
/// A sentence that says what is allowed.
pub(super) fn parse_duration(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    number
        .parse::<u64>()
        .ok()
        .zip(seconds)
        .and_then(|(number, seconds)| number.checked_mul(seconds))
        .filter(|seconds| i64::try_from(*seconds).is_ok())
        .ok_or_else(|| {
            "expected seconds, or a whole number and a unit: `90s`, `15m`, `24h` or `7d`".to_owned()
        })
}

/// A duration, or a word that clears the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DurationOr {
    /// This many seconds.
    Seconds(u64),
    /// The word was given.
    Cleared,
}

impl DurationOr {
    /// The seconds as the API has them; `None` clears the setting.
    pub(super) fn to_seconds(self) -> Option<i64> {
        match self {
            Self::Seconds(seconds) => i64::try_from(seconds).ok(),
            Self::Cleared => None,
        }
    }
}

/// A duration or `never`.
///
/// # Errors
/// A sentence that says what is allowed.
pub(super) fn parse_duration_or_never(text: &str) -> Result<DurationOr, String> {
    parse_duration_or("never", text)
}

/// A duration or `default`.
///
/// # Errors
/// A sentence that says what is allowed.
pub(super) fn parse_duration_or_default(text: &str) -> Result<DurationOr, String> {
    parse_duration_or("default", text)
}

fn parse_duration_or(word: &str, text: &str) -> Result<DurationOr, String> {
    if text == word {
        return Ok(DurationOr::Cleared);
    }
    let seconds = parse_duration(text).map_err(|problem| format!("{problem}; or `{word}`"))?;
    Ok(DurationOr::Seconds(seconds))
}

/// A point in time as typed, possibly relative to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instant {
    /// This many seconds before now.
    Ago(u64),
    /// That second.
    At(UnixTime),
}

impl Instant {
    /// The second meant, at `now`.
    pub(super) fn resolve(self, now: UnixTime) -> UnixTime {
        match self {
            Self::Ago(seconds) => now.plus(-i64::try_from(seconds).unwrap_or(i64::MAX)),
            Self::At(time) => time,
        }
    }
}

/// `24h` (that long ago), `2026-11-21`, `2026-11-21T09:30:00Z` or Unix seconds.
///
/// # Errors
/// A sentence that says what is allowed.
pub(super) fn parse_instant(text: &str) -> Result<Instant, String> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(Instant::At(UnixTime(seconds)));
    }
    if let Ok(seconds) = parse_duration(text) {
        return Ok(Instant::Ago(seconds));
    }
    calendar_time(text).map(Instant::At).ok_or_else(|| {
        "expected `2026-11-21`, `2026-11-21T09:30:00Z`, a duration before now such as `24h`, or Unix seconds".to_owned()
    })
}

/// `2026-11-21` (as it begins, in UTC), `2026-11-21T09:30:00Z` or Unix seconds: a time to come.
///
/// # Errors
/// A sentence that says what is allowed.
pub(super) fn parse_end(text: &str) -> Result<UnixTime, String> {
    let seconds = text.parse::<i64>().ok().map(UnixTime);
    seconds
        .or_else(|| calendar_time(text))
        .ok_or_else(|| "expected `2026-11-21`, `2026-11-21T09:30:00Z` or Unix seconds".to_owned())
}

fn calendar_time(text: &str) -> Option<UnixTime> {
    let midnight = format!("{text}T00:00:00Z");
    [text, &midnight]
        .into_iter()
        .find_map(|text| text.parse::<jiff::Timestamp>().ok())
        .map(|timestamp| UnixTime(timestamp.as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_a_duration_is_refused() {
        for text in [
            "",
            "s",
            "-1",
            "-1s",
            "+5s",
            "1.5h",
            "1 h",
            "1w",
            "5M",
            "1h30m",
            "h1",
            "never",
            "٣s",
            "1e3",
            "18446744073709551616",
            "9223372036854775807d",
            "9223372036854775808",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, seconds) in [
            ("0", 0),
            ("900", 900),
            ("90s", 90),
            ("15m", 900),
            ("24h", 86_400),
            ("7d", 604_800),
        ] {
            assert_eq!(parse_duration(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn a_word_clears_a_setting() {
        assert_eq!(parse_duration_or_never("never"), Ok(DurationOr::Cleared));
        assert_eq!(
            parse_duration_or_never("1h"),
            Ok(DurationOr::Seconds(3_600))
        );
        assert!(parse_duration_or_never("default").is_err());
        assert_eq!(
            parse_duration_or_default("default"),
            Ok(DurationOr::Cleared)
        );
    }

    #[test]
    fn a_time_is_a_date_an_instant_a_duration_ago_or_a_number() {
        let now = UnixTime(1_795_253_400);
        for (text, seconds) in [
            ("1h", 1_795_249_800),
            ("1795253400", 1_795_253_400),
            ("2026-11-21T09:30:00Z", 1_795_253_400),
            ("2026-11-21T10:30:00+01:00", 1_795_253_400),
            ("2026-11-21", 1_795_219_200),
        ] {
            let instant = parse_instant(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(instant.resolve(now), UnixTime(seconds), "{text}");
        }
        for text in ["", "yesterday", "21.11.2026", "2026-13-01"] {
            assert!(parse_instant(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn an_end_is_a_date_an_instant_or_a_number_and_no_duration() {
        assert_eq!(parse_end("2026-11-21"), Ok(UnixTime(1_795_219_200)));
        assert_eq!(
            parse_end("2026-11-21T09:30:00Z"),
            Ok(UnixTime(1_795_253_400))
        );
        assert_eq!(parse_end("1795253400"), Ok(UnixTime(1_795_253_400)));
        for text in ["", "24h", "never", "21.11.2026"] {
            assert!(parse_end(text).is_err(), "{text:?} was accepted");
        }
    }
}
