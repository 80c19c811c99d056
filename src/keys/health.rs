//! How one key fares: what was last seen of it, and the time until which it is left alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::wire::failure::Class;

/// The longest a key is left alone, whatever a provider asks for.
const LONGEST: Duration = Duration::from_secs(3600);
/// The classes by the numbers that stand for them in one byte: 1 for the first. 0 is an answer.
const CLASSES: [Class; 7] = [
    Class::Caller,
    Class::ContextTooLong,
    Class::BadCredential,
    Class::NoAccess,
    Class::NoCredit,
    Class::Throttled,
    Class::Trouble,
];

/// The live state of one key. Lock-free: it is read on every choice.
#[derive(Debug)]
pub struct Health {
    /// What `cooling_until` counts from.
    born: Instant,
    /// Milliseconds since `born`, and in the lowest byte the class that it is for; 0: not cooling.
    cooling_until: AtomicU64,
    /// Unix time in seconds, and in the lowest byte what was seen; 0: nothing yet.
    last: AtomicU64,
}

/// What was last seen of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Why it failed; `None`: it answered.
    pub failure: Option<Class>,
    /// When the request began, to the second.
    pub at: SystemTime,
}

impl Default for Health {
    fn default() -> Self {
        Self { born: Instant::now(), cooling_until: AtomicU64::new(0), last: AtomicU64::new(0) }
    }
}

impl Health {
    /// Leaves the key alone for that long. A cooldown is only ever extended.
    pub fn cool(&self, why: Class, span: Duration, now: Instant) {
        let until = self.millis(now + span.min(LONGEST));
        self.cooling_until.fetch_max(until << 8 | code(why), Ordering::Relaxed);
    }

    /// How long the key is still to be left alone.
    pub fn cooling(&self, now: Instant) -> Option<Duration> {
        match self.cooling_until.load(Ordering::Relaxed) {
            0 => None,
            until => (until >> 8)
                .checked_sub(self.millis(now))
                .filter(|left| *left > 0)
                .map(Duration::from_millis),
        }
    }

    /// What the latest cooldown is or was for.
    pub fn why(&self) -> Option<Class> {
        class(self.cooling_until.load(Ordering::Relaxed))
    }

    /// What was last seen of it.
    pub fn last(&self) -> Option<Seen> {
        match self.last.load(Ordering::Relaxed) {
            0 => None,
            seen => {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seen >> 8);
                Some(Seen { failure: class(seen), at })
            }
        }
    }

    /// The key has answered a request that began at that Unix time: whatever it was cooling for is over.
    pub fn answered(&self, began: u64) {
        // Read first: the line stays shared between cores while all is well.
        if self.cooling_until.load(Ordering::Relaxed) != 0 {
            self.cooling_until.store(0, Ordering::Relaxed);
        }
        self.see(began << 8);
    }

    /// A request that began at that Unix time has failed with it.
    pub fn failed(&self, class: Class, began: u64) {
        self.see(began << 8 | code(class));
    }

    /// Written at most once a second while all is well.
    fn see(&self, seen: u64) {
        if self.last.load(Ordering::Relaxed) != seen {
            self.last.store(seen, Ordering::Relaxed);
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }
}

fn code(class: Class) -> u64 {
    let place = CLASSES.iter().position(|own| *own == class);
    place.map_or(0, |place| place as u64 + 1)
}

/// The class in the lowest byte.
fn class(word: u64) -> Option<Class> {
    let place = usize::try_from(word & 0xff).ok()?.checked_sub(1)?;
    CLASSES.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_cooldown_ends_by_itself() {
        let health = Health::default();
        let now = health.born;
        assert_eq!(health.cooling(now), None);
        health.cool(Class::Throttled, 10 * S, now);
        assert_eq!(health.cooling(now + 4 * S), Some(6 * S));
        assert_eq!(health.cooling(now + 10 * S), None);
    }

    #[test]
    fn a_cooldown_is_never_shortened_by_another() {
        let health = Health::default();
        let now = health.born;
        health.cool(Class::Throttled, 10 * S, now);
        health.cool(Class::Throttled, 2 * S, now);
        assert_eq!(health.cooling(now), Some(10 * S));
    }

    #[test]
    fn an_answer_ends_it() {
        let health = Health::default();
        let now = health.born;
        health.cool(Class::Throttled, 10 * S, now);
        health.answered(1);
        assert_eq!(health.cooling(now), None);
    }

    #[test]
    fn nothing_cools_for_more_than_an_hour() {
        let health = Health::default();
        let now = health.born;
        health.cool(Class::Throttled, Duration::from_secs(1 << 40), now);
        assert_eq!(health.cooling(now), Some(LONGEST));
    }

    #[test]
    fn what_was_last_seen_is_kept_with_its_time() {
        let health = Health::default();
        assert_eq!(health.last(), None);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        health.answered(1_800_000_000);
        assert_eq!(health.last(), Some(Seen { failure: None, at: at(1_800_000_000) }));
        for class in CLASSES {
            health.failed(class, 1_800_000_001);
            assert_eq!(health.last(), Some(Seen { failure: Some(class), at: at(1_800_000_001) }));
        }
    }

    #[test]
    fn a_cooldown_is_for_the_class_that_makes_it_longest() {
        let health = Health::default();
        let now = health.born;
        assert_eq!(health.why(), None);
        health.cool(Class::NoCredit, 10 * S, now);
        health.cool(Class::Throttled, 2 * S, now);
        assert_eq!((health.why(), health.cooling(now)), (Some(Class::NoCredit), Some(10 * S)));
    }
}
