//! What went wrong with an attempt, and therefore what to do next.

mod hint;
mod words;

use std::time::Duration;

use words::Words;

/// Classes of failure. The class decides what cools and whether another key is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request itself is at fault: no other key would do better.
    Caller,
    /// The prompt does not fit the model.
    ContextTooLong,
    /// The provider does not accept the key.
    BadCredential,
    /// The key may not use this model, or the provider does not have it.
    NoAccess,
    /// The account behind the key has no credit or quota left.
    NoCredit,
    /// Too many requests on this key for now.
    Throttled,
    /// The provider failed: 5xx, reset, timeout, or a cut before the first event.
    Trouble,
}

impl Class {
    /// The class as metrics and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Class::Caller => "caller",
            Class::ContextTooLong => "context_too_long",
            Class::BadCredential => "bad_credential",
            Class::NoAccess => "no_access",
            Class::NoCredit => "no_credit",
            Class::Throttled => "throttled",
            Class::Trouble => "trouble",
        }
    }

    /// Whether another key of the same provider may succeed where this one failed.
    pub fn another_key_may_help(self) -> bool {
        !matches!(self, Class::Caller | Class::ContextTooLong)
    }
}

/// A failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose fault it is.
    pub class: Class,
    /// How long the provider asks to wait, when it says so.
    pub retry_after: Option<Duration>,
}

/// How much of an error body is looked at.
const LOOKED_AT: usize = 64 * 1024;

/// Says what an error answer in OpenAI's manner means. `header` gives an answer header's value by its
/// lower-case name.
///
/// Status, code and message are read together, because each alone misleads: an empty account is a 429
/// at OpenAI, a wrong key a 400 at xAI.
pub fn classify<'h>(status: u16, body: &[u8], header: &dyn Fn(&str) -> Option<&'h str>) -> Failure {
    let words = Words::of_body(&body[..body.len().min(LOOKED_AT)]);
    Failure { class: class(status, &words), retry_after: hint::retry_after(header) }
}

/// Says what an error that came within a stream means: the `error` value of its event.
pub(super) fn classify_in_stream(error: &[u8]) -> Failure {
    let words = Words::of_body(&error[..error.len().min(LOOKED_AT)]);
    Failure { class: class(words.status(), &words), retry_after: None }
}

/// The table. Rows are asked in order: what the provider says in words comes before its status.
#[expect(clippy::match_same_arms, reason = "the rows are asked in order")]
fn class(status: u16, words: &Words) -> Class {
    match status {
        402 => Class::NoCredit,
        400..=499 if words.no_credit() => Class::NoCredit,
        400 | 413 | 422 | 500 if words.too_long() => Class::ContextTooLong,
        401 => Class::BadCredential,
        400 | 403 | 422 if words.bad_credential() => Class::BadCredential,
        403 if words.content_policy() => Class::Caller,
        400 | 403 | 404 | 410 | 422 if words.no_such_model(status) => Class::NoAccess,
        403 => Class::BadCredential,
        // 498: Groq's "flex tier capacity exceeded". A 413 with the code of a rate limit is one request
        // over the tokens that this account may use in a minute.
        429 | 498 => Class::Throttled,
        413 if words.rate_limit() => Class::Throttled,
        // What the official clients try again by themselves: timeout, conflict of two requests, too early.
        408 | 409 | 425 => Class::Trouble,
        400..=499 => Class::Caller,
        _ => Class::Trouble,
    }
}
