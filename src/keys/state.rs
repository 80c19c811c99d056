//! Whether a key, or a key with a model, can be asked now; and if not, why and until when.

use std::time::{Duration, Instant};

use crate::wire::failure::Class;

/// Whether a key, or a key with a model, can be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// As often as one likes.
    Available,
    /// Once: its cooldown is over, and nobody has asked it since.
    ProbeDue(Class),
    /// Not now: as many requests are under way as `max_concurrent` allows.
    Busy(LimitScope),
    /// Not now: its probe is under way.
    Probing {
        /// What it was cooling for.
        class: Class,
        /// When the probe began.
        since: Instant,
    },
    /// Not yet.
    CoolingDown {
        /// What for.
        reason: Reason,
        /// For how long.
        remaining: Duration,
    },
}

/// LimitScope `max_concurrent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitScope {
    /// The key's.
    Key,
    /// Its provider's.
    Provider,
}

/// What a key is left alone for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has failed.
    Failure(Class),
    /// It has had as many requests in a minute as its `rpm` allows.
    RequestRate,
    /// It has had as many tokens in a minute as its `tpm` allows.
    TokenRate,
    /// As many requests are under way as `max_concurrent` allows.
    Concurrency(LimitScope),
}

impl Reason {
    /// The name that `/keys` and `explain` show.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Failure(class) => class.name(),
            Reason::RequestRate => "over its own rpm",
            Reason::TokenRate => "over its own tpm",
            Reason::Concurrency(LimitScope::Key) => "at its max_concurrent",
            Reason::Concurrency(LimitScope::Provider) => "at its provider's max_concurrent",
        }
    }
}

impl KeyState {
    /// Whether a request may go through.
    pub fn is_usable(self) -> bool {
        matches!(self, KeyState::Available | KeyState::ProbeDue(_))
    }

    /// For what it is left alone, or waits for its probe.
    pub fn reason(self) -> Option<Reason> {
        match self {
            KeyState::Available => None,
            KeyState::ProbeDue(why) | KeyState::Probing { class: why, .. } => {
                Some(Reason::Failure(why))
            }
            KeyState::Busy(whose) => Some(Reason::Concurrency(whose)),
            KeyState::CoolingDown { reason: why, .. } => Some(why),
        }
    }

    /// The one that allows less.
    pub(super) fn and(self, other: Self) -> Self {
        let rank = |standing| match standing {
            KeyState::Available => (0, Duration::ZERO),
            KeyState::ProbeDue(_) => (1, Duration::ZERO),
            KeyState::Busy(_) => (2, Duration::ZERO),
            KeyState::Probing { .. } => (3, Duration::ZERO),
            KeyState::CoolingDown { remaining, .. } => (4, remaining),
        };
        if rank(other) > rank(self) { other } else { self }
    }
}
