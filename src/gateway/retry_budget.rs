//! Limits the attempts that follow a provider's failure, so that retries do not amplify an outage.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::config::Retry;

/// The retry state that all requests share. It outlives every configuration.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    pub(crate) budget: RetryBudget,
    /// Notified when a probe of a cooling key has ended.
    pub(crate) probe_ended: Notify,
}

impl Retries {
    /// Wakes the requests that wait for the end of a probe.
    pub(crate) fn notify_probe_ended(&self) {
        self.probe_ended.notify_waiters();
    }
}

/// A token bucket: every request adds a fraction of an attempt, every second adds some, and a retry takes one.
/// It holds at most what one second adds by itself, so a quiet hour saves nothing up for a burst.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    /// All requests so far. An atomic apart from the bucket, so a request that succeeds takes no lock.
    requests: AtomicU64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    attempts: f64,
    /// The time of the last refill, and the number of requests at that time.
    refilled: Option<(Instant, u64)>,
}

impl RetryBudget {
    /// Counts a request.
    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one attempt from the budget. Returns false if the budget is exhausted.
    pub(crate) fn take(&self, rules: Retry, now: Instant) -> bool {
        let floor = f64::from(rules.floor_per_second);
        let requests = self.requests.load(Ordering::Relaxed);
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (seconds, counted) = match bucket.refilled {
            Some((at, counted)) => (now.saturating_duration_since(at).as_secs_f64(), counted),
            None => (1.0, 0),
        };
        #[expect(clippy::cast_precision_loss, reason = "a bucket holds a few attempts")]
        let new_requests = requests.saturating_sub(counted) as f64;
        bucket.attempts += floor * seconds + rules.budget * new_requests;
        bucket.attempts = bucket.attempts.min(floor.max(1.0));
        // A clock that goes back must not refill the same span twice.
        let at = bucket.refilled.map_or(now, |(at, _)| at.max(now));
        bucket.refilled = Some((at, requests.max(counted)));
        let enough = bucket.attempts >= 1.0;
        if enough {
            bucket.attempts -= 1.0;
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

    /// Returns how many of these requests may retry when they arrive at this interval.
    fn granted(
        budget: &RetryBudget,
        rules: Retry,
        from: Instant,
        requests: u32,
        interval: Duration,
    ) -> u32 {
        let each = |number| {
            budget.count_request();
            u32::from(budget.take(rules, from + interval * number))
        };
        (0..requests).map(each).sum()
    }

    #[test]
    fn retries_are_limited_to_a_fifth_of_requests_plus_ten_per_second() {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        // 5,000 requests in ten seconds: 1,000 and 100, plus the second that the bucket holds.
        let granted = granted(&budget, rules(0.2, 10), now, 5000, S / 500);
        assert!((1090..=1110).contains(&granted), "{granted}");
    }

    #[test]
    fn the_floor_alone_allows_its_number_per_second() {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        let granted = granted(&budget, rules(0.0, 10), now, 5000, S / 500);
        assert!((100..=110).contains(&granted), "{granted}");
    }

    #[test]
    fn the_budget_alone_allows_its_share_of_requests() {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        let granted = granted(&budget, rules(0.2, 0), now, 1000, S / 500);
        assert!((199..=201).contains(&granted), "{granted}");
    }

    #[test]
    fn a_zero_budget_allows_no_retry() {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        assert_eq!(granted(&budget, rules(0.0, 0), now, 1000, S / 500), 0);
    }

    #[test]
    fn a_quiet_hour_saves_nothing_up() {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        assert!(budget.take(rules(0.2, 10), now));
        (0..100_000).for_each(|_| budget.count_request());
        let later = now + 3600 * S;
        let burst = (0..100).filter(|_| budget.take(rules(0.2, 10), later)).count();
        assert_eq!(burst, 10);
    }

    #[test]
    fn a_clock_that_goes_back_refills_nothing_twice() {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        while budget.take(rules(0.0, 10), now + S) {}
        assert!(!budget.take(rules(0.0, 10), now));
        assert!(!budget.take(rules(0.0, 10), now + S));
    }
}
