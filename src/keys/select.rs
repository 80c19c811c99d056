//! Which key: rules 2 and 3 of "Which key". The request path and `explain` ask the same function.

use std::fmt;
use std::time::Instant;

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
    let mut scope = None;
    for member in members {
        match verdict(&member.key, client, model) {
            Ok(Scope::Named) => {
                scope = Some(Scope::Named);
                break;
            }
            Ok(Scope::Everyone) => scope = Some(Scope::Everyone),
            Err(_) => {}
        }
    }
    let scope = scope?;
    let open = |place: usize| {
        !tried.contains(&place) && verdict(&members[place].key, client, model) == Ok(scope)
    };
    let cooling = |place: usize| members[place].health.cooling(now);

    let weights = (0..members.len()).map(|place| {
        let serves = open(place) && cooling(place).is_none();
        if serves { members[place].key.weight } else { 0.0 }
    });
    let standby = || (0..members.len()).find(|place| open(*place) && cooling(*place).is_none());
    let soonest = || (0..members.len()).filter(|place| open(*place)).min_by_key(|p| cooling(*p));
    turns.next().among(weights).or_else(standby).or_else(soonest)
}

#[cfg(test)]
mod tests;
