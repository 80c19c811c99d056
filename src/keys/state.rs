//! The state of a key, or of a key with one model: usable or not, and if not, why and for how long.

use std::time::{Duration, Instant};

use crate::wire::failure::class::Class;

/// Tells whether a key, or a key with a model, can take a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Any number of requests may be sent.
    Available,
    /// The cooldown for this failure is over: one request may be sent as the probe.
    ProbeDue(Class),
    /// No request may be sent: `max_concurrent` requests are under way.
    Busy(LimitScope),
    /// No request may be sent: the probe is under way.
    Probing {
        /// The failure that caused the cooldown.
        class: Class,
        /// When the probe began.
        since: Instant,
    },
    /// No request may be sent yet.
    CoolingDown {
        /// The cause.
        reason: Reason,
        /// Time until the cooldown ends.
        remaining: Duration,
    },
}

/// The owner of a `max_concurrent` limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitScope {
    /// The key.
    Key,
    /// The provider of the key.
    Provider,
}

/// Why a key receives no traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A request failed.
    Failure(Class),
    /// The requests of the last minute have reached the key's `rpm`.
    RequestRate,
    /// The tokens of the last minute have reached the key's `tpm`.
    TokenRate,
    /// As many requests are under way as `max_concurrent` allows.
    Concurrency(LimitScope),
}

impl Reason {
    /// Returns the text that `/keys` and `explain` show.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Failure(class) => class.name(),
            Reason::RequestRate => "rpm limit reached",
            Reason::TokenRate => "tpm limit reached",
            Reason::Concurrency(LimitScope::Key) => "max_concurrent reached",
            Reason::Concurrency(LimitScope::Provider) => "max_concurrent of the provider reached",
        }
    }
}

impl KeyState {
    /// Returns true if a request may be sent now, as the probe or otherwise.
    pub fn is_usable(self) -> bool {
        matches!(self, KeyState::Available | KeyState::ProbeDue(_))
    }

    /// Returns why the key is not fully available: also set while it waits for its probe.
    pub fn reason(self) -> Option<Reason> {
        match self {
            KeyState::Available => None,
            KeyState::ProbeDue(class) | KeyState::Probing { class, .. } => {
                Some(Reason::Failure(class))
            }
            KeyState::Busy(scope) => Some(Reason::Concurrency(scope)),
            KeyState::CoolingDown { reason, .. } => Some(reason),
        }
    }

    /// Returns the more restrictive of two states.
    pub(super) fn or_stricter(self, other: Self) -> Self {
        let rank = |state| match state {
            KeyState::Available => (0, Duration::ZERO),
            KeyState::ProbeDue(_) => (1, Duration::ZERO),
            KeyState::Busy(_) => (2, Duration::ZERO),
            KeyState::Probing { .. } => (3, Duration::ZERO),
            KeyState::CoolingDown { remaining, .. } => (4, remaining),
        };
        if rank(other) > rank(self) { other } else { self }
    }
}
