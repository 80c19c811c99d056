//! What a failure makes of a key: how much of it is left alone, and for how long. A table.

use std::time::Duration;

use crate::wire::failure::class::{Class, Failure};

/// The longest a key is left alone, whatever a provider asks for.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);
/// A provider's troubles with a key and a model in a row, before the two are left alone: one alone is
/// everyday.
pub(super) const TROUBLES: u32 = 3;

/// How much of a key a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The key, whatever is asked of it.
    Key,
    /// The key with this model.
    Model,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cooldown {
    pub(super) reach: Reach,
    first: Duration,
    most: Duration,
}

impl Cooldown {
    /// The row of a class; `None`: it says nothing against the key.
    pub(super) fn of(class: Class) -> Option<Self> {
        let row = |reach, first, most| {
            let (first, most) = (Duration::from_secs(first), Duration::from_secs(most));
            Some(Self { reach, first, most })
        };
        match class {
            Class::Caller | Class::ContextTooLong => None,
            Class::BadCredential => row(Reach::Key, 300, 3600),
            Class::NoCredit => row(Reach::Key, 600, 3600),
            Class::NoAccess => row(Reach::Model, 300, 300),
            Class::Throttled => row(Reach::Model, 10, 120),
            Class::Trouble => row(Reach::Model, 5, 60),
        }
    }

    /// For how long, after so many cooldowns of the same class that each ended in a failed probe. What a
    /// provider asks for counts where it throttles: elsewhere it is a guess of its own, or about the request.
    pub(super) fn span(self, failure: Failure, round: u32) -> Duration {
        match failure.retry_after {
            Some(asked) if failure.class == Class::Throttled => asked.min(LONGEST),
            _ => self.first.saturating_mul(1 << round.min(16)).min(self.most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(class: Class) -> Vec<u64> {
        let row = Cooldown::of(class).expect("a row");
        let failure = Failure { class, retry_after: None };
        (0..7).map(|round| row.span(failure, round).as_secs()).collect()
    }

    #[test]
    fn every_class_has_its_spans() {
        assert_eq!(spans(Class::BadCredential), [300, 600, 1200, 2400, 3600, 3600, 3600]);
        assert_eq!(spans(Class::NoCredit), [600, 1200, 2400, 3600, 3600, 3600, 3600]);
        assert_eq!(spans(Class::NoAccess), [300; 7]);
        assert_eq!(spans(Class::Throttled), [10, 20, 40, 80, 120, 120, 120]);
        assert_eq!(spans(Class::Trouble), [5, 10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn a_provider_that_throttles_says_for_how_long_up_to_an_hour() {
        let span = |class, asked| {
            let failure = Failure { class, retry_after: Some(Duration::from_secs(asked)) };
            Cooldown::of(class).expect("a row").span(failure, 3).as_secs()
        };
        assert_eq!(span(Class::Throttled, 1), 1);
        assert_eq!(span(Class::Throttled, 86_400), 3600);
        assert_eq!(span(Class::Trouble, 1), 40, "a hint of another kind of failure is none");
        assert_eq!(span(Class::NoCredit, 1), 3600);
    }

    #[test]
    fn what_is_the_callers_fault_says_nothing_against_the_key() {
        assert!(Cooldown::of(Class::Caller).is_none());
        assert!(Cooldown::of(Class::ContextTooLong).is_none());
    }
}
