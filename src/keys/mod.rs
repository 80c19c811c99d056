//! The keys of one provider while the program runs: which may serve a request, which it stays with,
//! whose turn it is, which are cooling down, and which are at a limit. Time is passed in.
//!
//! ```text
//! select.rs    whose turn it is
//! stay.rs      which key a request stays with
//! health.rs    what failures have made of a key; cooldown.rs: for how long
//! concurrency.rs   max_concurrent: places, and the lines for them
//! rates.rs     rpm and tpm; window.rs: a minute
//! quota.rs     what providers say is left
//! standing.rs  all of it together: whether a key can be asked
//! ```

mod affinity;
pub mod concurrency;
mod cooldown_policy;
mod health;
mod rate_limit;
mod reported_limits;
mod select;
mod state;
mod window;

use std::sync::Arc;
use std::time::Instant;

use crate::config::{Key, Provider};
use crate::share::Turns;
use crate::wire::failure::{Class, Failure};
use crate::wire::quota::Quota;

use concurrency::{ConcurrencyLimit, Permit};
use rate_limit::RateReservation;

pub use affinity::AffinityKeys;
pub use health::{Admission, Health, LastResult};
pub use rate_limit::{RateLimit, RateUsage};
pub use reported_limits::{ReportedLimit, ReportedLimits};
pub use select::{ClientScope, Ineligible, eligibility};
pub use state::{KeyState, LimitScope, Reason};

/// The keys of one provider with their live state.
#[derive(Debug)]
pub struct Pool {
    members: Vec<PooledKey>,
    turns: Arc<Turns>,
    made: Arc<affinity::SignatureOwners>,
    /// Those of the provider, over all keys.
    concurrency: Arc<ConcurrencyLimit>,
    /// Its `max_concurrent`.
    limit: Option<u32>,
}

/// A key and how it fares. What changes is shared with the pools before and after this one, as long as
/// the key is the same.
#[derive(Debug)]
pub struct PooledKey {
    /// The key as the file has it.
    pub key: Arc<Key>,
    /// What it has met.
    pub health: Arc<Health>,
    /// Requests under way.
    pub concurrency: Arc<ConcurrencyLimit>,
    /// Requests and tokens of the last minute.
    pub rate_limit: Arc<RateLimit>,
    /// What the provider says is left; shared with the keys of the same `quota_group`.
    pub reported_limits: Arc<ReportedLimits>,
    /// The same whatever else the file says.
    id: u64,
}

/// What a key is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct KeyRequest<'a> {
    /// Who asks.
    pub client: Option<&'a str>,
    /// What for.
    pub model: &'a str,
    /// How many tokens the request is thought to have.
    pub tokens: u64,
}

/// The keys a request has tried already, by place in the pool.
#[derive(Debug, Default)]
pub struct TriedKeys(Vec<usize>);

impl FromIterator<usize> for TriedKeys {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        Self(places.into_iter().collect())
    }
}

/// A key that a request may use.
#[derive(Debug)]
pub struct ChosenKey {
    /// Its place in the pool.
    pub index: usize,
    /// The leave to use it, to be handed back with what came of it.
    pub admission: Admission,
    /// What the request takes up there.
    pub reservation: KeyReservation,
}

/// What a request takes up of a key and its provider: a place at each until this is dropped, and its part
/// of what may go through in a minute.
#[derive(Debug)]
pub struct KeyReservation {
    _key: Permit,
    _provider: Permit,
    booking: Option<RateReservation>,
}

impl KeyReservation {
    /// The provider has counted so many tokens.
    pub fn correct_tokens(&mut self, tokens: u64) {
        if let Some(booking) = &mut self.booking {
            booking.correct(tokens);
        }
    }
}

impl PooledKey {
    /// A key of which nothing is known, with the limits that the file has for it.
    pub fn new(key: Arc<Key>) -> Self {
        Self {
            health: Arc::default(),
            concurrency: ConcurrencyLimit::new(key.max_concurrent),
            rate_limit: RateLimit::new(key.rpm, key.tpm),
            reported_limits: Arc::default(),
            id: affinity::id(&key),
            key,
        }
    }

