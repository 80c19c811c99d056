//! What providers have said is left of their own limits, per model. It steers the choice to another key
//! before the limit is met, and does no more: only a refusal leaves a key alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::failure::rate_limits::{Left, Quota};

/// Models that are remembered at once: callers choose their names.
const MODELS: usize = 256;
/// Longest name of a model that is remembered.
const NAME: usize = 512;

/// What is left of a key's limits at the provider, or of those that a `quota_group` shares. Without a word
/// from the provider, no lock is taken.
#[derive(Debug, Default)]
pub struct Learned {
    any: AtomicBool,
    models: Mutex<BTreeMap<Box<str>, Known>>,
}

/// What is known of the key with one model.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    requests: Option<Until>,
    tokens: Option<Until>,
    output: Option<Until>,
}

/// What is left until then.
#[derive(Clone, Copy, Debug)]
struct Until {
    remaining: u64,
    limit: Option<u64>,
    reset: Instant,
}

/// What is left of one limit, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The model that it is about.
    pub model: Box<str>,
    /// `requests`, `tokens` or `output_tokens`.
    pub of: &'static str,
    /// So much.
    pub remaining: u64,
    /// Of so much.
    pub limit: Option<u64>,
    /// Until the provider has more.
    pub reset: Duration,
}

impl Learned {
    /// Whether there is enough for a request of so many tokens, as far as is known.
    pub fn has(&self, model: &str, tokens: u64, now: Instant) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return true;
        }
        self.models().get(model).is_none_or(|known| {
            let enough = |of: Option<Until>, need: u64| {
                of.is_none_or(|left| left.reset <= now || left.remaining >= need)
            };
            enough(known.requests, 1)
                && enough(known.tokens, tokens.max(1))
                && enough(known.output, 1)
        })
    }

    /// A request of so many tokens is on its way. What the provider says when it answers counts for more.
    pub fn spend(&self, model: &str, tokens: u64) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        if let Some(known) = self.models().get_mut(model) {
            for (left, spent) in [(&mut known.requests, 1), (&mut known.tokens, tokens)] {
                if let Some(left) = left {
                    left.remaining = left.remaining.saturating_sub(spent);
                }
            }
        }
    }

    /// The provider has said what is left.
    pub fn learn(&self, model: &str, quota: Quota, now: Instant) {
        if model.is_empty() || model.len() > NAME {
            return;
        }
        let mut models = self.models();
        if !models.contains_key(model) && models.len() >= MODELS {
            models.retain(|_, known| known.over().is_some_and(|over| over > now));
            let soonest = models.iter().min_by_key(|(_, known)| known.over());
            let soonest = soonest.map(|(name, _)| name.clone());
            if let Some(name) = soonest.filter(|_| models.len() >= MODELS) {
                models.remove(&name);
            }
        }
        if !models.contains_key(model) {
            models.insert(model.into(), Known::default());
        }
        if let Some(known) = models.get_mut(model) {
            let Quota { requests, tokens, output } = quota;
            for (own, told) in [
                (&mut known.requests, requests),
                (&mut known.tokens, tokens),
                (&mut known.output, output),
            ] {
                if let Some(Left { remaining, limit, reset }) = told {
                    *own = Some(Until { remaining, limit, reset: now + reset });
                }
            }
        }
        self.any.store(true, Ordering::Relaxed);
    }

    /// All that is known and not over.
    pub fn told(&self, now: Instant) -> Vec<Rest> {
        if !self.any.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut all = Vec::new();
        for (model, known) in self.models().iter() {
            let Known { requests, tokens, output } = *known;
            for (of, left) in
                [("requests", requests), ("tokens", tokens), ("output_tokens", output)]
            {
                let Some(Until { remaining, limit, reset }) = left.filter(|left| left.reset > now)
                else {
                    continue;
                };
                let reset = reset.saturating_duration_since(now);
                all.push(Rest { model: model.clone(), of, remaining, limit, reset });
            }
        }
        all
    }

    /// What is known changes as a whole or not at all.
    fn models(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Known>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// When nothing of it counts any more.
    fn over(&self) -> Option<Instant> {
        [self.requests, self.tokens, self.output].into_iter().flatten().map(|left| left.reset).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn left(remaining: u64) -> Left {
        Left { remaining, limit: Some(100), reset: 10 * S }
    }

    fn of_requests(remaining: u64) -> Quota {
        Quota { requests: Some(left(remaining)), ..Quota::default() }
    }

    #[test]
    fn a_model_that_is_used_up_has_nothing_until_its_reset() {
        let (learned, now) = (Learned::default(), Instant::now());
        assert!(learned.has("m", 1, now));
        learned.learn("m", of_requests(0), now);
        assert!(!learned.has("m", 1, now + 9 * S));
        assert!(learned.has("another", 1, now));
        assert!(learned.has("m", 1, now + 10 * S));
        assert_eq!(learned.told(now + 10 * S), []);
    }

    #[test]
    fn tokens_are_held_against_what_a_request_needs() {
        let (learned, now) = (Learned::default(), Instant::now());
        learned.learn("m", Quota { tokens: Some(left(50)), ..Quota::default() }, now);
        assert!(learned.has("m", 50, now));
        assert!(!learned.has("m", 51, now));
        learned.learn("m", Quota { output: Some(left(0)), ..Quota::default() }, now);
        assert!(!learned.has("m", 1, now), "no answer is to be had");
        let told = learned.told(now + S);
        let rest =
            Rest { model: "m".into(), of: "tokens", remaining: 50, limit: Some(100), reset: 9 * S };
        assert_eq!((told.len(), &told[0]), (2, &rest));
    }

    #[test]
    fn what_is_on_its_way_is_taken_off_until_the_provider_says_more() {
        let (learned, now) = (Learned::default(), Instant::now());
        learned.spend("m", 1);
        learned.learn(
            "m",
            Quota { requests: Some(left(2)), tokens: Some(left(50)), output: None },
            now,
        );
        learned.spend("m", 30);
        assert!(learned.has("m", 20, now) && !learned.has("m", 21, now));
        learned.spend("m", 30);
        assert!(!learned.has("m", 0, now));
        learned.learn(
            "m",
            Quota { requests: Some(left(7)), tokens: Some(left(50)), output: None },
            now,
        );
        assert!(learned.has("m", 50, now));
    }

    #[test]
    fn so_many_models_and_no_more_are_remembered() {
        let (learned, now) = (Learned::default(), Instant::now());
        learned.learn(&"x".repeat(NAME + 1), of_requests(0), now);
        for number in 0..2 * MODELS {
            let at = now + S * u32::try_from(number).expect("few") / 1000;
            learned.learn(&format!("m{number}"), of_requests(0), at);
        }
        assert_eq!(learned.told(now).len(), MODELS);
        assert!(!learned.has(&format!("m{}", 2 * MODELS - 1), 1, now), "the latest is among them");
    }
}
