//! Classes of failure.

use std::time::Duration;

/// Class of a failure. It decides what cools down and whether another key is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request itself is at fault: every other key would fail too.
    Caller,
    /// The prompt does not fit the model.
    ContextTooLong,
    /// The provider does not accept the key.
    BadCredential,
    /// The key may not use this model, or the provider does not have it.
    NoAccess,
    /// The key's account has no credit or quota left.
    NoCredit,
    /// Too many requests with this key at the moment.
    Throttled,
    /// The provider failed: 5xx, reset, timeout, or a stream that ended before its first event.
    Trouble,
}

impl Class {
    /// Returns the name in metrics and logs.
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

    /// Returns whether another key of the same provider may succeed.
    pub fn another_key_may_help(self) -> bool {
        !matches!(self, Class::Caller | Class::ContextTooLong)
    }
}

/// A failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it is.
    pub class: Class,
    /// How long to wait, if the provider sent it.
    pub retry_after: Option<Duration>,
}
