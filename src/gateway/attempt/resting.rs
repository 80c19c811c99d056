//! Every key that could serve is left alone: the reasons, and when to come again.

use std::time::Duration;

use crate::keys::{KeyState, LimitScope, Reason};
use crate::wire::failure::class::Class;

/// The shortest and the longest that a caller is asked to wait.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The keys that could serve a request if they were not left alone.
#[derive(Debug)]
pub(in crate::gateway) struct AllResting {
    /// What was asked for.
    pub(super) model: String,
    /// `provider/key`, and how it stands.
    pub(super) keys: Vec<(String, KeyState)>,
}

impl AllResting {
    /// Whether the caller has asked too much, rather than met a failure: so it is where that is what the
    /// key that is free soonest is left alone for.
    pub(in crate::gateway) fn is_limit(&self) -> bool {
        let soonest = self.keys.iter().min_by_key(|(_, standing)| left(*standing));
        let why = soonest.and_then(|(_, standing)| standing.reason());
        match why {
            Some(Reason::Failure(class)) => matches!(class, Class::Throttled | Class::NoCredit),
            Some(Reason::RequestRate | Reason::TokenRate | Reason::Concurrency(_)) => true,
            None => false,
        }
    }

    /// When to come again.
    pub(in crate::gateway) fn retry_after(&self) -> Duration {
        let seconds = u64::try_from(self.soonest().as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        Duration::from_secs(seconds).clamp(SHORTEST, LONGEST)
    }

    /// Whether a key is free by then.
    pub(in crate::gateway) fn is_worth_a_retry(&self) -> bool {
        self.soonest() <= LONGEST
    }

    /// All of it in words.
    pub(in crate::gateway) fn message(&self) -> String {
        let keys: Vec<String> =
            self.keys.iter().map(|(key, standing)| format!("{key} {}", words(*standing))).collect();
        format!("No key can serve the model `{}` now: {}.", self.model, keys.join("; "))
    }

    fn soonest(&self) -> Duration {
        self.keys.iter().map(|(_, standing)| left(*standing)).min().unwrap_or(SHORTEST)
    }
}

/// What is being probed or busy may be free any moment.
fn left(standing: KeyState) -> Duration {
    match standing {
        KeyState::CoolingDown { remaining: left, .. } => left,
        KeyState::Available
        | KeyState::ProbeDue(_)
        | KeyState::Busy(_)
        | KeyState::Probing { .. } => Duration::ZERO,
    }
}

fn words(standing: KeyState) -> String {
    let why = match standing.reason() {
        Some(Reason::Failure(class)) => of_failure(class),
        Some(Reason::RequestRate) => "is over its own rpm",
        Some(Reason::TokenRate) => "is over its own tpm",
        Some(Reason::Concurrency(LimitScope::Key)) => {
            "has as many requests under way as its max_concurrent allows"
        }
        Some(Reason::Concurrency(LimitScope::Provider)) => {
            "has a provider with as many requests under way as its max_concurrent allows"
        }
        None => "is in use",
    };
    match standing {
        KeyState::CoolingDown { remaining: left, .. } => {
            format!("{why}, to be tried again in {} s", left.as_millis().div_ceil(1000))
        }
        KeyState::Busy(_) => why.to_owned(),
        KeyState::Available | KeyState::ProbeDue(_) | KeyState::Probing { .. } => {
            format!("{why}, and is being tried again")
        }
    }
}

fn of_failure(class: Class) -> &'static str {
    match class {
        Class::BadCredential => "was refused by the provider",
        Class::NoAccess => "has no access to it",
        Class::NoCredit => "has no credit or quota left",
        Class::Throttled => "is throttled",
        Class::Trouble => "has met failures of the provider",
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

    fn resting(standings: &[KeyState]) -> AllResting {
        let named = standings.iter().enumerate().map(|(n, own)| (format!("main/k{n}"), *own));
        AllResting { model: "m".into(), keys: named.collect() }
    }

    fn asks_for(standings: &[KeyState]) -> (u64, bool) {
        let all = resting(standings);
        (all.retry_after().as_secs(), all.is_worth_a_retry())
    }

    #[test]
    fn the_soonest_says_when_to_come_again_between_a_second_and_a_minute() {
        let slow = cooling(Class::BadCredential, 300_000);
        assert_eq!(asks_for(&[slow, cooling(Class::Throttled, 6100)]), (7, true));
        assert_eq!(asks_for(&[slow, cooling(Class::Throttled, 5)]), (1, true));
        assert_eq!(asks_for(&[cooling(Class::NoCredit, 60_000)]), (60, true));
        assert_eq!(asks_for(&[slow]), (60, false), "nothing is free by then");
        let probing = KeyState::Probing { class: Class::Throttled, since: Instant::now() };
        assert_eq!(asks_for(&[slow, probing]), (1, true));
    }

    #[test]
    fn what_the_soonest_is_left_alone_for_decides() {
        let (limit, trouble) = (cooling(Class::Throttled, 9000), cooling(Class::Trouble, 5000));
        assert!(resting(&[limit]).is_limit());
        assert!(!resting(&[limit, trouble]).is_limit());
        assert!(resting(&[cooling(Class::NoCredit, 4000), trouble]).is_limit());
        assert!(!resting(&[cooling(Class::BadCredential, 4000)]).is_limit());
        let own = KeyState::CoolingDown {
            reason: Reason::RequestRate,
            remaining: Duration::from_secs(3),
        };
        assert!(resting(&[own, trouble]).is_limit());
        assert!(resting(&[KeyState::Busy(LimitScope::Key), trouble]).is_limit());
        assert_eq!(asks_for(&[KeyState::Busy(LimitScope::Provider), own]), (1, true));
    }

    #[test]
    fn every_key_has_its_reason() {
        let all = resting(&[cooling(Class::Throttled, 8100), cooling(Class::BadCredential, 1)]);
        let said = "No key can serve the model `m` now: main/k0 is throttled, to be tried again in 9 s; \
                    main/k1 was refused by the provider, to be tried again in 1 s.";
        assert_eq!(all.message(), said);
    }
}
