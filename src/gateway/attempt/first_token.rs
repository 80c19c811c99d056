//! `first_token`: an attempt whose first token is late makes way for another one, while there is another.
//!
//! A slow model is slow with every key, so the route's other targets and its fallbacks come first, then the other
//! keys of the slow targets. The last attempt keeps the time that `first_byte` allows. When all others fail, the
//! slow keys are tried once more without the timeout, since a late response is better than none. A key's state
//! never suffers from it.

use std::time::Duration;

use tokio::time::Instant;

use super::history::KeyAttempt;
use crate::route::Target;

/// The state of the first-token timeout of one request.
#[derive(Debug)]
pub(super) struct FirstTokenTimeout {
    timeout: Option<Duration>,
    /// The keys that were too slow.
    slow: Vec<KeyAttempt>,
    round: Round,
}

#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// Targets where a key was slow are deferred.
    OtherTargets,
    /// The other keys of the slow targets are tried.
    OtherKeys,
    /// The slow keys are tried again, without the timeout.
    WithoutTimeout,
}

impl FirstTokenTimeout {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, slow: Vec::new(), round: Round::OtherTargets }
    }

    /// Returns true if the target is left for a later round.
    pub(super) fn is_deferred(&self, target: Target<'_>) -> bool {
        self.round == Round::OtherTargets && self.slow.iter().any(|slow| slow.is_at(target))
    }

    /// Returns when an attempt that began at `began` must have its first token.
    pub(super) fn due(&self, began: Instant) -> Option<Instant> {
        let timeout = self.timeout.filter(|_| self.round != Round::WithoutTimeout);
        timeout.map(|timeout| began + timeout)
    }

    /// Records a key whose first token was late.
    pub(super) fn add_slow(&mut self, attempt: KeyAttempt) {
        self.slow.push(attempt);
    }

    /// Starts the next round after all targets were tried. Returns the keys that may be tried again in it, or
    /// `None` if there is no further round.
    pub(super) fn next_round(&mut self) -> Option<&[KeyAttempt]> {
        if self.slow.is_empty() {
            return None;
        }
        match self.round {
            Round::OtherTargets => {
                self.round = Round::OtherKeys;
                Some(&[])
            }
            Round::OtherKeys => {
                self.round = Round::WithoutTimeout;
                Some(&self.slow)
            }
            Round::WithoutTimeout => None,
        }
    }
}
