//! Which key: rules 2 and 3 of "Which key". The request path and `explain` ask the same function.

use std::fmt;
use std::time::{Duration, Instant};

use super::Member;
use crate::config::Key;
use crate::config::pattern::any_matches;
use crate::share::Turns;

/// On what ground a key may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The key names this client.
    Named,
    /// The key is for everybody.
    Everyone,
}

/// Why a key may not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// `enabled = false`
    Disabled,
    /// Its `clients` do not name the caller.
    OtherClients,
    /// It does not have the region that the model is asked in.
    OtherRegion,
    /// Its `models` do not cover the model.
    NotListed,
    /// Its `blacklisted_models` cover the model.
    Blacklisted,
}

impl fmt::Display for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Out::Disabled => "disabled",
            Out::OtherClients => "for other clients",
            Out::OtherRegion => "does not have this region",
            Out::NotListed => "its models do not cover this one",
            Out::Blacklisted => "its blacklisted_models cover this one",
        })
    }
}

/// Whether the key may serve this model for this client.
pub fn verdict(key: &Key, client: Option<&str>, model: &str) -> Result<Scope, Out> {
    if !key.enabled {
        return Err(Out::Disabled);
    }
    let scope = match &key.clients {
        None => Scope::Everyone,
        Some(named) if client.is_some_and(|client| named.iter().any(|name| &**name == client)) => {
            Scope::Named
        }
        Some(_) => return Err(Out::OtherClients),
    };
    let (region, model) = key.region_and_model(model);
    if !key.has_region(region) {
        return Err(Out::OtherRegion);
    }
    if any_matches(&key.blacklisted_models, model) {
        return Err(Out::Blacklisted);
    }
    match &key.models {
        Some(models) if !any_matches(models, model) => Err(Out::NotListed),
        _ => Ok(scope),
    }
}

/// The key whose turn it is, by place: among the candidates not yet tried, those that name the client
/// before those for everybody; the weighted before the standby; the cooling ones last of all, the
/// soonest free first.
pub(super) fn choose(
    members: &[Member],
    client: Option<&str>,
    model: &str,
    tried: &[usize],
    turns: &Turns,
    now: Instant,
) -> Option<usize> {
    // What is asked of every key is asked once: its patterns may be many, and the shares are gone
    // over several times.
    let mut open: Vec<Candidate> = Vec::with_capacity(members.len());
    for (place, member) in members.iter().enumerate() {
        if let Ok(scope) = verdict(&member.key, client, model) {
            open.push(Candidate { place, scope, cooling: member.health.cooling(now) });
        }
    }
    let named = open.iter().any(|candidate| candidate.scope == Scope::Named);
    let scope = if named { Scope::Named } else { Scope::Everyone };
    open.retain(|candidate| candidate.scope == scope && !tried.contains(&candidate.place));

    let weights = open.iter().map(|candidate| match candidate.cooling {
        None => members[candidate.place].key.weight,
        Some(_) => 0.0,
    });
    let standby = || open.iter().position(|candidate| candidate.cooling.is_none());
    let soonest = || (0..open.len()).min_by_key(|at| open[*at].cooling);
    let at = turns.next().among(weights).or_else(standby).or_else(soonest)?;
    Some(open[at].place)
}

/// A key that may serve.
struct Candidate {
    place: usize,
    scope: Scope,
    /// How long it is still to be left alone.
    cooling: Option<Duration>,
}

#[cfg(test)]
mod tests;
