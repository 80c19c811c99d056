//! The key that a request prefers: the one of its conversation or session, or the one that made the signatures in
//! it. See [`Affinity`]. It is computed only where there is a choice among keys, and then once.

use std::cell::OnceCell;

use http::HeaderMap;

use super::call::Call;
use crate::config::Affinity;
use crate::keys::AffinityKeys;
use crate::route::Target;
use crate::upstream::RequestKind;
use crate::wire::inspect::conversation::{LONG, Stable, is_conversation};
use crate::wire::inspect::{conversation, signatures};
use crate::wire::json::digest::Digest;

/// The headers in which clients send their session, the most specific first: Claude Code
/// (<https://code.claude.com/docs/en/llm-gateway>); Codex, whose newer releases write it with a hyphen and
/// older ones with an underscore; OpenRouter's, which others have adopted; `OpenCode`.
const SESSION_HEADERS: [&str; 5] =
    ["x-claude-code-session-id", "session-id", "session_id", "x-session-id", "x-session-affinity"];

/// RequestKind a request contains that prefers a key.
#[derive(Debug, Default)]
pub(super) struct RequestAffinity {
    signatures: OnceCell<Vec<u64>>,
    prefix: OnceCell<Option<Stable>>,
}

impl RequestAffinity {
    /// Returns what makes the request prefer one of a provider's keys.
    pub(super) fn affinity_keys(&self, call: &Call<'_>, target: Target<'_>) -> AffinityKeys {
        let affinity = call.gateway.config.providers[target.provider].affinity;
        let RequestKind::Operation { address, .. } = call.what else {
            return AffinityKeys::default();
        };
        if affinity == Affinity::None {
            return AffinityKeys::default();
        }
        let is_conversation = is_conversation(address.operation);
        let body = call.body;
        let signatures = self.signatures.get_or_init(|| {
            if is_conversation { signatures::brought(address.operation, body) } else { Vec::new() }
        });
        let prefix =
            || *self.prefix.get_or_init(|| conversation::stable(body).filter(|_| is_conversation));
        let cache_key = || prefix().and_then(|prefix| prefix.cache_key);
        let by_name = || session(call.headers).or_else(cache_key);
        let by_prefix = || prefix().map(|prefix| prefix.digest);
        let conversation = match affinity {
            // One key made the signatures, however short the conversation is.
            _ if !signatures.is_empty() => by_name().or_else(by_prefix),
            Affinity::Session => by_name(),
            Affinity::PromptCache if body.len() >= LONG && prefix().is_some_and(|p| p.long) => {
                by_name().or_else(by_prefix)
            }
            Affinity::PromptCache | Affinity::None => None,
        };
        let client = call.client_name().unwrap_or_default();
        let conversation = conversation.map(|number| {
            let owner = Digest::default().text(client.as_bytes()).text(target.model.as_bytes());
            owner.number(number).finish()
        });
        AffinityKeys { conversation, signatures: signatures.clone() }
    }
}

fn session(headers: &HeaderMap) -> Option<u64> {
    let mut found = SESSION_HEADERS.iter();
    let value = found.find_map(|name| headers.get(*name).filter(|v| !v.is_empty()))?;
    Some(Digest::default().text(value.as_bytes()).finish())
}
