//! The attempts of a request so far.

use super::call::Call;
use super::failed::FailureResponse;
use crate::keys::{KeyState, TriedKeys};
use crate::route::{Plan, Target};
use crate::wire::failure::class::Class;
use crate::wire::json::fields::Rejected;

use tokio::time::Instant;

/// A key that was tried at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyAttempt {
    pub(super) provider: usize,
    model: Box<str>,
    pub(super) key: usize,
}

impl KeyAttempt {
    pub(super) fn new(target: Target<'_>, key: usize) -> Self {
        Self { provider: target.provider, model: target.model.into(), key }
    }

    pub(super) fn is_at(&self, target: Target<'_>) -> bool {
        self.provider == target.provider && *self.model == *target.model
    }

    fn is(&self, target: Target<'_>, key: usize) -> bool {
        self.key == key && self.is_at(target)
    }
}

/// The attempts of a request so far, and what they exclude.
#[derive(Default)]
pub(super) struct History {
    /// The failure that is most useful to the caller.
    best_failure: Option<(Class, FailureResponse)>,
    /// Providers that sent nothing until a deadline. They are not tried again.
    silent_providers: Vec<usize>,
    /// Models whose context the prompt exceeds.
    too_long: Vec<Box<str>>,
    /// Providers and models whose format cannot express the request, and why.
    untranslatable: Vec<(usize, Box<str>, Rejected)>,
    /// Keys that have failed since the latest wait.
    failed: Vec<KeyAttempt>,
    /// Failed keys for which a wait does not help, because they do not cool down after their failure.
    exhausted: Vec<KeyAttempt>,
    /// True if the latest attempt met a provider failure, so the next attempt takes from the retry budget.
    pub(super) after_trouble: bool,
}

impl History {
    /// Records a failed attempt. The most useful failure is kept for the caller.
    pub(super) fn add_failure(
        &mut self,
        target: Target<'_>,
        key: usize,
        class: Class,
        response: FailureResponse,
    ) {
        self.after_trouble = class == Class::Trouble;
        if self.best_failure.as_ref().is_none_or(|(best, _)| usefulness(class) >= usefulness(*best))
        {
            self.best_failure = Some((class, response));
        }
        self.add_failed(KeyAttempt::new(target, key));
        if class == Class::ContextTooLong {
            self.too_long.push(target.model.into());
        }
    }

    /// Excludes a key until the next wait.
    pub(super) fn add_failed(&mut self, attempt: KeyAttempt) {
        self.failed.push(attempt);
    }

    /// Excludes a provider that sent nothing until a deadline.
    pub(super) fn add_silent(&mut self, provider: usize) {
        self.silent_providers.push(provider);
    }

    /// Excludes a target whose format cannot express the request.
    pub(super) fn add_untranslatable(&mut self, target: Target<'_>, rejected: Rejected) {
        self.untranslatable.push((target.provider, target.model.into(), rejected));
    }

    /// Allows these keys again.
    pub(super) fn forget_failed(&mut self, attempts: &[KeyAttempt]) {
        self.failed.retain(|failed| !attempts.contains(failed));
    }

    /// Returns true if the target is not tried again.
    pub(super) fn excludes(&self, target: Target<'_>) -> bool {
        self.silent_providers.contains(&target.provider)
            || self.too_long.iter().any(|model| **model == *target.model)
            || self.is_untranslatable(target)
    }

    fn is_untranslatable(&self, target: Target<'_>) -> bool {
        let is_target =
            |provider, model: &str| provider == target.provider && model == target.model;
        self.untranslatable.iter().any(|(provider, model, _)| is_target(*provider, model))
    }

    /// Returns the keys of a target that were tried. A route may contain a target twice.
    pub(super) fn tried_keys(&self, target: Target<'_>) -> TriedKeys {
        let tried = self.exhausted.iter().chain(&self.failed);
        tried.filter(|attempt| attempt.is_at(target)).map(|attempt| attempt.key).collect()
    }

    pub(super) fn has_tried(&self, target: Target<'_>, key: usize) -> bool {
        self.exhausted.iter().chain(&self.failed).any(|attempt| attempt.is(target, key))
    }

    pub(super) fn has_exhausted(&self, target: Target<'_>, key: usize) -> bool {
        self.exhausted.iter().any(|attempt| attempt.is(target, key))
    }

    /// Allows the failed keys again that are cooling down. The others stay excluded: a wait does not help them.
    pub(super) fn start_wait(&mut self, call: &Call<'_>, now: Instant) {
        for attempt in self.failed.drain(..) {
            let pool = &call.gateway.providers[attempt.provider].pool;
            let health = &pool.keys()[attempt.key].health;
            if health.state(&attempt.model, now.into_std()).is_usable() {
                self.exhausted.push(attempt);
            }
        }
    }

    /// Takes the failure that is most useful to the caller.
    pub(super) fn take_best_failure(&mut self) -> Option<FailureResponse> {
        self.best_failure.take().map(|(_, response)| response)
    }

    /// Takes the reason why a provider's format cannot express the request.
    pub(super) fn take_untranslatable(&mut self) -> Option<Rejected> {
        (!self.untranslatable.is_empty()).then(|| self.untranslatable.swap_remove(0).2)
    }

    /// Returns `provider/key` and state of every key that allows this request.
    pub(super) fn all_key_states(
        &self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        now: Instant,
    ) -> Vec<(String, KeyState)> {
        let mut keys: Vec<(String, KeyState)> = Vec::new();
        for target in call.targets(plan).filter(|target| !self.is_untranslatable(*target)) {
            for (key, state) in call.key_states(target, now) {
                let name = call.key_name(target, key);
                if !keys.iter().any(|(other, _)| *other == name) {
                    keys.push((name, state));
                }
            }
        }
        keys
    }
}

/// Ranks failures by what the caller can do about them: a limit that will pass comes before a key that the caller
/// does not know.
fn usefulness(class: Class) -> u8 {
    match class {
        Class::BadCredential => 0,
        Class::NoCredit => 1,
        Class::NoAccess => 2,
        Class::Trouble => 3,
        Class::Throttled => 4,
        Class::ContextTooLong => 5,
        Class::Caller => 6,
    }
}
