//! How one key fares: the time until which it is left alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest a key is left alone, whatever a provider asks for.
const LONGEST: Duration = Duration::from_secs(3600);

/// The live state of one key. Lock-free: it is read on every choice.
#[derive(Debug)]
pub struct Health {
    /// What `cooling_until` counts from.
    born: Instant,
    /// Milliseconds since `born`; 0: not cooling.
    cooling_until: AtomicU64,
}

impl Default for Health {
    fn default() -> Self {
        Self { born: Instant::now(), cooling_until: AtomicU64::new(0) }
    }
}

impl Health {
    /// Leaves the key alone for that long. A cooldown is only ever extended.
    pub fn cool(&self, span: Duration, now: Instant) {
        let until = self.millis(now + span.min(LONGEST));
        self.cooling_until.fetch_max(until, Ordering::Relaxed);
    }

    /// How long the key is still to be left alone.
    pub fn cooling(&self, now: Instant) -> Option<Duration> {
        match self.cooling_until.load(Ordering::Relaxed) {
            0 => None,
            until => until
                .checked_sub(self.millis(now))
                .filter(|left| *left > 0)
                .map(Duration::from_millis),
        }
    }

    /// The key has answered: whatever it was cooling for is over.
    pub fn answered(&self) {
        // Read first: the line stays shared between cores while all is well.
        if self.cooling_until.load(Ordering::Relaxed) != 0 {
            self.cooling_until.store(0, Ordering::Relaxed);
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }
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
        health.cool(10 * S, now);
        assert_eq!(health.cooling(now + 4 * S), Some(6 * S));
        assert_eq!(health.cooling(now + 10 * S), None);
    }

    #[test]
    fn a_cooldown_is_never_shortened_by_another() {
        let health = Health::default();
        let now = health.born;
        health.cool(10 * S, now);
        health.cool(2 * S, now);
        assert_eq!(health.cooling(now), Some(10 * S));
    }

    #[test]
    fn an_answer_ends_it() {
        let health = Health::default();
        let now = health.born;
        health.cool(10 * S, now);
        health.answered();
        assert_eq!(health.cooling(now), None);
    }

    #[test]
    fn nothing_cools_for_more_than_an_hour() {
        let health = Health::default();
        let now = health.born;
        health.cool(Duration::from_secs(1 << 40), now);
        assert_eq!(health.cooling(now), Some(LONGEST));
    }
}