    /// Whether the key can be asked for the model by a request of so many tokens.
    pub fn state(&self, model: &str, tokens: u64, now: Instant) -> KeyState {
        let own = self.health.state(model, now).and(self.rate_limit.state(tokens, now));
        if own.is_usable() && !self.concurrency.is_free() {
            KeyState::Busy(LimitScope::Key)
        } else {
            own
        }
    }

    /// Whether the two are limited together by the provider.
    fn is_of_group(&self, other: &Self) -> bool {
        self.key.quota_group.is_some() && self.key.quota_group == other.key.quota_group
    }
}

impl Pool {
    /// The pool of a provider. Keys that are the same as in `before` (provider, name, credential) keep
    /// what is known of them, the order of turns goes on, and what a key has sealed stays known. Their
    /// limits stay those of `before` until [`Pool::apply_limits`].
    pub fn new(provider: &Provider, before: Option<&Pool>) -> Self {
        let mut members: Vec<PooledKey> = Vec::with_capacity(provider.keys.len());
        for key in &provider.keys {
            let mut member = PooledKey::new(key.clone());
            if let Some(known) = before.and_then(|pool| pool.same(key)) {
                member.health = known.health.clone();
                member.concurrency = known.concurrency.clone();
                member.rate_limit = known.rate_limit.clone();
                if known.key.quota_group == key.quota_group {
                    member.reported_limits = known.reported_limits.clone();
                }
            }
            if let Some(first) = members.iter().find(|first| first.is_of_group(&member)) {
                member.reported_limits = first.reported_limits.clone();
            }
            members.push(member);
        }
        let limit = provider.max_concurrent;
        Self {
            members,
            turns: before.map_or_else(Arc::default, |pool| pool.turns.clone()),
            made: before.map_or_else(Arc::default, |pool| pool.made.clone()),
            concurrency: before
                .map_or_else(|| ConcurrencyLimit::new(limit), |pool| pool.concurrency.clone()),
            limit,
        }
    }

    /// Puts its own limits in force, also for requests that began with the pool before it.
    pub fn apply_limits(&self) {
        self.concurrency.set_limit(self.limit);
        for PooledKey { key, concurrency, rate_limit, .. } in &self.members {
            concurrency.set_limit(key.max_concurrent);
            rate_limit.set_limits(key.rpm, key.tpm);
        }
    }

    /// All keys, in the order of the file.
    pub fn keys(&self) -> &[PooledKey] {
        &self.members
    }

    /// The provider's own places.
    pub fn concurrency(&self) -> &Arc<ConcurrencyLimit> {
        &self.concurrency
    }

    /// The key for the next attempt, which from then on counts as tried. A place that was `given` to the
    /// request is used. `None`: all that may serve were tried or are left alone. What ties the request to
    /// a key is asked for where there is a choice.
    pub fn choose(
        &self,
        want: KeyRequest<'_>,
        tried: &mut TriedKeys,
        given: &mut Option<Permit>,
        now: Instant,
        ties: &dyn Fn() -> AffinityKeys,
    ) -> Option<ChosenKey> {
        let own =
            |member: &PooledKey| given.as_ref().is_some_and(|own| own.is_of(&member.concurrency));
        if let Some(place) = self.members.iter().position(own)
            && let Some(chosen) = self.choose_only(place, want, tried, given, now)
        {
            return Some(chosen);
        }
        if !self.is_free(given.as_ref()) {
            return None;
        }
        let (members, made) = (&self.members, &self.made);
        let home =
            |open: &[_]| affinity::preferred_key(members, made, open, &ties(), want.model, now);
        loop {
            let chosen = select::choose(members, want, &tried.0, &self.turns, now, &home);
            let place = chosen?;
            tried.0.push(place);
            // Another request may just have become its probe, or have taken its last place.
            if let Some(chosen) = self.admit(place, want, given, now) {
                return Some(chosen);
            }
        }
    }

    /// Notes that a key has made a seal: requests that bring it back go to that key.
    pub fn record_signature(&self, place: usize, seal: u64) {
        if let Some(member) = self.members.get(place) {
            self.made.note(seal, member.id);
        }
    }

