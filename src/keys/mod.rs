//! The keys of one provider while the program runs: which may serve a request, which it stays with,
//! whose turn it is, which are cooling down, and which are at a limit. Time is passed in.
//!
//! ```text
//! select.rs    whose turn it is
//! stay.rs      which key a request stays with
//! health.rs    what failures have made of a key; cooldown.rs: for how long
//! places.rs    max_concurrent: places, and the lines for them
//! rates.rs     rpm and tpm; window.rs: a minute
//! quota.rs     what providers say is left
//! standing.rs  all of it together: whether a key can be asked
//! ```

mod cooldown;
mod health;
pub mod places;
mod quota;
mod rates;
mod select;
mod standing;
mod stay;
mod window;

use std::sync::Arc;
use std::time::Instant;

use crate::config::{Key, Provider};
use crate::share::TurnCounter;
use crate::wire::failure::{Class, Failure};
use crate::wire::quota::Quota;

use places::{Permit, Places};
use rates::Booking;

pub use health::{Health, Pass, Seen};
pub use quota::{Learned, Rest};
pub use rates::{Rates, Used};
pub use select::{Out, Scope, verdict};
pub use standing::{Reason, Standing, Whose};
pub use stay::Ties;

/// The keys of one provider with their live state.
#[derive(Debug)]
pub struct Pool {
    members: Vec<Member>,
    turns: Arc<TurnCounter>,
    made: Arc<stay::Made>,
    /// Those of the provider, over all keys.
    places: Arc<Places>,
    /// Its `max_concurrent`.
    limit: Option<u32>,
}

/// A key and how it fares. What changes is shared with the pools before and after this one, as long as
/// the key is the same.
#[derive(Debug)]
pub struct Member {
    /// The key as the file has it.
    pub key: Arc<Key>,
    /// What it has met.
    pub health: Arc<Health>,
    /// Requests under way.
    pub places: Arc<Places>,
    /// Requests and tokens of the last minute.
    pub rates: Arc<Rates>,
    /// What the provider says is left; shared with the keys of the same `quota_group`.
    pub learned: Arc<Learned>,
    /// The same whatever else the file says.
    id: u64,
}

/// What a key is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// Who asks.
    pub client: Option<&'a str>,
    /// What for.
    pub model: &'a str,
    /// How many tokens the request is thought to have.
    pub tokens: u64,
}

/// The keys a request has tried already, by place in the pool.
#[derive(Debug, Default)]
pub struct Tried(Vec<usize>);

impl FromIterator<usize> for Tried {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        Self(places.into_iter().collect())
    }
}

/// A key that a request may use.
#[derive(Debug)]
pub struct Chosen {
    /// Its place in the pool.
    pub place: usize,
    /// The leave to use it, to be handed back with what came of it.
    pub pass: Pass,
    /// What the request takes up there.
    pub held: Held,
}

/// What a request takes up of a key and its provider: a place at each until this is dropped, and its part
/// of what may go through in a minute.
#[derive(Debug)]
pub struct Held {
    _key: Permit,
    _provider: Permit,
    booking: Option<Booking>,
}

impl Held {
    /// The provider has counted so many tokens.
    pub fn counted(&mut self, tokens: u64) {
        if let Some(booking) = &mut self.booking {
            booking.correct(tokens);
        }
    }
}

impl Member {
    /// A key of which nothing is known, with the limits that the file has for it.
    pub fn new(key: Arc<Key>) -> Self {
        Self {
            health: Arc::default(),
            places: Places::new(key.max_concurrent),
            rates: Rates::new(key.rpm, key.tpm),
            learned: Arc::default(),
            id: stay::id(&key),
            key,
        }
    }

    /// Whether the key can be asked for the model by a request of so many tokens.
    pub fn standing(&self, model: &str, tokens: u64, now: Instant) -> Standing {
        let own = self.health.standing(model, now).and(self.rates.standing(tokens, now));
        if own.is_open() && !self.places.is_free() { Standing::Busy(Whose::Key) } else { own }
    }

    /// Whether the two are limited together by the provider.
    fn is_of_group(&self, other: &Self) -> bool {
        self.key.quota_group.is_some() && self.key.quota_group == other.key.quota_group
    }
}

impl Pool {
    /// The pool of a provider. Keys that are the same as in `before` (provider, name, credential) keep
    /// what is known of them, the order of turns goes on, and what a key has sealed stays known. Their
    /// limits stay those of `before` until [`Pool::enforce`].
    pub fn new(provider: &Provider, before: Option<&Pool>) -> Self {
        let mut members: Vec<Member> = Vec::with_capacity(provider.keys.len());
        for key in &provider.keys {
            let mut member = Member::new(key.clone());
            if let Some(known) = before.and_then(|pool| pool.same(key)) {
                member.health = known.health.clone();
                member.places = known.places.clone();
                member.rates = known.rates.clone();
                if known.key.quota_group == key.quota_group {
                    member.learned = known.learned.clone();
                }
            }
            if let Some(first) = members.iter().find(|first| first.is_of_group(&member)) {
                member.learned = first.learned.clone();
            }
            members.push(member);
        }
        let limit = provider.max_concurrent;
        Self {
            members,
            turns: before.map_or_else(Arc::default, |pool| pool.turns.clone()),
            made: before.map_or_else(Arc::default, |pool| pool.made.clone()),
            places: before.map_or_else(|| Places::new(limit), |pool| pool.places.clone()),
            limit,
        }
    }

    /// Puts its own limits in force, also for requests that began with the pool before it.
    pub fn enforce(&self) {
        self.places.limit_to(self.limit);
        for Member { key, places, rates, .. } in &self.members {
            places.limit_to(key.max_concurrent);
            rates.limit_to(key.rpm, key.tpm);
        }
    }

