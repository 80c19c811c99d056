//! `rpm` and `tpm` of a key: the requests and tokens of one minute.
//!
//! A request counts when it is sent, and also when it fails. Its tokens are estimated then and corrected
//! with the provider's count when the answer ends, so `tpm` holds in the long run and not in every minute.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::state::{KeyState, Reason};
use super::window::Window;

/// The `rpm` and `tpm` of a key. Without a limit nothing is counted, and no lock is taken.
#[derive(Debug, Default)]
pub struct RateLimit {
    is_limited: AtomicBool,
    counters: Mutex<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    rpm: Option<u32>,
    tpm: Option<u32>,
    requests: Window,
    tokens: Window,
}

/// The requests and tokens of the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateUsage {
    /// Number of requests, if there is an `rpm`.
    pub requests: Option<u64>,
    /// Number of tokens, if there is a `tpm`.
    pub tokens: Option<u64>,
}

/// A request that was counted, with its estimated tokens.
#[derive(Debug)]
pub(super) struct RateReservation {
    rate_limit: Arc<RateLimit>,
    slot: u64,
    tokens: u64,
}

impl RateLimit {
    pub(super) fn new(rpm: Option<u32>, tpm: Option<u32>) -> Arc<Self> {
        let rate_limit = Arc::<Self>::default();
        rate_limit.set_limits(rpm, tpm);
        rate_limit
    }

    /// Changes the limits. The counts stay.
    pub(super) fn set_limits(&self, rpm: Option<u32>, tpm: Option<u32>) {
        let mut counters = self.lock();
        (counters.rpm, counters.tpm) = (rpm, tpm);
        self.is_limited.store(rpm.or(tpm).is_some(), Ordering::Relaxed);
    }

    /// Returns the state of the key for a request with this number of tokens.
    pub fn state(&self, tokens: u64, now: Instant) -> KeyState {
        if !self.is_limited() {
            return KeyState::Available;
        }
        self.lock().state(tokens, now)
    }

    /// Counts a request with this number of tokens. Without a limit nothing is counted. Fails if a limit
    /// would be exceeded.
    pub(super) fn reserve(
        self: &Arc<Self>,
        tokens: u64,
        now: Instant,
    ) -> Result<Option<RateReservation>, KeyState> {
        if !self.is_limited() {
            return Ok(None);
        }
        let mut counters = self.lock();
        let state = counters.state(tokens, now);
        if !state.is_usable() {
            return Err(state);
        }
        // A window without a limit stays empty.
        if counters.rpm.is_some() {
            counters.requests.add(1, now);
        }
        let limit = counters.tpm.map(u64::from);
        let tokens = limit.map_or(0, |limit| tokens.min(limit));
        let slot = if limit.is_some() { counters.tokens.add(tokens, now) } else { 0 };
        drop(counters);
        Ok(Some(RateReservation { rate_limit: self.clone(), slot, tokens }))
    }

    /// Returns the requests and tokens of the last minute.
    pub fn usage(&self, now: Instant) -> RateUsage {
        if !self.is_limited() {
            return RateUsage::default();
        }
        let mut counters = self.lock();
        let (rpm, tpm) = (counters.rpm, counters.tpm);
        RateUsage {
            requests: rpm.map(|_| counters.requests.used(now)),
            tokens: tpm.map(|_| counters.tokens.used(now)),
        }
    }

    fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }

    /// A panic elsewhere cannot leave the counters half changed, so a poisoned lock is used as it is.
    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    fn state(&mut self, tokens: u64, now: Instant) -> KeyState {
        let state = |reason, remaining: Duration| match remaining {
            Duration::ZERO => KeyState::Available,
            _ => KeyState::CoolingDown { reason, remaining },
        };
        let requests =
            self.rpm.map_or(Duration::ZERO, |rpm| self.requests.wait(1, rpm.into(), now));
        let tokens =
            self.tpm.map_or(Duration::ZERO, |tpm| self.tokens.wait(tokens, tpm.into(), now));
        state(Reason::RequestRate, requests).or_stricter(state(Reason::TokenRate, tokens))
    }
}

impl RateReservation {
    /// Replaces the estimated tokens with the provider's count.
    pub(super) fn correct_tokens(&mut self, tokens: u64) {
        self.rate_limit.lock().tokens.correct(self.slot, self.tokens, tokens);
        self.tokens = tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let (limit, now) = (RateLimit::new(None, None), Instant::now());
        assert!(limit.reserve(1_000_000, now).expect("no limit").is_none());
        assert_eq!(limit.usage(now), RateUsage::default());
    }

    #[test]
    fn requests_and_tokens_are_limited_separately() {
        let (limit, now) = (RateLimit::new(Some(2), Some(100)), Instant::now());
        limit.reserve(60, now).expect("below the limit");
        let reason = limit.reserve(60, now + S).expect_err("too many tokens").reason();
        assert_eq!(reason, Some(Reason::TokenRate));
        limit.reserve(40, now + S).expect("below the limit");
        let KeyState::CoolingDown { reason, remaining } = limit.state(0, now + S) else {
            panic!("no limit")
        };
        assert_eq!(reason, Reason::RequestRate);
        assert!((S * 59..=S * 60).contains(&remaining), "{remaining:?}");
        assert_eq!(limit.usage(now + S), RateUsage { requests: Some(2), tokens: Some(100) });
        assert!(limit.state(60, now + 61 * S).is_usable());
    }

    #[test]
    fn the_count_of_the_provider_replaces_the_estimate() {
        let (limit, now) = (RateLimit::new(None, Some(100)), Instant::now());
        let mut reservation = limit.reserve(10, now).expect("below the limit").expect("a limit");
        reservation.correct_tokens(150);
        assert_eq!(limit.usage(now).tokens, Some(150));
        assert!(!limit.state(0, now).is_usable(), "over the limit");
        reservation.correct_tokens(0);
        assert!(limit.state(100, now).is_usable());
        assert!(limit.state(100_000, now).is_usable(), "a request over the limit may go alone");
    }

    #[test]
    fn a_changed_limit_keeps_the_counts() {
        let (limit, now) = (RateLimit::new(Some(5), None), Instant::now());
        for _ in 0..3 {
            limit.reserve(1, now).expect("below the limit");
        }
        limit.set_limits(Some(3), None);
        assert!(limit.reserve(1, now).is_err());
        limit.set_limits(Some(4), None);
        assert!(limit.reserve(1, now).is_ok());
        limit.set_limits(None, None);
        assert!(limit.reserve(1, now).is_ok());
    }
}
