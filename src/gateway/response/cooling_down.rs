//! The response when every key that could serve is cooling down: the reasons, and when to retry.

use std::time::Duration;

use crate::keys::{KeyState, LimitScope, Reason};
use crate::wire::failure::class::Class;

/// Bounds of `retry-after`.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The keys that could serve a request if they were not cooling down or at a limit.
#[derive(Debug)]
pub(crate) struct AllCoolingDown {
    /// The requested model.
    pub(crate) model: String,
    /// `provider/key`, and its state.
    pub(crate) keys: Vec<(String, KeyState)>,
}

impl AllCoolingDown {
    /// Returns true if the caller exceeded a limit rather than met a failure. The key that is available
    /// soonest decides.
    pub(crate) fn is_limit(&self) -> bool {
        let soonest = self.keys.iter().min_by_key(|(_, state)| remaining(*state));
        match soonest.and_then(|(_, state)| state.reason()) {
            Some(Reason::Failure(class)) => matches!(class, Class::Throttled | Class::NoCredit),
            Some(Reason::RequestRate | Reason::TokenRate | Reason::Concurrency(_)) => true,
            None => false,
        }
    }

    /// Returns when the caller should retry.
    pub(crate) fn retry_after(&self) -> Duration {
        let seconds = u64::try_from(self.soonest().as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        Duration::from_secs(seconds).clamp(SHORTEST, LONGEST)
    }

    /// Returns true if a key is available by the longest `retry-after`.
    pub(crate) fn is_worth_a_retry(&self) -> bool {
        self.soonest() <= LONGEST
    }

    /// Returns the error text, with the reason for each key.
    pub(crate) fn message(&self) -> String {
        let keys: Vec<String> =
            self.keys.iter().map(|(key, state)| format!("{key} {}", describe(*state))).collect();
        format!("No key can serve the model `{}` now: {}.", self.model, keys.join("; "))
    }

    fn soonest(&self) -> Duration {
        self.keys.iter().map(|(_, state)| remaining(*state)).min().unwrap_or(SHORTEST)
    }
}

/// Returns the remaining cooldown. A key that is busy or being probed may be available at any moment.
fn remaining(state: KeyState) -> Duration {
    match state {
        KeyState::CoolingDown { remaining, .. } => remaining,
        KeyState::Available
        | KeyState::ProbeDue(_)
        | KeyState::Busy(_)
        | KeyState::Probing { .. } => Duration::ZERO,
    }
}

fn describe(state: KeyState) -> String {
    let reason = match state.reason() {
        Some(Reason::Failure(class)) => describe_failure(class),
        Some(Reason::RequestRate) => "has reached its rpm",
        Some(Reason::TokenRate) => "has reached its tpm",
        Some(Reason::Concurrency(LimitScope::Key)) => "has reached its max_concurrent",
        Some(Reason::Concurrency(LimitScope::Provider)) => {
            "waits for its provider's max_concurrent"
        }
        None => "is in use",
    };
    match state {
        KeyState::CoolingDown { remaining, .. } => {
            format!("{reason}, next try in {} s", remaining.as_millis().div_ceil(1000))
        }
        KeyState::Busy(_) => reason.to_owned(),
        KeyState::Available | KeyState::ProbeDue(_) | KeyState::Probing { .. } => {
            format!("{reason}, a probe is running")
        }
    }
}

fn describe_failure(class: Class) -> &'static str {
    match class {
        Class::BadCredential => "was rejected by the provider",
        Class::NoAccess => "has no access to it",
        Class::NoCredit => "has no credit or quota left",
        Class::Throttled => "is throttled",
        Class::Trouble => "is cooling down after provider failures",
        Class::Caller | Class::ContextTooLong => "is in use",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn cooling(why: Class, millis: u64) -> KeyState {
        KeyState::CoolingDown {
            reason: Reason::Failure(why),
            remaining: Duration::from_millis(millis),
        }
    }

    fn all(states: &[KeyState]) -> AllCoolingDown {
        let named = states.iter().enumerate().map(|(n, state)| (format!("main/k{n}"), *state));
        AllCoolingDown { model: "m".into(), keys: named.collect() }
    }

    fn retry_hint(states: &[KeyState]) -> (u64, bool) {
        let all = all(states);
        (all.retry_after().as_secs(), all.is_worth_a_retry())
    }

    #[test]
    fn retry_after_is_the_soonest_key_between_one_second_and_one_minute() {
        let slow = cooling(Class::BadCredential, 300_000);
        assert_eq!(retry_hint(&[slow, cooling(Class::Throttled, 6100)]), (7, true));
        assert_eq!(retry_hint(&[slow, cooling(Class::Throttled, 5)]), (1, true));
        assert_eq!(retry_hint(&[cooling(Class::NoCredit, 60_000)]), (60, true));
        assert_eq!(retry_hint(&[slow]), (60, false), "no key is available by then");
        let probing = KeyState::Probing { class: Class::Throttled, since: Instant::now() };
        assert_eq!(retry_hint(&[slow, probing]), (1, true));
    }

    #[test]
    fn the_reason_of_the_soonest_key_decides_the_status() {
        let (limit, trouble) = (cooling(Class::Throttled, 9000), cooling(Class::Trouble, 5000));
        assert!(all(&[limit]).is_limit());
        assert!(!all(&[limit, trouble]).is_limit());
        assert!(all(&[cooling(Class::NoCredit, 4000), trouble]).is_limit());
        assert!(!all(&[cooling(Class::BadCredential, 4000)]).is_limit());
        let own = KeyState::CoolingDown {
            reason: Reason::RequestRate,
            remaining: Duration::from_secs(3),
        };
        assert!(all(&[own, trouble]).is_limit());
        assert!(all(&[KeyState::Busy(LimitScope::Key), trouble]).is_limit());
        assert_eq!(retry_hint(&[KeyState::Busy(LimitScope::Provider), own]), (1, true));
    }

    #[test]
    fn the_message_contains_a_reason_per_key() {
        let all = all(&[cooling(Class::Throttled, 8100), cooling(Class::BadCredential, 1)]);
        let message = "No key can serve the model `m` now: main/k0 is throttled, next try in 9 s; \
                    main/k1 was rejected by the provider, next try in 1 s.";
        assert_eq!(all.message(), message);
    }
}
