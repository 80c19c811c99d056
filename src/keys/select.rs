//! Which key: rules 2 and 3 of "Which key". The request path and `explain` ask the same function.

use std::fmt;
use std::time::Instant;

use super::{KeyRequest, KeyState, PooledKey};
use crate::config::Key;
use crate::config::pattern::any_matches;
use crate::share::Turns;

/// On what ground a key may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientScope {
    /// The key names this client.
    NamedClients,
    /// The key is for everybody.
    AllClients,
}

/// Why a key may not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ineligible {
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

impl fmt::Display for Ineligible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ineligible::Disabled => "disabled",
            Ineligible::OtherClients => "for other clients",
            Ineligible::OtherRegion => "does not have this region",
            Ineligible::NotListed => "its models do not cover this one",
            Ineligible::Blacklisted => "its blacklisted_models cover this one",
        })
    }
}

/// Whether the key may serve this model for this client.
pub fn eligibility(
    key: &Key,
    client: Option<&str>,
    model: &str,
) -> Result<ClientScope, Ineligible> {
    if !key.enabled {
        return Err(Ineligible::Disabled);
    }
    let scope = match &key.clients {
        None => ClientScope::AllClients,
        Some(named) if client.is_some_and(|client| named.iter().any(|name| &**name == client)) => {
            ClientScope::NamedClients
        }
        Some(_) => return Err(Ineligible::OtherClients),
    };
    let (region, model) = key.region_and_model(model);
    if !key.has_region(region) {
        return Err(Ineligible::OtherRegion);
    }
    if any_matches(&key.blacklisted_models, model) {
        return Err(Ineligible::Blacklisted);
    }
    match &key.models {
        Some(models) if !any_matches(models, model) => Err(Ineligible::NotListed),
        _ => Ok(scope),
    }
}

/// Which of the candidates a request stays with, if with any.
pub(super) type PreferredKey<'h> = dyn Fn(&[(usize, KeyState)]) -> Option<usize> + 'h;

/// The key that the request stays with, and else the one whose turn it is, by place: among the candidates
/// that were not tried yet and are not left alone, the weighted before the standby. A request that stays
/// takes no turn, and what providers say is left steers only those that do not stay; see [`super::affinity`].
pub(super) fn choose(
    members: &[PooledKey],
    want: KeyRequest<'_>,
    tried: &[usize],
    turns: &Turns,
    now: Instant,
    home: &PreferredKey<'_>,
) -> Option<usize> {
    // What is asked of every key is asked once: its patterns may be many, and the shares are gone
    // over several times.
    let mut open = candidates(members, want, now);
    open.retain(|(place, standing)| standing.is_usable() && !tried.contains(place));
    if open.len() > 1
        && let Some(place) = home(&open)
    {
        return Some(place);
    }
    steer(&mut open, members, want, now);
    let weights = open.iter().map(|(place, _)| members[*place].key.weight);
    let at = turns.next().among(weights).unwrap_or(0);
    open.get(at).map(|(place, _)| *place)
}

/// Leaves out the keys of which the provider has said that they are used up, while there is another.
fn steer(
    open: &mut Vec<(usize, KeyState)>,
    members: &[PooledKey],
    want: KeyRequest<'_>,
    now: Instant,
) {
    let has = |place: usize| members[place].reported_limits.has(want.model, want.tokens, now);
    if open.len() > 1 && open.iter().any(|(place, _)| has(*place)) {
        open.retain(|(place, _)| has(*place));
    }
}

/// All keys that may serve: those that name the client; where there are none, those for everybody.
pub(super) fn candidates(
    members: &[PooledKey],
    want: KeyRequest<'_>,
    now: Instant,
) -> Vec<(usize, KeyState)> {
    let mut best = ClientScope::AllClients;
    let mut open = Vec::with_capacity(members.len());
    for (place, member) in members.iter().enumerate() {
        let Ok(scope) = eligibility(&member.key, want.client, want.model) else { continue };
        if scope == ClientScope::NamedClients && best == ClientScope::AllClients {
            best = ClientScope::NamedClients;
            open.clear();
        }
        if scope == best {
            open.push((place, member.state(want.model, want.tokens, now)));
        }
    }
    open
}

#[cfg(test)]
mod tests;
