//! Ids on their way through: what a provider keeps gets the sign of its key and its client before the
//! caller sees it, and loses it again on the way back. See [`seal`](crate::upstream::seal).

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use memchr::memmem::Finder;

use super::Gateway;
use super::answer::Refusal;
use crate::config::{Client, Config};
use crate::upstream::seal::MARK;
use crate::wire::Operation;
use crate::wire::ids::{At, Rewriter, rewrite};

static SIGN: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(MARK));

/// The key that something belongs to, by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) provider: usize,
    pub(super) key: usize,
}

/// Whose it may be, and its id as the provider knows it: the key that has signed it, or for an id without a
/// sign those whose ids have none. Nobody's when it is another client's.
pub(super) fn owners<'s>(
    gateway: &Gateway,
    client: Option<&Client>,
    operation: Operation,
    id: &'s str,
) -> (Vec<Owner>, &'s str) {
    if id.contains(MARK) {
        let signer = signer(gateway, client, id);
        return signer.map_or((Vec::new(), id), |(owner, id)| (vec![owner], id));
    }
    let config = &gateway.config;
    let providers = config.providers.iter().enumerate().filter(|(_, own)| {
        let alone = own.keys.len() == 1 && own.keys[0].enabled;
        alone && own.kind.supports(operation) && config.clients.len() <= 1
    });
    (providers.map(|(provider, _)| Owner { provider, key: 0 }).collect(), id)
}

/// The key that has signed an id for this client, and the id without its sign.
fn signer<'s>(
    gateway: &Gateway,
    client: Option<&Client>,
    sealed: &'s str,
) -> Option<(Owner, &'s str)> {
    let name = client.map(|client| &*client.name);
    for (provider, own) in gateway.config.providers.iter().enumerate() {
        for (key, named) in own.keys.iter().enumerate() {
            let open = named.enabled
                && named.clients.as_ref().is_none_or(|clients| {
                    name.is_some_and(|name| clients.iter().any(|own| &**own == name))
                });
            let seal = gateway.providers[provider].upstream.seal(key);
            if let Some(id) = seal.open(name, sealed).filter(|_| open) {
                return Some((Owner { provider, key }, id));
            }
        }
    }
    None
}

/// A body without the signs of the ids in it, and whose they are. `None`: there are none.
pub(super) fn unsealed(
    gateway: &Gateway,
    client: Option<&Client>,
    body: &Bytes,
) -> Result<Option<(Bytes, Owner)>, Refusal> {
    if SIGN.find(body).is_none() {
        return Ok(None);
    }
    let (mut found, mut refusal) = (None, None);
    let plain = rewrite(body, is_id, &mut |_, value| {
        let sealed = std::str::from_utf8(value).ok().filter(|value| value.contains(MARK))?;
        let Some((owner, id)) = signer(gateway, client, sealed) else {
            refusal = Some(Refusal::NotKept(sealed.to_owned()));
            return None;
        };
        if found.is_some_and(|other| other != owner) {
            refusal = Some(Refusal::OtherKey);
        }
        found = Some(owner);
        Some(id.to_owned())
    });
    match (refusal, found) {
        (Some(refusal), _) => Err(refusal),
        (None, Some(owner)) => Ok(Some((plain.into(), owner))),
        // The mark stands in a text.
        (None, None) => Ok(None),
    }
}

/// `id`, `file_id`, `previous_response_id`, and so on.
fn is_id(name: &[u8]) -> bool {
    name == b"id" || name.ends_with(b"_id")
}

/// Whether ids of this operation's answers are signed. Those of responses and predictions are as they came
/// where they can mean nothing else: with one key, for one client.
fn are_signed(config: &Config, owner: Owner, operation: Operation) -> bool {
    match operation {
        Operation::Responses
        | Operation::StoredResponses
        | Operation::Prediction
        | Operation::StoredPredictions => {
            config.clients.len() > 1 || config.providers[owner.provider].keys.len() > 1
        }
        Operation::Files
        | Operation::Batches
        | Operation::MessageBatches
        | Operation::InvocationJobs => true,
        _ => false,
    }
}

/// Whether an answer is changed at all: addresses in it are made this gateway's in any case.
pub(super) fn are_changed(config: &Config, owner: Owner, operation: Operation) -> bool {
    matches!(operation, Operation::Prediction | Operation::StoredPredictions)
        || are_signed(config, owner, operation)
}

