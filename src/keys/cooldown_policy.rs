//! The table of cooldowns: for each class of failure, what cools down and for how long.

use std::time::Duration;

use crate::wire::failure::class::{Class, Failure};

/// Longest cooldown, whatever `retry-after` a provider sends.
pub(super) const MAX_COOLDOWN: Duration = Duration::from_secs(3600);
/// Number of [`Class::Trouble`] failures in a row of a key with a model that start a cooldown. A single
/// one is too common to be a sign of an outage.
pub(super) const TROUBLE_THRESHOLD: u32 = 3;

/// What cools down after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CooldownScope {
    /// The key with all models.
    Key,
    /// The key with the model of the failed request.
    Model,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct CooldownPolicy {
    pub(super) scope: CooldownScope,
    initial: Duration,
    max: Duration,
}

impl CooldownPolicy {
    /// Returns the row of a class; `None` if failures of this class start no cooldown.
    pub(super) fn of(class: Class) -> Option<Self> {
        let row = |scope, initial, max| {
            let (initial, max) = (Duration::from_secs(initial), Duration::from_secs(max));
            Some(Self { scope, initial, max })
        };
        match class {
            Class::Caller | Class::ContextTooLong => None,
            Class::BadCredential => row(CooldownScope::Key, 300, 3600),
            Class::NoCredit => row(CooldownScope::Key, 600, 3600),
            Class::NoAccess => row(CooldownScope::Model, 300, 300),
            Class::Throttled => row(CooldownScope::Model, 10, 120),
            Class::Trouble => row(CooldownScope::Model, 5, 60),
        }
    }

    /// Returns the length of the cooldown after `failed_probes` earlier cooldowns of the same class whose
    /// probes all failed. A provider's `retry-after` counts only for throttling: with other failures it is
    /// a guess, or about the request.
    pub(super) fn duration(self, failure: Failure, failed_probes: u32) -> Duration {
        match failure.retry_after {
            Some(retry_after) if failure.class == Class::Throttled => retry_after.min(MAX_COOLDOWN),
            _ => self.initial.saturating_mul(1 << failed_probes.min(16)).min(self.max),
        }
    }
}
