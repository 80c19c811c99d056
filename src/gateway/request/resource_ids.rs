//! Finds the key that owns a stored object by the object's id, and removes the signature from ids on their way to
//! the provider. `response::id_signer` signs them on the way back. See [`id_signer`](crate::upstream::id_signer).

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::config::Client;
use crate::gateway::response::id_signer::is_id_name;
use crate::gateway::response::refusal::Refusal;
use crate::gateway::{Gateway, KeyIndex};
use crate::upstream::id_signer::SIGNATURE_MARK;
use crate::wire::api::Operation;
use crate::wire::json::string_rewriter::rewrite;

static MARK_FINDER: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(SIGNATURE_MARK));

/// Returns the keys that may own an object, and its id as the provider knows it. A signed id belongs to the key
/// that signed it; an unsigned one may belong to any key whose ids are not signed. Ids of other clients have no
/// owner.
pub(super) fn owners<'s>(
    gateway: &Gateway,
    client: Option<&Client>,
    operation: Operation,
    id: &'s str,
) -> (Vec<KeyIndex>, &'s str) {
    if id.contains(SIGNATURE_MARK) {
        let signer = signer(gateway, client, id);
        return signer.map_or((Vec::new(), id), |(owner, id)| (vec![owner], id));
    }
    let config = &gateway.config;
    let providers = config.providers.iter().enumerate().filter(|(_, provider)| {
        let has_one_key = provider.keys.len() == 1 && provider.keys[0].enabled;
        has_one_key && provider.kind.supports(operation) && config.clients.len() <= 1
    });
    (providers.map(|(provider, _)| KeyIndex { provider, key: 0 }).collect(), id)
}

/// Returns the key that signed an id for this client, and the id without its signature.
fn signer<'s>(
    gateway: &Gateway,
    client: Option<&Client>,
    signed_id: &'s str,
) -> Option<(KeyIndex, &'s str)> {
    let name = client.map(|client| &*client.name);
    for (index, provider) in gateway.config.providers.iter().enumerate() {
        for (key, key_config) in provider.keys.iter().enumerate() {
            let is_allowed = key_config.enabled
                && key_config.clients.as_ref().is_none_or(|clients| {
                    name.is_some_and(|name| clients.iter().any(|allowed| &**allowed == name))
                });
            let signer = gateway.providers[index].upstream.id_signer(key);
            if let Some(id) = signer.verify(name, signed_id).filter(|_| is_allowed) {
                return Some((KeyIndex { provider: index, key }, id));
            }
        }
    }
    None
}

/// Returns a body with the signatures of its ids removed, and the key that owns them. `None`: it has no signed
/// ids.
///
/// # Errors
///
/// When an id is unknown, or when ids belong to different keys.
pub(super) fn remove_signatures(
    gateway: &Gateway,
    client: Option<&Client>,
    body: &Bytes,
) -> Result<Option<(Bytes, KeyIndex)>, Refusal> {
    if MARK_FINDER.find(body).is_none() {
        return Ok(None);
    }
    let (mut found, mut refusal) = (None, None);
    let plain = rewrite(body, is_id_name, &mut |_, value| {
        let signed =
            std::str::from_utf8(value).ok().filter(|value| value.contains(SIGNATURE_MARK))?;
        let Some((owner, id)) = signer(gateway, client, signed) else {
            refusal = Some(Refusal::UnknownObject(signed.to_owned()));
            return None;
        };
        if found.is_some_and(|other| other != owner) {
            refusal = Some(Refusal::MixedKeys);
        }
        found = Some(owner);
        Some(id.to_owned())
    });
    match (refusal, found) {
        (Some(refusal), _) => Err(refusal),
        (None, Some(owner)) => Ok(Some((plain.into(), owner))),
        // The mark is part of a text.
        (None, None) => Ok(None),
    }
}
