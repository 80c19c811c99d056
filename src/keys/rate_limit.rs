//! `rpm` and `tpm` of a key: what may go through in a minute.
//!
//! A request counts when it is sent, and also when it fails. Its tokens are estimated then and corrected
//! by what the provider has counted when its answer is over, so that `tpm` is kept in the long run and not
//! in every minute.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::state::{KeyState, Reason};
use super::window::Window;

/// Requests and tokens of a key; without a limit nothing is counted, and no lock is taken.
#[derive(Debug, Default)]
pub struct RateLimit {
    limited: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rpm: Option<u32>,
    tpm: Option<u32>,
    requests: Window,
    tokens: Window,
}

/// What of the last minute is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateUsage {
    /// Requests, where there is an `rpm`.
    pub requests: Option<u64>,
    /// Tokens, where there is a `tpm`.
    pub tokens: Option<u64>,
}

/// A request that counts.
#[derive(Debug)]
pub(super) struct RateReservation {
    rates: Arc<RateLimit>,
    slot: u64,
    tokens: u64,
}

impl RateLimit {
    pub(super) fn new(rpm: Option<u32>, tpm: Option<u32>) -> Arc<Self> {
        let rates = Arc::<Self>::default();
        rates.set_limits(rpm, tpm);
        rates
    }

    /// Puts other limits in force. What was counted stays counted.
    pub(super) fn set_limits(&self, rpm: Option<u32>, tpm: Option<u32>) {
        let mut state = self.lock();
        (state.rpm, state.tpm) = (rpm, tpm);
        self.limited.store(rpm.or(tpm).is_some(), Ordering::Relaxed);
    }

    /// Whether a request of so many tokens may go through.
    pub fn state(&self, tokens: u64, now: Instant) -> KeyState {
        if !self.is_limited() {
            return KeyState::Available;
        }
        self.lock().state(tokens, now)
    }

    /// Counts a request of so many tokens, if it may go through. Nothing is counted where nothing is
    /// limited.
    pub(super) fn reserve(
        self: &Arc<Self>,
        tokens: u64,
        now: Instant,
    ) -> Result<Option<RateReservation>, KeyState> {
        if !self.is_limited() {
            return Ok(None);
        }
        let mut state = self.lock();
        let standing = state.state(tokens, now);
        if !standing.is_usable() {
            return Err(standing);
        }
        // What has no limit is not kept.
        if state.rpm.is_some() {
            state.requests.add(1, now);
        }
        let limit = state.tpm.map(u64::from);
        let tokens = limit.map_or(0, |limit| tokens.min(limit));
        let slot = if limit.is_some() { state.tokens.add(tokens, now) } else { 0 };
        drop(state);
        Ok(Some(RateReservation { rates: self.clone(), slot, tokens }))
    }

    /// What of the last minute is used.
    pub fn usage(&self, now: Instant) -> RateUsage {
        if !self.is_limited() {
            return RateUsage::default();
        }
        let mut state = self.lock();
        let (rpm, tpm) = (state.rpm, state.tpm);
        RateUsage {
            requests: rpm.map(|_| state.requests.used(now)),
            tokens: tpm.map(|_| state.tokens.used(now)),
        }
    }

    fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// It changes as a whole or not at all.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn state(&mut self, tokens: u64, now: Instant) -> KeyState {
        let cooling = |why, left: Duration| {
            if left.is_zero() {
                KeyState::Available
            } else {
                KeyState::CoolingDown { reason: why, remaining: left }
            }
        };
        let requests =
            self.rpm.map_or(Duration::ZERO, |rpm| self.requests.wait(1, rpm.into(), now));
        let tokens =
            self.tpm.map_or(Duration::ZERO, |tpm| self.tokens.wait(tokens, tpm.into(), now));
        cooling(Reason::RequestRate, requests).and(cooling(Reason::TokenRate, tokens))
    }
}

impl RateReservation {
    /// The provider has counted so many tokens.
    pub(super) fn correct(&mut self, tokens: u64) {
        self.rates.lock().tokens.correct(self.slot, self.tokens, tokens);
        self.tokens = tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let (rates, now) = (RateLimit::new(None, None), Instant::now());
        assert!(rates.reserve(1_000_000, now).expect("no limit").is_none());
        assert_eq!(rates.usage(now), RateUsage::default());
    }

    #[test]
    fn requests_and_tokens_have_limits_of_their_own() {
        let (rates, now) = (RateLimit::new(Some(2), Some(100)), Instant::now());
        rates.reserve(60, now).expect("room");
        let why = rates.reserve(60, now + S).expect_err("too many tokens").reason();
        assert_eq!(why, Some(Reason::TokenRate));
        rates.reserve(40, now + S).expect("room");
        let KeyState::CoolingDown { reason: why, remaining: left } = rates.state(0, now + S) else {
            panic!("no limit")
        };
        assert_eq!(why, Reason::RequestRate);
        assert!((S * 59..=S * 60).contains(&left), "{left:?}");
        assert_eq!(rates.usage(now + S), RateUsage { requests: Some(2), tokens: Some(100) });
        assert!(rates.state(60, now + 61 * S).is_usable());
    }

    #[test]
    fn what_the_provider_has_counted_takes_the_place_of_the_estimate() {
        let (rates, now) = (RateLimit::new(None, Some(100)), Instant::now());
        let mut booking = rates.reserve(10, now).expect("room").expect("a limit");
        booking.correct(150);
        assert_eq!(rates.usage(now).tokens, Some(150));
        assert!(!rates.state(0, now).is_usable(), "more than there was");
        booking.correct(0);
        assert!(rates.state(100, now).is_usable());
        assert!(rates.state(100_000, now).is_usable(), "larger than any minute, alone it may go");
    }

    #[test]
    fn another_limit_takes_over_what_was_counted() {
        let (rates, now) = (RateLimit::new(Some(5), None), Instant::now());
        for _ in 0..3 {
            rates.reserve(1, now).expect("room");
        }
        rates.set_limits(Some(3), None);
        assert!(rates.reserve(1, now).is_err());
        rates.set_limits(Some(4), None);
        assert!(rates.reserve(1, now).is_ok());
        rates.set_limits(None, None);
        assert!(rates.reserve(1, now).is_ok());
    }
}
