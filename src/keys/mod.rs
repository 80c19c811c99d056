//! The keys of one provider while the program runs: which may serve a request, whose turn it is,
//! and which are cooling down. Time is passed in.

mod health;
mod select;

use std::sync::Arc;
use std::time::Instant;

use crate::config::{Key, Provider};
use crate::share::Turns;

pub use health::{Health, Seen};
pub use select::{Out, Scope, verdict};

/// The keys of one provider with their live state.
#[derive(Debug)]
pub struct Pool {
    members: Vec<Member>,
    turns: Arc<Turns>,
}

/// A key and how it fares.
#[derive(Debug)]
pub struct Member {
    /// The key as the file has it.
    pub key: Arc<Key>,
    /// Shared with the pools before and after this one, as long as the key is the same.
    pub health: Arc<Health>,
}

/// The keys a request has tried already, by place in the pool.
#[derive(Debug, Default)]
pub struct Tried(Vec<usize>);

impl Pool {
    /// The pool of a provider. Keys that are the same as in `before` (provider, name, credential) keep
    /// their health, and the order of turns goes on.
    pub fn new(provider: &Provider, before: Option<&Pool>) -> Self {
        let member = |key: &Arc<Key>| {
            let known = before.and_then(|pool| pool.same(key));
            Member {
                key: key.clone(),
                health: known.map_or_else(Arc::default, |known| known.health.clone()),
            }
        };
        Self {
            members: provider.keys.iter().map(member).collect(),
            turns: before.map_or_else(Arc::default, |pool| pool.turns.clone()),
        }
    }

    /// All keys, in the order of the file.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The key for the next attempt, by place, and remembers it as tried.
    pub fn choose(
        &self,
        client: Option<&str>,
        model: &str,
        tried: &mut Tried,
        now: Instant,
    ) -> Option<usize> {
        let chosen = select::choose(&self.members, client, model, &tried.0, &self.turns, now)?;
        tried.0.push(chosen);
        Some(chosen)
    }

    /// This key and no other, if it may serve and was not tried yet.
    pub fn this(
        &self,
        place: usize,
        client: Option<&str>,
        model: &str,
        tried: &mut Tried,
    ) -> Option<usize> {
        let member = self.members.get(place).filter(|_| !tried.0.contains(&place))?;
        verdict(&member.key, client, model).ok()?;
        tried.0.push(place);
        Some(place)
    }

    fn same(&self, key: &Key) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.key.name == key.name && member.key.fingerprint == key.fingerprint)
    }
}