/// Signs the ids of one answer.
#[derive(Debug)]
pub(super) struct Signing {
    gateway: Arc<Gateway>,
    owner: Owner,
    client: Option<Arc<str>>,
    operation: Operation,
    /// Whether ids are signed, and not only addresses made this gateway's.
    ids: bool,
    /// Whether the answer comes in events.
    stream: bool,
    /// `http://127.0.0.1:8787`: what an address in the answer is to begin with.
    origin: String,
    rewriter: Rewriter,
}

impl Signing {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        owner: Owner,
        client: Option<Arc<str>>,
        operation: Operation,
        stream: bool,
        origin: String,
    ) -> Self {
        let ids = are_signed(&gateway.config, owner, operation);
        let rewriter = Rewriter::new(is_looked_at);
        Self { gateway, owner, client, operation, ids, stream, origin, rewriter }
    }

    /// The next bytes of the answer with the ids in them signed; `last` says that no more come.
    pub(super) fn pass(&mut self, bytes: &[u8], last: bool) -> Bytes {
        let mut out = Vec::with_capacity(bytes.len() + 128);
        let Self { gateway, owner, client, operation, ids, stream, origin, rewriter } = self;
        let seal = gateway.providers[owner.provider].upstream.seal(owner.key);
        rewriter.push(bytes, &mut out, &mut |at, value| {
            let value = std::str::from_utf8(value).ok().filter(|value| !value.is_empty())?;
            let sign = |id: &str| seal.seal(client.as_deref(), id);
            let id_of = |id: &str| if *ids { sign(id) } else { id.to_owned() };
            let is_response =
                matches!(operation, Operation::Responses | Operation::StoredResponses);
            match place(*operation, *stream, at) {
                Place::Address => {
                    Some(format!("{origin}{}", address(at.name, value, &sign, &id_of)?))
                }
                Place::Id if is_response && !value.starts_with("resp_") => None,
                Place::Id => (!value.contains('\\')).then(|| id_of(value)),
                Place::Other => None,
            }
        });
        if last {
            out.append(&mut rewriter.rest());
        }
        out.into()
    }
}

/// What stands at a place of an answer.
enum Place {
    Id,
    Address,
    Other,
}

/// Members that may hold ids or addresses, of any operation.
fn is_looked_at(name: &[u8]) -> bool {
    is_id(name) || matches!(name, b"results_url" | b"get" | b"cancel" | b"stream" | b"jobArn")
}

/// What stands there. An answer repeats what the caller or a model has written, so ids count only where the
/// provider itself puts them: else a caller could have any id signed for it.
fn place(operation: Operation, stream: bool, at: At<'_>) -> Place {
    let own = (at.depth == 1 && !stream)
        || (at.depth == 3 && at.within == b"data")
        || (at.depth == 2 && at.within == b"response" && stream);
    match (operation, at.name) {
        (
            Operation::Files
            | Operation::Batches
            | Operation::MessageBatches
            | Operation::Responses
            | Operation::StoredResponses,
            b"id" | b"first_id" | b"last_id" | b"previous_response_id",
        )
        | (Operation::Batches, b"input_file_id" | b"output_file_id" | b"error_file_id")
        | (Operation::Prediction | Operation::StoredPredictions, b"id")
        | (Operation::InvocationJobs, b"jobArn")
            if own =>
        {
            Place::Id
        }
        (Operation::MessageBatches, b"results_url") if own => Place::Address,
        (Operation::Prediction | Operation::StoredPredictions, b"get" | b"cancel" | b"stream")
            if at.depth == 2 && at.within == b"urls" =>
        {
            Place::Address
        }
        _ => Place::Other,
    }
}

/// The path on this gateway that stands for an address of the provider's; `None` when it is of no known
/// form.
fn address(
    name: &[u8],
    value: &str,
    sign: &dyn Fn(&str) -> String,
    id_of: &dyn Fn(&str) -> String,
) -> Option<String> {
    if name == b"stream" {
        // There is nothing of the prediction in it, so it is the id itself, and signed in any case: no
        // caller can make one up.
        let id = BASE64_URL_SAFE_NO_PAD.encode(value);
        return value.starts_with("http").then(|| format!("/v1/predictions/{}/stream", sign(&id)));
    }
    let collections = ["/v1/messages/batches/", "/v1/predictions/"];
    let (_, url) = value.split_once("://")?;
    let (collection, behind) =
        collections.iter().find_map(|own| Some((own, url.split_once(own)?.1)))?;
    let (id, rest) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
    Some(format!("{collection}{}{rest}", id_of(id)))
}

/// The address of a prediction's stream, out of its id.
pub(super) fn stream_address(id: &str) -> Option<String> {
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(id).ok()?).ok()
}
