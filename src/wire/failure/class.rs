//! What went wrong with an attempt, and therefore what to do next.

use std::time::Duration;

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
