//! Which key: rules 2 and 3 of "Which key". The request path and `explain` ask the same function.

use std::fmt;
use std::time::Instant;

use super::{Member, Standing, Want};
use crate::config::Key;
use crate::config::pattern::any_matches;
use crate::share::TurnCounter;

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

/// Which of the candidates a request stays with, if with any.
pub(super) type Home<'h> = dyn Fn(&[(usize, Standing)]) -> Option<usize> + 'h;

/// The key that the request stays with, and else the one whose turn it is, by place: among the candidates
/// that were not tried yet and are not left alone, the weighted before the standby. A request that stays
/// takes no turn, and what providers say is left steers only those that do not stay; see [`super::stay`].
pub(super) fn choose(
    members: &[Member],
    want: Want<'_>,
    tried: &[usize],
    turns: &TurnCounter,
    now: Instant,
    home: &Home<'_>,
) -> Option<usize> {
    // What is asked of every key is asked once: its patterns may be many, and the shares are gone
    // over several times.
    let mut open = candidates(members, want, now);
    open.retain(|(place, standing)| standing.is_open() && !tried.contains(place));
    if open.len() > 1
        && let Some(place) = home(&open)
    {
        return Some(place);
    }
    steer(&mut open, members, want, now);
    let weights = open.iter().map(|(place, _)| members[*place].key.weight);
    let at = turns.next().pick(weights).unwrap_or(0);
    open.get(at).map(|(place, _)| *place)
}

/// Leaves out the keys of which the provider has said that they are used up, while there is another.
fn steer(open: &mut Vec<(usize, Standing)>, members: &[Member], want: Want<'_>, now: Instant) {
    let has = |place: usize| members[place].learned.has(want.model, want.tokens, now);
    if open.len() > 1 && open.iter().any(|(place, _)| has(*place)) {
        open.retain(|(place, _)| has(*place));
    }
}

/// All keys that may serve: those that name the client; where there are none, those for everybody.
pub(super) fn candidates(
    members: &[Member],
    want: Want<'_>,
    now: Instant,
) -> Vec<(usize, Standing)> {
    let mut best = Scope::Everyone;
    let mut open = Vec::with_capacity(members.len());
    for (place, member) in members.iter().enumerate() {
        let Ok(scope) = verdict(&member.key, want.client, want.model) else { continue };
        if scope == Scope::Named && best == Scope::Everyone {
            best = Scope::Named;
            open.clear();
        }
        if scope == best {
            open.push((place, member.standing(want.model, want.tokens, now)));
        }
    }
    open
}

#[cfg(test)]
mod tests;
