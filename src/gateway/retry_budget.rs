//! How many attempts may follow a provider's trouble, so that its outage is not made worse by whoever
//! tries again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::config::Retry;

/// What requests share as they try again; it outlives every configuration.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    pub(crate) budget: Budget,
    /// A probe is back.
    pub(crate) probed: Notify,
}

impl Retries {
    /// Tells those who wait that a probe is back.
    pub(crate) fn probed(&self) {
        self.probed.notify_waiters();
    }
}

/// A purse: every request puts a share of an attempt in, and so does every second; an attempt takes one
/// out. It holds no more than a second brings by itself, so that a quiet hour is no reserve for a storm.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// All there were. Counted apart, so that a request that goes well takes no lock.
    requests: AtomicU64,
    purse: Mutex<Purse>,
}

#[derive(Debug, Default)]
struct Purse {
    attempts: f64,
    /// When it was last filled, and the requests counted by then.
    filled: Option<(Instant, u64)>,
}

impl Budget {
    /// Counts a request.
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether an attempt may follow a trouble now; then it is spent.
    pub(crate) fn take(&self, rules: Retry, now: Instant) -> bool {
        let floor = f64::from(rules.floor_per_second);
        let requests = self.requests.load(Ordering::Relaxed);
        let mut purse = self.purse.lock().unwrap_or_else(PoisonError::into_inner);
        let (seconds, counted) = match purse.filled {
            Some((at, counted)) => (now.saturating_duration_since(at).as_secs_f64(), counted),
            None => (1.0, 0),
        };
        #[expect(clippy::cast_precision_loss, reason = "a purse holds a few attempts")]
        let since = requests.saturating_sub(counted) as f64;
        purse.attempts += floor * seconds + rules.budget * since;
        purse.attempts = purse.attempts.min(floor.max(1.0));
        let at = purse.filled.map_or(now, |(at, _)| at.max(now));
        purse.filled = Some((at, requests.max(counted)));
        let enough = purse.attempts >= 1.0;
        if enough {
            purse.attempts -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn rules(budget: f64, floor_per_second: u32) -> Retry {
        Retry { budget, floor_per_second, max_waits: 2 }
    }

    /// How many of these requests may go on after a trouble, when they come at this pace.
    fn granted(budget: &Budget, rules: Retry, from: Instant, requests: u32, pace: Duration) -> u32 {
        let each = |number| {
            budget.request();
            u32::from(budget.take(rules, from + pace * number))
        };
        (0..requests).map(each).sum()
    }

    #[test]
    fn an_outage_is_met_by_a_fifth_of_the_requests_and_ten_a_second() {
        let (budget, now) = (Budget::default(), Instant::now());
        // 5,000 requests in ten seconds: 1,000 and 100, and the second that the purse holds.
        let granted = granted(&budget, rules(0.2, 10), now, 5000, S / 500);
        assert!((1090..=1110).contains(&granted), "{granted}");
    }

    #[test]
    fn the_floor_alone_is_so_many_a_second() {
        let (budget, now) = (Budget::default(), Instant::now());
        let granted = granted(&budget, rules(0.0, 10), now, 5000, S / 500);
        assert!((100..=110).contains(&granted), "{granted}");
    }

    #[test]
    fn the_share_alone_is_so_many_of_the_requests() {
        let (budget, now) = (Budget::default(), Instant::now());
        let granted = granted(&budget, rules(0.2, 0), now, 1000, S / 500);
        assert!((199..=201).contains(&granted), "{granted}");
    }

    #[test]
    fn none_is_none() {
        let (budget, now) = (Budget::default(), Instant::now());
        assert_eq!(granted(&budget, rules(0.0, 0), now, 1000, S / 500), 0);
    }

    #[test]
    fn a_quiet_hour_is_no_reserve() {
        let (budget, now) = (Budget::default(), Instant::now());
        assert!(budget.take(rules(0.2, 10), now));
        (0..100_000).for_each(|_| budget.request());
        let later = now + 3600 * S;
        let burst = (0..100).filter(|_| budget.take(rules(0.2, 10), later)).count();
        assert_eq!(burst, 10);
    }

    #[test]
    fn a_clock_that_seems_to_go_back_fills_nothing_twice() {
        let (budget, now) = (Budget::default(), Instant::now());
        while budget.take(rules(0.0, 10), now + S) {}
        assert!(!budget.take(rules(0.0, 10), now));
        assert!(!budget.take(rules(0.0, 10), now + S));
    }
}
