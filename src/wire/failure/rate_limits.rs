//! Parses the response headers that report what remains of the provider's own limits.
//!
//! The headers of each vendor, from its documentation or from recorded responses:
//!
//! - OpenAI, Azure, Groq, xAI: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; xAI has no reset,
//!   Azure sometimes `x-ratelimit-renewalperiod-…`. <https://platform.openai.com/docs/guides/rate-limits>
//! - Anthropic: `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`,
//!   the reset as a point in time. <https://platform.claude.com/docs/en/api/rate-limits>
//! - Mistral: `x-ratelimit-{limit,remaining}-{req,tokens}-{10-second,minute,month}`, without a reset.
//! - Together: `x-ratelimit-{limit,remaining,reset}`; Replicate: `ratelimit-{remaining,reset}`.

use std::time::Duration;

use super::retry_after;

/// The reset of a limit without such a header: most limits are per minute.
const MINUTE: Duration = Duration::from_secs(60);
/// The longest time for which a header's limit counts against a key.
const MAX_RESET: Duration = Duration::from_secs(3600);

/// The remaining quota, as far as the headers report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Requests.
    pub requests: Option<RemainingLimit>,
    /// Input tokens, or input and output tokens together.
    pub tokens: Option<RemainingLimit>,
    /// Output tokens.
    pub output: Option<RemainingLimit>,
}

/// What remains of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemainingLimit {
    /// Remaining requests or tokens.
    pub remaining: u64,
    /// The limit itself.
    pub limit: Option<u64>,
    /// Time until the limit resets, one hour at most.
    pub reset: Duration,
}

/// Parses the headers of a response, whose names must be in lower case. Returns `None` if no header reports a
/// remaining quota. A limit with a malformed or negative number, or with a reset in the past, is ignored.
/// Points in time are compared with the response's own date, or with `now`, a Unix time in seconds, if there
/// is none.
pub fn read<'h>(headers: impl Iterator<Item = (&'h str, &'h [u8])>, now: u64) -> Option<Quota> {
    let mut rows: Vec<Row<'h>> = Vec::new();
    let mut date = None;
    for (name, value) in headers {
        if name == "date" {
            date = Some(value);
            continue;
        }
        let Some((subject, field)) = parts(name) else { continue };
        let Ok(value) = str::from_utf8(value) else { continue };
        if kind(subject).is_none() {
            continue;
        }
        let at = rows.iter().position(|row| row.subject == subject).unwrap_or_else(|| {
            rows.push(Row { subject, remaining: None, limit: None, reset: None, period: None });
            rows.len() - 1
        });
        let row = &mut rows[at];
        match field {
            Field::Remaining => row.remaining = value.trim().parse().ok(),
            Field::Limit => row.limit = value.trim().parse().ok(),
            Field::Reset => row.reset = Some(value),
            Field::Period => row.period = Some(value),
        }
    }
    let clock = || {
        let date = date.and_then(|date| retry_after::http_date(str::from_utf8(date).ok()?));
        date.or(i64::try_from(now).ok())
    };
    let mut quota = Quota::default();
    for row in rows {
        let (Some(remaining), Some(reset)) = (row.remaining, row.reset(clock)) else { continue };
        let slot = match kind(row.subject) {
            Some(Kind::Requests) => &mut quota.requests,
            Some(Kind::Tokens) => &mut quota.tokens,
            Some(Kind::Output) => &mut quota.output,
            None => continue,
        };
        let left = RemainingLimit { remaining, limit: row.limit, reset };
        // Of several limits of a kind, the one that is exhausted first counts.
        let tighter =
            |other: &RemainingLimit| (left.remaining, other.reset) < (other.remaining, left.reset);
        if slot.as_ref().is_none_or(tighter) {
            *slot = Some(left);
        }
    }
    (quota != Quota::default()).then_some(quota)
}

/// The headers of one limit.
struct Row<'h> {
    subject: &'h str,
    remaining: Option<u64>,
    limit: Option<u64>,
    reset: Option<&'h str>,
    period: Option<&'h str>,
}

enum Field {
    Remaining,
    Limit,
    Reset,
    Period,
}

enum Kind {
    Requests,
    Tokens,
    Output,
}

/// Splits a header's name into the subject of the limit and the field.
fn parts(name: &str) -> Option<(&str, Field)> {
    if let Some(rest) = name.strip_prefix("anthropic-ratelimit-") {
        let (subject, field) = rest.rsplit_once('-')?;
        return Some((subject, self::field(field)?));
    }
    let rest = name.strip_prefix("x-ratelimit-").or_else(|| name.strip_prefix("ratelimit-"))?;
    let (field, subject) = rest.split_once('-').unwrap_or((rest, ""));
    Some((subject, self::field(field)?))
}

fn field(name: &str) -> Option<Field> {
    match name {
        "remaining" => Some(Field::Remaining),
        "limit" => Some(Field::Limit),
        "reset" => Some(Field::Reset),
        "renewalperiod" => Some(Field::Period),
        _ => None,
    }
}

fn kind(subject: &str) -> Option<Kind> {
    match subject {
        "" | "requests" | "req-minute" | "req-10-second" | "req-second" => Some(Kind::Requests),
        "tokens" | "input-tokens" | "tokens-minute" | "tokens-month" => Some(Kind::Tokens),
        "output-tokens" => Some(Kind::Output),
        _ => None,
    }
}

