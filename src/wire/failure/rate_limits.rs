//! What an answer's headers say is left of the provider's own limits.
//!
//! A table over the vendors' ways to say it, each taken from its documentation or from recorded answers:
//!
//! - OpenAI, Azure, Groq, xAI: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; xAI has no reset,
//!   Azure at times `x-ratelimit-renewalperiod-…`. <https://platform.openai.com/docs/guides/rate-limits>
//! - Anthropic: `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`,
//!   the reset as a time. <https://platform.claude.com/docs/en/api/rate-limits>
//! - Mistral: `x-ratelimit-{limit,remaining}-{req,tokens}-{10-second,minute,month}`, without a reset.
//! - Together: `x-ratelimit-{limit,remaining,reset}`; Replicate: `ratelimit-{remaining,reset}`.

use std::time::Duration;

use super::retry_after;

/// What is taken for the reset of an answer that has no such header: most limits are over a minute.
const MINUTE: Duration = Duration::from_secs(60);
/// No limit is held against a key for longer than this on a header's word.
const LONGEST: Duration = Duration::from_secs(3600);

/// What is left, as far as it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Requests.
    pub requests: Option<Left>,
    /// Tokens of prompts, or of prompts and answers together.
    pub tokens: Option<Left>,
    /// Tokens of answers.
    pub output: Option<Left>,
}

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// So much.
    pub remaining: u64,
    /// Of so much.
    pub limit: Option<u64>,
    /// Until there is more, an hour at most.
    pub reset: Duration,
}

/// Reads the headers of an answer, their names in lower case. `None`: none says what is left. Of a limit
/// with a value that is no number, negative, or a time that is past, nothing is taken. Times are taken
/// against the answer's own date, or else against `now`, a Unix time in seconds.
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
        let left = Left { remaining, limit: row.limit, reset };
        // Of several limits of a kind, the one that is used up first.
        let tighter = |own: &Left| (left.remaining, own.reset) < (own.remaining, left.reset);
        if slot.as_ref().is_none_or(tighter) {
            *slot = Some(left);
        }
    }
    (quota != Quota::default()).then_some(quota)
}

/// One limit as the headers have it.
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

/// What a header is about, and what it says of it.
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
    /// `None`: it was told, and is no time to come.
    fn reset(&self, clock: impl Fn() -> Option<i64>) -> Option<Duration> {
        let period = || self.period.and_then(|period| retry_after::until(period, || None));
        match self.reset {
            Some(reset) => retry_after::until(reset, clock),
            None => period().or(Some(match self.subject {
                "req-second" => Duration::from_secs(1),
                "req-10-second" => Duration::from_secs(10),
                "tokens-month" => LONGEST,
                _ => MINUTE,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(headers: &[(&'static str, &'static str)]) -> Option<Quota> {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        // 2024-02-28T23:59:00Z
        read(headers, 1_709_164_740)
    }

    fn left(remaining: u64, limit: u64, millis: u64) -> Left {
        Left { remaining, limit: Some(limit), reset: Duration::from_millis(millis) }
    }

    #[test]
    fn openai_says_how_long_until_all_is_there_again() {
        let told = quota(&[
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
        let told = told.expect("a quota");
        assert_eq!(told.requests, Some(left(499, 500, 120)));
        assert_eq!(told.tokens, Some(left(199_227, 200_000, 360_000)));
        assert_eq!(told.output, None);
    }

    #[test]
    fn anthropic_says_when_and_the_tightest_of_its_limits_counts() {
        let told = quota(&[
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
        let told = told.expect("a quota");
        assert_eq!(told.requests, Some(left(0, 50, 45_000)));
        assert_eq!(told.tokens, Some(left(10, 80, 30_000)));
        assert_eq!(told.output, None, "it is past");
    }

    #[test]
    fn an_answer_without_a_date_is_taken_to_be_of_now() {
        let told = quota(&[
            ("anthropic-ratelimit-tokens-remaining", "0"),
            ("anthropic-ratelimit-tokens-reset", "2024-02-28T23:59:20Z"),
        ]);
        let left = Left { remaining: 0, limit: None, reset: Duration::from_secs(20) };
        assert_eq!(told.expect("a quota").tokens, Some(left));
    }

    #[test]
    fn others_have_ways_of_their_own() {
        let mistral = quota(&[
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
        let together = quota(&[
            ("x-ratelimit-limit", "2"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1"),
        ]);
        assert_eq!(together.expect("a quota").requests, Some(left(0, 2, 1000)));
        let replicate = quota(&[("ratelimit-remaining", "59999"), ("ratelimit-reset", "1")]);
        assert_eq!(replicate.expect("a quota").requests.map(|own| own.remaining), Some(59_999));
        let azure = quota(&[
            ("x-ratelimit-remaining-tokens", "7"),
            ("x-ratelimit-renewalperiod-tokens", "30"),
        ]);
        assert_eq!(azure.expect("a quota").tokens.map(|own| own.reset.as_secs()), Some(30));
    }

    #[test]
    fn bad_values_count_as_not_said() {
        for bad in ["-1", "NaN", "1.5", "", "many", "1e9", "18446744073709551616"] {
            assert_eq!(quota(&[("x-ratelimit-remaining-requests", bad)]), None, "{bad}");
        }
        for bad in ["-1s", "soon", "1e308", "NaN", "", "0s"] {
            let reset = ("x-ratelimit-reset-requests", bad);
            assert_eq!(quota(&[("x-ratelimit-remaining-requests", "0"), reset]), None, "{bad}");
        }
        let long = quota(&[
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "30d"),
        ]);
        assert_eq!(long.expect("a quota").requests.map(|own| own.reset), Some(LONGEST));
        assert_eq!(quota(&[("x-ratelimit-reset-requests", "3s"), ("date", "x")]), None);
    }
}
