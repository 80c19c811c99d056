//! The keys of one provider while the program runs: which may serve a request, which it stays
//! with, whose turn it is, and which are cooling down. Time is passed in.

mod cooldown;
mod health;
mod select;
mod stay;

use std::sync::Arc;
use std::time::Instant;

use crate::config::{Key, Provider};
use crate::share::Turns;

pub use health::{Health, Pass, Seen, Standing};
pub use select::{Out, Scope, verdict};
pub use stay::Ties;

/// The keys of one provider with their live state.
#[derive(Debug)]
pub struct Pool {
    members: Vec<Member>,
    turns: Arc<Turns>,
    made: Arc<stay::Made>,
}

/// A key and how it fares.
#[derive(Debug)]
pub struct Member {
    /// The key as the file has it.
    pub key: Arc<Key>,
    /// Shared with the pools before and after this one, as long as the key is the same.
    pub health: Arc<Health>,
    /// The same whatever else the file says.
    id: u64,
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
}

impl Pool {
    /// The pool of a provider. Keys that are the same as in `before` (provider, name, credential) keep
    /// their health, the order of turns goes on, and what a key has sealed stays known.
    pub fn new(provider: &Provider, before: Option<&Pool>) -> Self {
        let member = |key: &Arc<Key>| {
            let known = before.and_then(|pool| pool.same(key));
            Member {
                id: stay::id(key),
                key: key.clone(),
                health: known.map_or_else(Arc::default, |known| known.health.clone()),
            }
        };
        Self {
            members: provider.keys.iter().map(member).collect(),
            turns: before.map_or_else(Arc::default, |pool| pool.turns.clone()),
            made: before.map_or_else(Arc::default, |pool| pool.made.clone()),
        }
    }

    /// All keys, in the order of the file.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The key for the next attempt, which from then on counts as tried. `None`: all that may serve were
    /// tried or are left alone. What ties the request to a key is asked for where there is a choice.
    pub fn choose(
        &self,
        client: Option<&str>,
        model: &str,
        tried: &mut Tried,
        now: Instant,
        ties: &dyn Fn() -> Ties,
    ) -> Option<Chosen> {
        let home = |open: &[_]| stay::home(&self.members, &self.made, open, &ties());
        loop {
            let (members, turns) = (&self.members, &self.turns);
            let chosen = select::choose(members, client, model, &tried.0, turns, now, &home);
            let place = chosen?;
            tried.0.push(place);
            // Another request may just have become its probe.
            if let Some(pass) = self.members[place].health.admit(model, now) {
                return Some(Chosen { place, pass });
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
        client: Option<&str>,
        model: &str,
        tried: &mut Tried,
        now: Instant,
    ) -> Option<Chosen> {
        let member = self.members.get(place).filter(|_| !tried.0.contains(&place))?;
        verdict(&member.key, client, model).ok()?;
        tried.0.push(place);
        self.again(place, model, now)
    }

    /// A key that may serve, once more, if it is not left alone.
    pub fn again(&self, place: usize, model: &str, now: Instant) -> Option<Chosen> {
        let pass = self.members.get(place)?.health.admit(model, now)?;
        Some(Chosen { place, pass })
    }

    /// All keys that may serve, by place, with how they stand.
    pub fn standings(
        &self,
        client: Option<&str>,
        model: &str,
        now: Instant,
    ) -> Vec<(usize, Standing)> {
        select::candidates(&self.members, client, model, now)
    }

    fn same(&self, key: &Key) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.key.name == key.name && member.key.fingerprint == key.fingerprint)
    }
}