impl Row<'_> {
    /// Returns the time until the limit resets; `None` if the header is malformed or in the past.
    fn reset(&self, clock: impl Fn() -> Option<i64>) -> Option<Duration> {
        let period =
            || self.period.and_then(|period| retry_after::time_until_reset(period, || None));
        match self.reset {
            Some(reset) => retry_after::time_until_reset(reset, clock),
            None => period().or(Some(match self.subject {
                "req-second" => Duration::from_secs(1),
                "req-10-second" => Duration::from_secs(10),
                "tokens-month" => MAX_RESET,
                _ => MINUTE,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(headers: &[(&'static str, &'static str)]) -> Option<Quota> {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        // 2024-02-28T23:59:00Z
        read(headers, 1_709_164_740)
    }

    fn left(remaining: u64, limit: u64, millis: u64) -> RemainingLimit {
        RemainingLimit { remaining, limit: Some(limit), reset: Duration::from_millis(millis) }
    }

    #[test]
    fn openai_reports_the_time_until_the_reset() {
        let quota = parse(&[
            ("content-type", "application/json"),
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-limit-tokens", "200000"),
            ("x-ratelimit-limit-input-images", "50000"),
            ("x-ratelimit-remaining-requests", "499"),
            ("x-ratelimit-remaining-tokens", "199227"),
            ("x-ratelimit-remaining-input-images", "0"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ]);
        let quota = quota.expect("a quota");
        assert_eq!(quota.requests, Some(left(499, 500, 120)));
        assert_eq!(quota.tokens, Some(left(199_227, 200_000, 360_000)));
        assert_eq!(quota.output, None);
    }

    #[test]
    fn anthropic_reports_when_it_resets_and_the_tightest_limit_counts() {
        let quota = parse(&[
            ("date", "Wed, 28 Feb 2024 23:59:30 GMT"),
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2024-02-29T00:00:15Z"),
            ("anthropic-ratelimit-tokens-limit", "100"),
            ("anthropic-ratelimit-tokens-remaining", "90"),
            ("anthropic-ratelimit-tokens-reset", "2024-02-29T00:00:15Z"),
            ("anthropic-ratelimit-input-tokens-limit", "80"),
            ("anthropic-ratelimit-input-tokens-remaining", "10"),
            ("anthropic-ratelimit-input-tokens-reset", "2024-02-29T00:00:00Z"),
            ("anthropic-ratelimit-output-tokens-limit", "20"),
            ("anthropic-ratelimit-output-tokens-remaining", "3"),
            ("anthropic-ratelimit-output-tokens-reset", "2024-02-28T00:00:00Z"),
        ]);
        let quota = quota.expect("a quota");
        assert_eq!(quota.requests, Some(left(0, 50, 45_000)));
        assert_eq!(quota.tokens, Some(left(10, 80, 30_000)));
        assert_eq!(quota.output, None, "the reset is in the past");
    }

    #[test]
    fn without_a_date_the_clock_counts() {
        let quota = parse(&[
            ("anthropic-ratelimit-tokens-remaining", "0"),
            ("anthropic-ratelimit-tokens-reset", "2024-02-28T23:59:20Z"),
        ]);
        let left = RemainingLimit { remaining: 0, limit: None, reset: Duration::from_secs(20) };
        assert_eq!(quota.expect("a quota").tokens, Some(left));
    }

    #[test]
    fn headers_of_other_vendors_are_parsed() {
        let mistral = parse(&[
            ("x-ratelimit-limit-req-10-second", "60"),
            ("x-ratelimit-remaining-req-10-second", "50"),
            ("x-ratelimit-limit-tokens-month", "1000"),
            ("x-ratelimit-remaining-tokens-month", "900"),
            ("x-ratelimit-limit-tokens-minute", "100"),
            ("x-ratelimit-remaining-tokens-minute", "97"),
            ("x-ratelimit-tokens-query-cost", "10"),
        ]);
        let mistral = mistral.expect("a quota");
        assert_eq!(mistral.requests, Some(left(50, 60, 10_000)));
        assert_eq!(mistral.tokens, Some(left(97, 100, 60_000)));
        let together = parse(&[
            ("x-ratelimit-limit", "2"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1"),
        ]);
        assert_eq!(together.expect("a quota").requests, Some(left(0, 2, 1000)));
        let replicate = parse(&[("ratelimit-remaining", "59999"), ("ratelimit-reset", "1")]);
        assert_eq!(replicate.expect("a quota").requests.map(|left| left.remaining), Some(59_999));
        let azure = parse(&[
            ("x-ratelimit-remaining-tokens", "7"),
            ("x-ratelimit-renewalperiod-tokens", "30"),
        ]);
        assert_eq!(azure.expect("a quota").tokens.map(|left| left.reset.as_secs()), Some(30));
    }

    #[test]
    fn malformed_values_are_ignored() {
        for bad in ["-1", "NaN", "1.5", "", "many", "1e9", "18446744073709551616"] {
            assert_eq!(parse(&[("x-ratelimit-remaining-requests", bad)]), None, "{bad}");
        }
        for bad in ["-1s", "soon", "1e308", "NaN", "", "0s"] {
            let reset = ("x-ratelimit-reset-requests", bad);
            assert_eq!(parse(&[("x-ratelimit-remaining-requests", "0"), reset]), None, "{bad}");
        }
        let long = parse(&[
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "30d"),
        ]);
        assert_eq!(long.expect("a quota").requests.map(|left| left.reset), Some(MAX_RESET));
        assert_eq!(parse(&[("x-ratelimit-reset-requests", "3s"), ("date", "x")]), None);
    }
}
