//! How long a provider asks to wait.

use std::time::Duration;

/// Longer than this no key rests on a provider's word.
const LONGEST: Duration = Duration::from_secs(3600);

/// A wait beyond a year is not one.
const ABSURD_SECONDS: f64 = 366.0 * 86_400.0;

/// Limits whose state is told in headers, by the header of what remains and that of when there is more.
/// The second is there also while much remains, and then says nothing of a wait.
/// <https://platform.openai.com/docs/guides/rate-limits>, <https://platform.claude.com/docs/en/api/rate-limits>
const LIMITS: [(&str, &str); 6] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
];

/// The first header that holds a wait: the exact ones first. What is negative, zero, no number, past or
/// absurd counts as not said.
pub(crate) fn retry_after<'h>(header: &dyn Fn(&str) -> Option<&'h str>) -> Option<Duration> {
    let millis = |name| header(name).and_then(number).map(|millis| millis / 1000.0);
    let after = || header("retry-after");
    millis("retry-after-ms")
        .and_then(wait)
        .or_else(|| millis("x-ms-retry-after-ms").and_then(wait))
        .or_else(|| after().and_then(number).and_then(wait))
        .or_else(|| {
            // The answer's own date stands for the provider's clock.
            let (until, now) = (http_date(after()?)?, http_date(header("date")?)?);
            wait(f64::from(i32::try_from(until - now).ok()?))
        })
        .or_else(|| LIMITS.iter().filter_map(|limit| exhausted(*limit, header)).max())
}

/// How long until there is more of what is used up.
fn exhausted<'h>(
    (remaining, reset): (&str, &str),
    header: &dyn Fn(&str) -> Option<&'h str>,
) -> Option<Duration> {
    if header(remaining)?.trim().parse::<u64>().ok()? > 0 {
        return None;
    }
    until(header(reset)?, || http_date(header("date")?))
}

/// How long until a reset: a span, or a time that is taken against the given clock. A wait as [`wait`] has
/// it.
pub(crate) fn until(reset: &str, clock: impl Fn() -> Option<i64>) -> Option<Duration> {
    if let Some(until) = timestamp(reset) {
        return wait(f64::from(i32::try_from(until - clock()?).ok()?));
    }
    wait(span(reset)?)
}

/// Seconds of a span such as `6m0s`, `1.5s`, `120ms` or `1h2m3s`; a bare number is seconds.
fn span(text: &str) -> Option<f64> {
    if let Some(seconds) = number(text) {
        return Some(seconds);
    }
    let (mut rest, mut seconds) = (text.trim(), 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let unit = &unit[..unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len())];
        seconds += value
            * match unit {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = &rest[digits + unit.len()..];
    }
    Some(seconds)
}