    /// All keys, in the order of the file.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The provider's own places.
    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// The key for the next attempt, which from then on counts as tried. A place that was `given` to the
    /// request is used. `None`: all that may serve were tried or are left alone. What ties the request to
    /// a key is asked for where there is a choice.
    pub fn choose(
        &self,
        want: Want<'_>,
        tried: &mut Tried,
        given: &mut Option<Permit>,
        now: Instant,
        ties: &dyn Fn() -> Ties,
    ) -> Option<Chosen> {
        let own = |member: &Member| given.as_ref().is_some_and(|own| own.is_of(&member.places));
        if let Some(place) = self.members.iter().position(own)
            && let Some(chosen) = self.this(place, want, tried, given, now)
        {
            return Some(chosen);
        }
        if !self.is_free(given.as_ref()) {
            return None;
        }
        let (members, made) = (&self.members, &self.made);
        let home = |open: &[_]| stay::home(members, made, open, &ties(), want.model, now);
        loop {
            let chosen = select::choose(members, want, &tried.0, &self.turns, now, &home);
            let place = chosen?;
            tried.0.push(place);
            // Another request may just have become its probe, or have taken its last place.
            if let Some(chosen) = self.again(place, want, given, now) {
                return Some(chosen);
            }
        }
    }

    /// Notes that a key has made a seal: requests that bring it back go to that key.
    pub fn sealed(&self, place: usize, seal: u64) {
        if let Some(member) = self.members.get(place) {
            self.made.note(seal, member.id);
        }
    }

    /// This key and no other, if it may serve, was not tried yet, and is not left alone.
    pub fn this(
        &self,
        place: usize,
        want: Want<'_>,
        tried: &mut Tried,
        given: &mut Option<Permit>,
        now: Instant,
    ) -> Option<Chosen> {
        let member = self.members.get(place).filter(|_| !tried.0.contains(&place))?;
        verdict(&member.key, want.client, want.model).ok()?;
        tried.0.push(place);
        self.again(place, want, given, now)
    }

    /// A key that may serve, once more, if it is not left alone.
    pub fn again(
        &self,
        place: usize,
        want: Want<'_>,
        given: &mut Option<Permit>,
        now: Instant,
    ) -> Option<Chosen> {
        let member = self.members.get(place)?;
        // A probe that does not take place is told of to nobody, so what may be refused comes first.
        let (key, provider) = self.permits(member, given).ok()?;
        let pass = member.health.admit(want.model, now)?;
        let held = Self::booked(member, key, provider, want, now).ok()?;
        Some(Chosen { place, pass, held })
    }

    /// What a request takes up at a key, whatever the key has met.
    pub fn hold(
        &self,
        place: usize,
        want: Want<'_>,
        given: &mut Option<Permit>,
        now: Instant,
    ) -> Result<Held, Standing> {
        let member = &self.members[place];
        let (key, provider) = self.permits(member, given)?;
        Self::booked(member, key, provider, want, now)
    }

    /// All keys that may serve, by place, with how they stand.
    pub fn standings(&self, want: Want<'_>, now: Instant) -> Vec<(usize, Standing)> {
        let mut all = select::candidates(&self.members, want, now);
        if !self.places.is_free() {
            for (_, standing) in all.iter_mut().filter(|(_, standing)| standing.is_open()) {
                *standing = Standing::Busy(Whose::Provider);
            }
        }
        all
    }

    /// The key has answered a request that began at that Unix time.
    pub fn answered(&self, place: usize, model: &str, pass: Pass, began: u64) {
        self.members[place].health.answered(model, pass, began);
    }

    /// A request to the key, which began at that Unix time, has failed. A limit of the account behind it
    /// is one of all keys of its `quota_group`.
    pub fn failed(
        &self,
        place: usize,
        model: &str,
        failure: Failure,
        pass: Pass,
        began: u64,
        now: Instant,
    ) {
        let member = &self.members[place];
        member.health.failed(model, failure, pass, began, now);
        if let Class::Throttled | Class::NoCredit = failure.class {
            let others = self.members.iter().enumerate().filter(|(at, _)| *at != place);
            for (_, other) in others.filter(|(_, other)| other.is_of_group(member)) {
                other.health.shares(model, failure, now);
            }
        }
    }

    /// The provider has said what is left to the key.
    pub fn learn(&self, place: usize, model: &str, quota: Quota, now: Instant) {
        self.members[place].learned.learn(model, quota, now);
    }

    fn is_free(&self, given: Option<&Permit>) -> bool {
        given.is_some_and(|given| given.is_of(&self.places)) || self.places.is_free()
    }

    /// A place at the key, and one at the provider.
    fn permits(
        &self,
        member: &Member,
        given: &mut Option<Permit>,
    ) -> Result<(Permit, Permit), Standing> {
        let mut take = |places: &Arc<Places>, whose| {
            given.take_if(|given| given.is_of(places)).or_else(|| places.take()).ok_or(whose)
        };
        let key = take(&member.places, Standing::Busy(Whose::Key))?;
        let provider = take(&self.places, Standing::Busy(Whose::Provider))?;
        Ok((key, provider))
    }

    fn booked(
        member: &Member,
        key: Permit,
        provider: Permit,
        want: Want<'_>,
        now: Instant,
    ) -> Result<Held, Standing> {
        let booking = member.rates.book(want.tokens, now)?;
        member.learned.spend(want.model, want.tokens);
        Ok(Held { _key: key, _provider: provider, booking })
    }

    fn same(&self, key: &Key) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.key.name == key.name && member.key.fingerprint == key.fingerprint)
    }
}
