//! Eligibility of keys, and the choice between the eligible ones: rules 2 and 3 of "Which key" in the
//! README. The request path and `explain` call the same function.

use std::fmt;
use std::time::Instant;

use super::pooled_key::{KeyRequest, PooledKey};
use super::state::KeyState;
use crate::config::Key;
use crate::config::pattern::any_matches;
use crate::share::TurnCounter;

/// The clients that an eligible key is configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientScope {
    /// The `clients` of the key contain this client.
    NamedClients,
    /// The key has no `clients`.
    AllClients,
}

/// Why a key is not eligible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ineligible {
    /// `enabled = false`
    Disabled,
    /// Its `clients` do not contain the client.
    OtherClients,
    /// It does not have the requested region.
    OtherRegion,
    /// Its `models` do not match the model.
    NotListed,
    /// Its `blacklisted_models` match the model.
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

/// Checks whether the key may serve this model for this client, whatever its current state.
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
        Some(names) if client.is_some_and(|client| names.iter().any(|name| &**name == client)) => {
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

/// Returns the index of the key that the conversation prefers, out of the given usable keys.
pub(super) type PreferredKey<'p> = dyn Fn(&[(usize, KeyState)]) -> Option<usize> + 'p;

/// Returns the index of the preferred key, or else of the key whose turn it is. Only eligible and usable
/// keys that are not in `tried` are candidates; keys with a weight come before standby keys. A request
/// with a preferred key takes no turn, and reported limits steer only requests without one; see
/// [`super::affinity`].
pub(super) fn choose(
    keys: &[PooledKey],
    request: KeyRequest<'_>,
    tried: &[usize],
    turns: &TurnCounter,
    now: Instant,
    preferred_key: &PreferredKey<'_>,
) -> Option<usize> {
    // The eligible keys are computed once: a key may have many patterns, and the weights are read
    // several times.
    let mut usable = eligible_keys(keys, request, now);
    usable.retain(|(index, state)| state.is_usable() && !tried.contains(index));
    if usable.len() > 1
        && let Some(index) = preferred_key(&usable)
    {
        return Some(index);
    }
    remove_exhausted(&mut usable, keys, request, now);
    let weights = usable.iter().map(|(index, _)| keys[*index].key.weight);
    let turn = turns.next().pick(weights).unwrap_or(0);
    usable.get(turn).map(|(index, _)| *index)
}

/// Removes the keys whose reported limits are exhausted, unless all are.
fn remove_exhausted(
    usable: &mut Vec<(usize, KeyState)>,
    keys: &[PooledKey],
    request: KeyRequest<'_>,
    now: Instant,
) {
    let allows =
        |index: usize| keys[index].reported_limits.allow(request.model, request.tokens, now);
    if usable.len() > 1 && usable.iter().any(|(index, _)| allows(*index)) {
        usable.retain(|(index, _)| allows(*index));
    }
}

/// Returns the eligible keys, by index, with their states: those that name the client, or if there are
/// none, those for all clients.
pub(super) fn eligible_keys(
    keys: &[PooledKey],
    request: KeyRequest<'_>,
    now: Instant,
) -> Vec<(usize, KeyState)> {
    let mut best = ClientScope::AllClients;
    let mut eligible = Vec::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        let Ok(scope) = eligibility(&key.key, request.client, request.model) else { continue };
        if scope == ClientScope::NamedClients && best == ClientScope::AllClients {
            best = ClientScope::NamedClients;
            eligible.clear();
        }
        if scope == best {
            eligible.push((index, key.state(request.model, request.tokens, now)));
        }
    }
    eligible
}

#[cfg(test)]
mod tests;