/// So many seconds, if they are a wait.
pub(crate) fn wait(seconds: f64) -> Option<Duration> {
    (seconds > 0.0 && seconds < ABSURD_SECONDS)
        .then(|| Duration::from_secs_f64(seconds).min(LONGEST))
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7; the obsolete forms
/// are not read).
pub(crate) fn http_date(text: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.trim().strip_suffix(" GMT")?.split_once(", ")?.1.split([' ', ':']);
    let mut next = || words.next();
    let day: i64 = next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = next().filter(|name| name.len() == 3).and_then(|name| MONTHS.find(name))?;
    let month = i64::try_from(month / 3).ok()? + 1;
    let mut numeral = |most: i64| next()?.parse().ok().filter(|n| (0..=most).contains(n));
    let (year, hour, minute, second) = (numeral(9999)?, numeral(23)?, numeral(59)?, numeral(60)?);
    Some(seconds(year, month, day, [hour, minute, second]))
}

/// Seconds since 1970 of `2026-01-31T08:49:37Z` (RFC 3339, in UTC; parts of a second are left out).
fn timestamp(text: &str) -> Option<i64> {
    let mut words = text.trim().strip_suffix('Z')?.split(['-', 'T', ':', '.']);
    let mut numeral =
        |least: i64, most: i64| words.next()?.parse().ok().filter(|n| (least..=most).contains(n));
    let (year, month, day) = (numeral(0, 9999)?, numeral(1, 12)?, numeral(1, 31)?);
    Some(seconds(year, month, day, [numeral(0, 23)?, numeral(0, 59)?, numeral(0, 60)?]))
}

fn seconds(year: i64, month: i64, day: i64, [hour, minute, second]: [i64; 3]) -> i64 {
    // Days of the civil calendar, with years that begin in March so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468;
    ((days * 24 + hour) * 60 + minute) * 60 + second
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(headers: &[(&str, &'static str)]) -> Option<f64> {
        retry_after(&|name| headers.iter().find(|(own, _)| *own == name).map(|(_, value)| *value))
            .map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn waits_are_read_from_each_header() {
        assert_eq!(hint(&[("retry-after", "20")]), Some(20.0));
        assert_eq!(hint(&[("retry-after", " 0.5 ")]), Some(0.5));
        assert_eq!(hint(&[("retry-after-ms", "1500")]), Some(1.5));
        assert_eq!(hint(&[("x-ms-retry-after-ms", "250")]), Some(0.25));
        assert_eq!(hint(&[("retry-after", "2"), ("retry-after-ms", "1200")]), Some(1.2));
        assert_eq!(hint(&[("retry-after", "1"), ("retry-after-ms", "0")]), Some(1.0));
        assert_eq!(hint(&[]), None);
    }

    #[test]
    fn a_wait_is_an_hour_at_most() {
        assert_eq!(hint(&[("retry-after", "86400")]), Some(3600.0));
    }

    #[test]
    fn bad_values_count_as_not_said() {
        for bad in ["-1", "0", "NaN", "inf", "-inf", "1e308", "1e400", "soon", "", "0x10"] {
            assert_eq!(hint(&[("retry-after", bad)]), None, "{bad}");
            assert_eq!(hint(&[("retry-after-ms", bad)]), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_taken_against_the_answers_own_date() {
        let date = ("date", "Wed, 28 Feb 2024 23:59:30 GMT");
        assert_eq!(hint(&[("retry-after", "Thu, 29 Feb 2024 00:00:15 GMT"), date]), Some(45.0));
        assert_eq!(hint(&[("retry-after", "Wed, 28 Feb 2024 23:59:00 GMT"), date]), None);
        assert_eq!(hint(&[("retry-after", "Thu, 29 Feb 2024 00:00:15 GMT")]), None);
        assert_eq!(hint(&[("retry-after", "Thu, 99 Foo 2024 00:00:15 GMT"), date]), None);
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
    }

    #[test]
    fn a_limit_that_is_used_up_says_when_there_is_more() {
        let (requests, none) = ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests");
        for (reset, seconds) in
            [("6m0s", 360.0), ("1.5s", 1.5), ("120ms", 0.12), ("1h2m3s", 3600.0), ("17", 17.0)]
        {
            assert_eq!(hint(&[(none, "0"), (requests, reset)]), Some(seconds), "{reset}");
            assert_eq!(hint(&[(none, "12"), (requests, reset)]), None, "there is more of it");
            assert_eq!(hint(&[(requests, reset)]), None);
        }
        for bad in ["-1s", "soon", "5x", "s", "", "1e308s", "0s", "6m-1s", "\u{661}s"] {
            assert_eq!(hint(&[(none, "0"), (requests, bad)]), None, "{bad}");
        }
        let tokens = ("x-ratelimit-reset-tokens", "9s");
        let both = [(none, "0"), (requests, "2s"), ("x-ratelimit-remaining-tokens", "0"), tokens];
        assert_eq!(hint(&both), Some(9.0), "the later of the two");
        assert_eq!(hint(&[("retry-after", "3"), (none, "0"), (requests, "6m0s")]), Some(3.0));
    }

    #[test]
    fn a_limit_s_timestamp_is_taken_against_the_answers_own_date() {
        let left = ("anthropic-ratelimit-input-tokens-remaining", "0");
        let date = ("date", "Wed, 28 Feb 2024 23:59:30 GMT");
        let at = |reset| ("anthropic-ratelimit-input-tokens-reset", reset);
        assert_eq!(hint(&[left, at("2024-02-29T00:00:15Z"), date]), Some(45.0));
        assert_eq!(hint(&[left, at("2024-02-29T00:00:15.250Z"), date]), Some(45.0));
        assert_eq!(hint(&[left, at("2024-02-28T23:59:00Z"), date]), None, "past");
        assert_eq!(hint(&[left, at("2024-13-29T00:00:15Z"), date]), None);
        assert_eq!(hint(&[left, at("2024-02-29T00:00:15Z")]), None, "no date to take it against");
    }
}
