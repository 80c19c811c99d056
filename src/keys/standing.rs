//! Whether a key, or a key with a model, can be asked now; and if not, why and until when.

use std::time::{Duration, Instant};

use crate::wire::failure::class::Class;

/// Whether a key, or a key with a model, can be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As often as one likes.
    Free,
    /// Once: its cooldown is over, and nobody has asked it since.
    Due(Class),
    /// Not now: as many requests are under way as `max_concurrent` allows.
    Busy(Whose),
    /// Not now: its probe is under way.
    Probing {
        /// What it was cooling for.
        why: Class,
        /// When the probe began.
        since: Instant,
    },
    /// Not yet.
    Cooling {
        /// What for.
        why: Reason,
        /// For how long.
        left: Duration,
    },
}

/// Whose `max_concurrent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The key's.
    Key,
    /// Its provider's.
    Provider,
}

/// What a key is left alone for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has failed.
    Failed(Class),
    /// It has had as many requests in a minute as its `rpm` allows.
    Requests,
    /// It has had as many tokens in a minute as its `tpm` allows.
    Tokens,
    /// All its places are taken.
    Busy(Whose),
}

impl Reason {
    /// The name that `/keys` and `explain` show.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Failed(class) => class.name(),
            Reason::Requests => "over its own rpm",
            Reason::Tokens => "over its own tpm",
            Reason::Busy(Whose::Key) => "at its max_concurrent",
            Reason::Busy(Whose::Provider) => "at its provider's max_concurrent",
        }
    }
}

impl Standing {
    /// Whether a request may go through.
    pub fn is_open(self) -> bool {
        matches!(self, Standing::Free | Standing::Due(_))
    }

    /// For what it is left alone, or waits for its probe.
    pub fn why(self) -> Option<Reason> {
        match self {
            Standing::Free => None,
            Standing::Due(why) | Standing::Probing { why, .. } => Some(Reason::Failed(why)),
            Standing::Busy(whose) => Some(Reason::Busy(whose)),
            Standing::Cooling { why, .. } => Some(why),
        }
    }

    /// The one that allows less.
    pub(super) fn and(self, other: Self) -> Self {
        let rank = |standing| match standing {
            Standing::Free => (0, Duration::ZERO),
            Standing::Due(_) => (1, Duration::ZERO),
            Standing::Busy(_) => (2, Duration::ZERO),
            Standing::Probing { .. } => (3, Duration::ZERO),
            Standing::Cooling { left, .. } => (4, left),
        };
        if rank(other) > rank(self) { other } else { self }
    }
}
