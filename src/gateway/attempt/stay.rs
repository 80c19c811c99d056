//! What ties a request to a key: the conversation that it is a turn of, its session, or a seal that it
//! brings back. See [`Affinity`]. Looked for where there is a choice among keys, and then once.

use std::cell::OnceCell;

use http::HeaderMap;

use super::Call;
use crate::config::Affinity;
use crate::gateway::record::Record;
use crate::keys::Ties;
use crate::route::Target;
use crate::upstream::What;
use crate::wire::digest::Digest;
use crate::wire::seals::{self, Watch};
use crate::wire::stable::{self, LONG, Stable, is_conversation};

/// The headers in which clients name their session, the most telling first: Claude Code
/// (<https://code.claude.com/docs/en/llm-gateway>); Codex, whose newer releases write it with a hyphen and
/// older ones with an underscore; OpenRouter's, which others have taken up; `OpenCode`.
const SESSION: [&str; 5] =
    ["x-claude-code-session-id", "session-id", "session_id", "x-session-id", "x-session-affinity"];

/// What was found of a request.
#[derive(Debug, Default)]
pub(super) struct Bonds {
    seals: OnceCell<Vec<u64>>,
    stable: OnceCell<Option<Stable>>,
}

impl Bonds {
    /// What ties the request to one of a provider's keys.
    pub(super) fn ties(&self, call: &Call<'_>, hop: Target<'_>) -> Ties {
        let affinity = call.gateway.config.providers[hop.provider].affinity;
        let What::Operation { address, .. } = call.what else { return Ties::default() };
        if affinity == Affinity::None {
            return Ties::default();
        }
        let talks = is_conversation(address.operation);
        let body = call.body;
        let seals = || if talks { seals::brought(address.operation, body) } else { Vec::new() };
        let seals = self.seals.get_or_init(seals);
        let stable = || *self.stable.get_or_init(|| stable::stable(body).filter(|_| talks));
        let cache_key = || stable().and_then(|found| found.cache_key);
        let named = || session(call.headers).or_else(cache_key);
        let by_itself = || stable().map(|found| found.digest);
        let conversation = match affinity {
            // Its seals were made by one key, however short it is.
            _ if !seals.is_empty() => named().or_else(by_itself),
            Affinity::Session => named(),
            Affinity::PromptCache if body.len() >= LONG && stable().is_some_and(|s| s.long) => {
                named().or_else(by_itself)
            }
            Affinity::PromptCache | Affinity::None => None,
        };
        let client = call.client_name().unwrap_or_default();
        let conversation = conversation.map(|own| {
            let who = Digest::default().text(client.as_bytes()).text(hop.model.as_bytes());
            who.number(own).finish()
        });
        Ties { conversation, seals: seals.clone() }
    }
}

fn session(headers: &HeaderMap) -> Option<u64> {
    let value = SESSION.iter().find_map(|name| headers.get(*name).filter(|v| !v.is_empty()))?;
    Some(Digest::default().text(value.as_bytes()).finish())
}

/// Notes the seals of an answer as made by its key.
#[derive(Debug)]
pub(in crate::gateway) struct Sealing(Watch);

impl Sealing {
    /// For the answer to this request; `None`: no seal in it would make a difference.
    pub(in crate::gateway) fn new(record: &Record) -> Option<Self> {
        let (provider, _) = record.tried?;
        let provider = &record.gateway().config.providers[provider];
        let operation = record.operation.filter(|operation| is_conversation(*operation))?;
        let matters = provider.keys.len() > 1 && provider.affinity != Affinity::None;
        matters.then(|| Self(Watch::new(operation)))
    }

    /// Takes the next bytes.
    pub(in crate::gateway) fn hear(&mut self, bytes: &[u8], record: &Record) {
        let Some((provider, key)) = record.tried else { return };
        let pool = &record.gateway().providers[provider].pool;
        self.0.hear(bytes, &mut |seal| pool.sealed(key, seal));
    }
}
