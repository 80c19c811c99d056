//! The remaining rate limits that providers report, per model. They steer the choice to another key before
//! a limit is reached, and no more: only a refused request starts a cooldown.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::failure::rate_limits::{Left, Quota};

/// Highest number of models with a record. A limit is needed because callers choose the names.
const MAX_MODELS: usize = 256;
/// Longest model name that gets a record.
const MAX_MODEL_NAME: usize = 512;

/// The rate limits that the provider reports for a key, or for all keys of a `quota_group`. Before the
/// first report no lock is taken.
#[derive(Debug, Default)]
pub struct ReportedLimits {
    has_reports: AtomicBool,
    models: Mutex<BTreeMap<Box<str>, ModelLimits>>,
}

/// The latest report for one model.
#[derive(Clone, Copy, Debug, Default)]
struct ModelLimits {
    requests: Option<Remaining>,
    tokens: Option<Remaining>,
    output: Option<Remaining>,
}

/// The remaining amount of one limit until its reset.
#[derive(Clone, Copy, Debug)]
struct Remaining {
    amount: u64,
    limit: Option<u64>,
    reset: Instant,
}

/// One reported limit, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedLimit {
    /// The model that it applies to.
    pub model: Box<str>,
    /// `requests`, `tokens` or `output_tokens`.
    pub kind: &'static str,
    /// The amount that is left.
    pub remaining: u64,
    /// The full amount.
    pub limit: Option<u64>,
    /// Time until the provider resets the limit.
    pub reset: Duration,
}

impl ReportedLimits {
    /// Returns false if the latest report leaves too little for a request with this number of tokens.
    pub fn allow(&self, model: &str, tokens: u64, now: Instant) -> bool {
        if !self.has_reports.load(Ordering::Relaxed) {
            return true;
        }
        self.lock().get(model).is_none_or(|limits| {
            let is_enough = |remaining: Option<Remaining>, needed: u64| {
                remaining.is_none_or(|left| left.reset <= now || left.amount >= needed)
            };
            is_enough(limits.requests, 1)
                && is_enough(limits.tokens, tokens.max(1))
                && is_enough(limits.output, 1)
        })
    }

    /// Subtracts a request that is being sent. The next report replaces the result.
    pub fn subtract(&self, model: &str, tokens: u64) {
        if !self.has_reports.load(Ordering::Relaxed) {
            return;
        }
        if let Some(limits) = self.lock().get_mut(model) {
            for (remaining, used) in [(&mut limits.requests, 1), (&mut limits.tokens, tokens)] {
                if let Some(remaining) = remaining {
                    remaining.amount = remaining.amount.saturating_sub(used);
                }
            }
        }
    }

    /// Stores a report of the provider.
    pub fn update(&self, model: &str, report: Quota, now: Instant) {
        if model.is_empty() || model.len() > MAX_MODEL_NAME {
            return;
        }
        let mut models = self.lock();
        if !models.contains_key(model) {
            if models.len() >= MAX_MODELS {
                make_room(&mut models, now);
            }
            models.insert(model.into(), ModelLimits::default());
        }
        if let Some(limits) = models.get_mut(model) {
            let Quota { requests, tokens, output } = report;
            for (stored, reported) in [
                (&mut limits.requests, requests),
                (&mut limits.tokens, tokens),
                (&mut limits.output, output),
            ] {
                if let Some(Left { remaining, limit, reset }) = reported {
                    *stored = Some(Remaining { amount: remaining, limit, reset: now + reset });
                }
            }
        }
        self.has_reports.store(true, Ordering::Relaxed);
    }

    /// Returns all limits whose reset is still to come.
    pub fn current(&self, now: Instant) -> Vec<ReportedLimit> {
        if !self.has_reports.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut all = Vec::new();
        for (model, limits) in self.lock().iter() {
            let ModelLimits { requests, tokens, output } = *limits;
            for (kind, remaining) in
                [("requests", requests), ("tokens", tokens), ("output_tokens", output)]
            {
                let Some(remaining) = remaining.filter(|remaining| remaining.reset > now) else {
                    continue;
                };
                let Remaining { amount, limit, reset } = remaining;
                all.push(ReportedLimit {
                    model: model.clone(),
                    kind,
                    remaining: amount,
                    limit,
                    reset: reset.saturating_duration_since(now),
                });
            }
        }
        all
    }

