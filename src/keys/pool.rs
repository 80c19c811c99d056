//! The pool of a provider: all its keys with their live state.

use std::sync::Arc;
use std::time::Instant;

use super::affinity::{self, AffinityKeys, SignatureOwners};
use super::concurrency::{ConcurrencyLimit, Permit};
use super::health::Admission;
use super::pooled_key::{KeyRequest, PooledKey};
use super::rate_limit::RateReservation;
use super::select;
use super::state::{KeyState, LimitScope};
use crate::config::{Key, Provider};
use crate::share::TurnCounter;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::failure::rate_limits::Quota;

/// The keys of one provider with their live state.
#[derive(Debug)]
pub struct Pool {
    keys: Vec<PooledKey>,
    turns: Arc<TurnCounter>,
    signature_owners: Arc<SignatureOwners>,
    /// The requests under way of the provider, over all keys.
    concurrency: Arc<ConcurrencyLimit>,
    /// The `max_concurrent` of the provider.
    max_concurrent: Option<u32>,
}

/// The keys that a request has tried, by index in the pool.
#[derive(Debug, Default)]
pub struct TriedKeys(Vec<usize>);

impl FromIterator<usize> for TriedKeys {
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> Self {
        Self(indices.into_iter().collect())
    }
}

/// A key that a request may use.
#[derive(Debug)]
pub struct ChosenKey {
    /// The index of the key in the pool.
    pub index: usize,
    /// The permission to use the key, to be handed back with the result.
    pub admission: Admission,
    /// The share of the key's limits that the request uses.
    pub reservation: KeyReservation,
}

/// The share of the limits of a key and its provider that one request uses: two permits until this is
/// dropped, and an entry in the rate limit.
#[derive(Debug)]
pub struct KeyReservation {
    _key_permit: Permit,
    _provider_permit: Permit,
    rate: Option<RateReservation>,
}

impl KeyReservation {
    /// Replaces the estimated tokens with the provider's count.
    pub fn correct_tokens(&mut self, tokens: u64) {
        if let Some(rate) = &mut self.rate {
            rate.correct_tokens(tokens);
        }
    }
}

impl Pool {
    /// Creates the pool of a provider. Keys that are the same as in `before` (provider, name, credential)
    /// keep their state; the turns and the owners of signatures are kept too. The limits of `before` stay
    /// active until [`Pool::apply_limits`].
    pub fn new(provider: &Provider, before: Option<&Pool>) -> Self {
        let mut keys: Vec<PooledKey> = Vec::with_capacity(provider.keys.len());
        for key in &provider.keys {
            let mut pooled = PooledKey::new(key.clone());
            if let Some(same) = before.and_then(|pool| pool.find_same(key)) {
                pooled.health = same.health.clone();
                pooled.concurrency = same.concurrency.clone();
                pooled.rate_limit = same.rate_limit.clone();
                if same.key.quota_group == key.quota_group {
                    pooled.reported_limits = same.reported_limits.clone();
                }
            }
            if let Some(first) = keys.iter().find(|first| first.shares_quota_with(&pooled)) {
                pooled.reported_limits = first.reported_limits.clone();
            }
            keys.push(pooled);
        }
        let max_concurrent = provider.max_concurrent;
        Self {
            keys,
            turns: before.map_or_else(Arc::default, |pool| pool.turns.clone()),
            signature_owners: before
                .map_or_else(Arc::default, |pool| pool.signature_owners.clone()),
            concurrency: before.map_or_else(
                || ConcurrencyLimit::new(max_concurrent),
                |pool| pool.concurrency.clone(),
            ),
            max_concurrent,
        }
    }

    /// Makes the limits of this pool active, also for requests that began with the pool before it.
    pub fn apply_limits(&self) {
        self.concurrency.set_limit(self.max_concurrent);
        for PooledKey { key, concurrency, rate_limit, .. } in &self.keys {
            concurrency.set_limit(key.max_concurrent);
            rate_limit.set_limits(key.rpm, key.tpm);
        }
    }

    /// Returns all keys, in the order of the file.
    pub fn keys(&self) -> &[PooledKey] {
        &self.keys
    }

    /// Returns the concurrency limit of the provider.
    pub fn concurrency(&self) -> &Arc<ConcurrencyLimit> {
        &self.concurrency
    }

    /// Chooses the key for the next attempt and adds it to `tried`. A permit in `granted`, for which the
    /// request has queued, is used first. `None` if all eligible keys were tried or are not usable.
    /// `affinity_keys` is called only if there is a choice between keys.
    pub fn choose(
        &self,
        request: KeyRequest<'_>,
        tried: &mut TriedKeys,
        granted: &mut Option<Permit>,
        now: Instant,
        affinity_keys: &dyn Fn() -> AffinityKeys,
    ) -> Option<ChosenKey> {
        let has_permit = |key: &PooledKey| {
            granted.as_ref().is_some_and(|permit| permit.belongs_to(&key.concurrency))
        };
        if let Some(index) = self.keys.iter().position(has_permit)
            && let Some(chosen) = self.choose_only(index, request, tried, granted, now)
        {
            return Some(chosen);
        }
        if !self.has_provider_permit(granted.as_ref()) {
            return None;
        }
        let (keys, owners) = (&self.keys, &self.signature_owners);
        let preferred = |usable: &[_]| {
            affinity::preferred_key(keys, owners, usable, &affinity_keys(), request.model, now)
        };
        loop {
            let index = select::choose(keys, request, &tried.0, &self.turns, now, &preferred)?;
            tried.0.push(index);
            // Another request may have started its probe or taken its last permit in the meantime.
            if let Some(chosen) = self.admit(index, request, granted, now) {
                return Some(chosen);
            }
        }
    }