    /// This key and no other, if it may serve, was not tried yet, and is not left alone.
    pub fn choose_only(
        &self,
        place: usize,
        want: KeyRequest<'_>,
        tried: &mut TriedKeys,
        given: &mut Option<Permit>,
        now: Instant,
    ) -> Option<ChosenKey> {
        let member = self.members.get(place).filter(|_| !tried.0.contains(&place))?;
        eligibility(&member.key, want.client, want.model).ok()?;
        tried.0.push(place);
        self.admit(place, want, given, now)
    }

    /// A key that may serve, once more, if it is not left alone.
    pub fn admit(
        &self,
        place: usize,
        want: KeyRequest<'_>,
        given: &mut Option<Permit>,
        now: Instant,
    ) -> Option<ChosenKey> {
        let member = self.members.get(place)?;
        // A probe that does not take place is told of to nobody, so what may be refused comes first.
        let (key, provider) = self.permits(member, given).ok()?;
        let pass = member.health.admit(want.model, now)?;
        let held = Self::booked(member, key, provider, want, now).ok()?;
        Some(ChosenKey { index: place, admission: pass, reservation: held })
    }

    /// What a request takes up at a key, whatever the key has met.
    pub fn reserve(
        &self,
        place: usize,
        want: KeyRequest<'_>,
        given: &mut Option<Permit>,
        now: Instant,
    ) -> Result<KeyReservation, KeyState> {
        let member = &self.members[place];
        let (key, provider) = self.permits(member, given)?;
        Self::booked(member, key, provider, want, now)
    }

    /// All keys that may serve, by place, with how they stand.
    pub fn eligible_keys(&self, want: KeyRequest<'_>, now: Instant) -> Vec<(usize, KeyState)> {
        let mut all = select::candidates(&self.members, want, now);
        if !self.concurrency.is_free() {
            for (_, standing) in all.iter_mut().filter(|(_, standing)| standing.is_usable()) {
                *standing = KeyState::Busy(LimitScope::Provider);
            }
        }
        all
    }

    /// The key has answered a request that began at that Unix time.
    pub fn record_success(&self, place: usize, model: &str, pass: Admission, began: u64) {
        self.members[place].health.record_success(model, pass, began);
    }

    /// A request to the key, which began at that Unix time, has failed. A limit of the account behind it
    /// is one of all keys of its `quota_group`.
    pub fn record_failure(
        &self,
        place: usize,
        model: &str,
        failure: Failure,
        pass: Admission,
        began: u64,
        now: Instant,
    ) {
        let member = &self.members[place];
        member.health.record_failure(model, failure, pass, began, now);
        if let Class::Throttled | Class::NoCredit = failure.class {
            let others = self.members.iter().enumerate().filter(|(at, _)| *at != place);
            for (_, other) in others.filter(|(_, other)| other.is_of_group(member)) {
                other.health.record_shared_failure(model, failure, now);
            }
        }
    }

    /// The provider has said what is left to the key.
    pub fn record_reported_limits(&self, place: usize, model: &str, quota: Quota, now: Instant) {
        self.members[place].reported_limits.update(model, quota, now);
    }

    fn is_free(&self, given: Option<&Permit>) -> bool {
        given.is_some_and(|given| given.is_of(&self.concurrency)) || self.concurrency.is_free()
    }

    /// A place at the key, and one at the provider.
    fn permits(
        &self,
        member: &PooledKey,
        given: &mut Option<Permit>,
    ) -> Result<(Permit, Permit), KeyState> {
        let mut take = |places: &Arc<ConcurrencyLimit>, whose| {
            given.take_if(|given| given.is_of(places)).or_else(|| places.try_acquire()).ok_or(whose)
        };
        let key = take(&member.concurrency, KeyState::Busy(LimitScope::Key))?;
        let provider = take(&self.concurrency, KeyState::Busy(LimitScope::Provider))?;
        Ok((key, provider))
    }

    fn booked(
        member: &PooledKey,
        key: Permit,
        provider: Permit,
        want: KeyRequest<'_>,
        now: Instant,
    ) -> Result<KeyReservation, KeyState> {
        let booking = member.rate_limit.reserve(want.tokens, now)?;
        member.reported_limits.spend(want.model, want.tokens);
        Ok(KeyReservation { _key: key, _provider: provider, booking })
    }

    fn same(&self, key: &Key) -> Option<&PooledKey> {
        self.members
            .iter()
            .find(|member| member.key.name == key.name && member.key.fingerprint == key.fingerprint)
    }
}