    /// A panic elsewhere cannot leave a record half changed, so a poisoned lock is used as it is.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, ModelLimits>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the models whose limits were all reset, or else the one that is reset first.
fn make_room(models: &mut BTreeMap<Box<str>, ModelLimits>, now: Instant) {
    models.retain(|_, limits| limits.last_reset().is_some_and(|reset| reset > now));
    if models.len() >= MAX_MODELS {
        let first = models.iter().min_by_key(|(_, limits)| limits.last_reset());
        if let Some(name) = first.map(|(name, _)| name.clone()) {
            models.remove(&name);
        }
    }
}

impl ModelLimits {
    /// Returns when the last of the limits is reset.
    fn last_reset(&self) -> Option<Instant> {
        let all = [self.requests, self.tokens, self.output];
        all.into_iter().flatten().map(|remaining| remaining.reset).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn left(remaining: u64) -> Left {
        Left { remaining, limit: Some(100), reset: 10 * S }
    }

    fn requests_left(remaining: u64) -> Quota {
        Quota { requests: Some(left(remaining)), ..Quota::default() }
    }

    #[test]
    fn an_exhausted_model_allows_nothing_until_its_reset() {
        let (limits, now) = (ReportedLimits::default(), Instant::now());
        assert!(limits.allow("m", 1, now));
        limits.update("m", requests_left(0), now);
        assert!(!limits.allow("m", 1, now + 9 * S));
        assert!(limits.allow("another", 1, now));
        assert!(limits.allow("m", 1, now + 10 * S));
        assert_eq!(limits.current(now + 10 * S), []);
    }

    #[test]
    fn remaining_tokens_are_compared_with_the_tokens_of_the_request() {
        let (limits, now) = (ReportedLimits::default(), Instant::now());
        limits.update("m", Quota { tokens: Some(left(50)), ..Quota::default() }, now);
        assert!(limits.allow("m", 50, now));
        assert!(!limits.allow("m", 51, now));
        limits.update("m", Quota { output: Some(left(0)), ..Quota::default() }, now);
        assert!(!limits.allow("m", 1, now), "no output tokens left");
        let current = limits.current(now + S);
        let expected = ReportedLimit {
            model: "m".into(),
            kind: "tokens",
            remaining: 50,
            limit: Some(100),
            reset: 9 * S,
        };
        assert_eq!((current.len(), &current[0]), (2, &expected));
    }

    #[test]
    fn requests_under_way_are_subtracted_until_the_next_report() {
        let (limits, now) = (ReportedLimits::default(), Instant::now());
        limits.subtract("m", 1);
        limits.update(
            "m",
            Quota { requests: Some(left(2)), tokens: Some(left(50)), output: None },
            now,
        );
        limits.subtract("m", 30);
        assert!(limits.allow("m", 20, now) && !limits.allow("m", 21, now));
        limits.subtract("m", 30);
        assert!(!limits.allow("m", 0, now));
        limits.update(
            "m",
            Quota { requests: Some(left(7)), tokens: Some(left(50)), output: None },
            now,
        );
        assert!(limits.allow("m", 50, now));
    }

    #[test]
    fn the_number_of_models_is_bounded() {
        let (limits, now) = (ReportedLimits::default(), Instant::now());
        limits.update(&"x".repeat(MAX_MODEL_NAME + 1), requests_left(0), now);
        for number in 0..2 * MAX_MODELS {
            let at = now + S * u32::try_from(number).expect("few") / 1000;
            limits.update(&format!("m{number}"), requests_left(0), at);
        }
        assert_eq!(limits.current(now).len(), MAX_MODELS);
        assert!(!limits.allow(&format!("m{}", 2 * MAX_MODELS - 1), 1, now), "the latest is kept");
    }
}
