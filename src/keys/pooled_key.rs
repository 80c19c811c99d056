//! A key of a pool with its live state.

use std::sync::Arc;
use std::time::Instant;

use super::concurrency::ConcurrencyLimit;
use super::health::Health;
use super::rate_limit::RateLimit;
use super::reported_limits::ReportedLimits;
use super::state::{KeyState, LimitScope};
use crate::config::Key;
use crate::wire::json::digest::Digest;

/// A key with its live state. The pools before and after a reload share the state of a key that is the
/// same in both.
#[derive(Debug)]
pub struct PooledKey {
    /// The configuration of the key.
    pub key: Arc<Key>,
    /// Its failures and cooldowns.
    pub health: Arc<Health>,
    /// Its `max_concurrent`, and the requests under way.
    pub concurrency: Arc<ConcurrencyLimit>,
    /// Its `rpm` and `tpm`, and the usage of the last minute.
    pub rate_limit: Arc<RateLimit>,
    /// The limits that the provider reports; shared by the keys of a `quota_group`.
    pub reported_limits: Arc<ReportedLimits>,
    /// A digest of the provider's and the key's name: the same in every configuration and process.
    pub(super) id: u64,
}

/// A request that needs a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyRequest<'a> {
    /// The name of the client.
    pub client: Option<&'a str>,
    /// The requested model.
    pub model: &'a str,
    /// The estimated number of tokens of the request.
    pub tokens: u64,
}

impl PooledKey {
    /// Creates a key without any history, with the limits of its configuration.
    pub fn new(key: Arc<Key>) -> Self {
        let id = Digest::default().text(key.provider.as_bytes()).text(key.name.as_bytes()).finish();
        Self {
            health: Arc::default(),
            concurrency: ConcurrencyLimit::new(key.max_concurrent),
            rate_limit: RateLimit::new(key.rpm, key.tpm),
            reported_limits: Arc::default(),
            id,
            key,
        }
    }

    /// Returns the state of the key for a request with this model and number of tokens.
    pub fn state(&self, model: &str, tokens: u64, now: Instant) -> KeyState {
        let state = self.health.state(model, now).or_stricter(self.rate_limit.state(tokens, now));
        if state.is_usable() && !self.concurrency.is_free() {
            KeyState::Busy(LimitScope::Key)
        } else {
            state
        }
    }

    /// Returns true if both keys are in the same `quota_group`, so the provider limits them together.
    pub(super) fn shares_quota_with(&self, other: &Self) -> bool {
        self.key.quota_group.is_some() && self.key.quota_group == other.key.quota_group
    }
}