    /// Chooses the key at this index if it is eligible, usable and not in `tried`.
    pub fn choose_only(
        &self,
        index: usize,
        request: KeyRequest<'_>,
        tried: &mut TriedKeys,
        granted: &mut Option<Permit>,
        now: Instant,
    ) -> Option<ChosenKey> {
        let key = self.keys.get(index).filter(|_| !tried.0.contains(&index))?;
        select::eligibility(&key.key, request.client, request.model).ok()?;
        tried.0.push(index);
        self.admit(index, request, granted, now)
    }

    /// Chooses the key at this index if it is usable, whether it was tried or not. The caller has checked
    /// that it is eligible.
    pub fn admit(
        &self,
        index: usize,
        request: KeyRequest<'_>,
        granted: &mut Option<Permit>,
        now: Instant,
    ) -> Option<ChosenKey> {
        let key = self.keys.get(index)?;
        // Permits first: nobody is notified when an admitted probe is dropped because there is no permit.
        let (key_permit, provider_permit) = self.acquire_permits(key, granted).ok()?;
        let admission = key.health.admit(request.model, now)?;
        let reservation =
            Self::reserve_rate(key, key_permit, provider_permit, request, now).ok()?;
        Some(ChosenKey { index, admission, reservation })
    }

    /// Reserves a share of the limits of the key at this index, whatever its cooldowns.
    pub fn reserve(
        &self,
        index: usize,
        request: KeyRequest<'_>,
        granted: &mut Option<Permit>,
        now: Instant,
    ) -> Result<KeyReservation, KeyState> {
        let key = &self.keys[index];
        let (key_permit, provider_permit) = self.acquire_permits(key, granted)?;
        Self::reserve_rate(key, key_permit, provider_permit, request, now)
    }

    /// Returns the eligible keys, by index, with their states.
    pub fn eligible_keys(&self, request: KeyRequest<'_>, now: Instant) -> Vec<(usize, KeyState)> {
        let mut eligible = select::eligible_keys(&self.keys, request, now);
        if !self.concurrency.is_free() {
            for (_, state) in eligible.iter_mut().filter(|(_, state)| state.is_usable()) {
                *state = KeyState::Busy(LimitScope::Provider);
            }
        }
        eligible
    }

    /// Records the success of a request with the key. The request began at this Unix time.
    pub fn record_success(&self, index: usize, model: &str, admission: Admission, began: u64) {
        self.keys[index].health.record_success(model, admission, began);
    }

    /// Records the failure of a request with the key. The request began at this Unix time. A limit of the
    /// account applies to all keys of the `quota_group`.
    pub fn record_failure(
        &self,
        index: usize,
        model: &str,
        failure: Failure,
        admission: Admission,
        began: u64,
        now: Instant,
    ) {
        let key = &self.keys[index];
        key.health.record_failure(model, failure, admission, began, now);
        if let Class::Throttled | Class::NoCredit = failure.class {
            let others = self.keys.iter().enumerate().filter(|(other, _)| *other != index);
            for (_, other) in others.filter(|(_, other)| other.shares_quota_with(key)) {
                other.health.record_shared_failure(model, failure, now);
            }
        }
    }

    /// Records the rate limits that the provider reports for the key.
    pub fn record_reported_limits(&self, index: usize, model: &str, report: Quota, now: Instant) {
        self.keys[index].reported_limits.update(model, report, now);
    }

    /// Records that the key has made a signature: requests that contain it go to this key.
    pub fn record_signature(&self, index: usize, signature: u64) {
        if let Some(key) = self.keys.get(index) {
            self.signature_owners.insert(signature, key.id);
        }
    }

    fn has_provider_permit(&self, granted: Option<&Permit>) -> bool {
        granted.is_some_and(|permit| permit.belongs_to(&self.concurrency))
            || self.concurrency.is_free()
    }

    /// Acquires a permit of the key and one of the provider.
    fn acquire_permits(
        &self,
        key: &PooledKey,
        granted: &mut Option<Permit>,
    ) -> Result<(Permit, Permit), KeyState> {
        let mut acquire = |limit: &Arc<ConcurrencyLimit>, scope| {
            granted
                .take_if(|permit| permit.belongs_to(limit))
                .or_else(|| limit.try_acquire())
                .ok_or(KeyState::Busy(scope))
        };
        Ok((
            acquire(&key.concurrency, LimitScope::Key)?,
            acquire(&self.concurrency, LimitScope::Provider)?,
        ))
    }

    fn reserve_rate(
        key: &PooledKey,
        key_permit: Permit,
        provider_permit: Permit,
        request: KeyRequest<'_>,
        now: Instant,
    ) -> Result<KeyReservation, KeyState> {
        let rate = key.rate_limit.reserve(request.tokens, now)?;
        key.reported_limits.subtract(request.model, request.tokens);
        Ok(KeyReservation { _key_permit: key_permit, _provider_permit: provider_permit, rate })
    }

    fn find_same(&self, key: &Key) -> Option<&PooledKey> {
        self.keys
            .iter()
            .find(|own| own.key.name == key.name && own.key.fingerprint == key.fingerprint)
    }
}
