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
use crate::wire::ids::{Rewriter, rewrite};

static SIGN: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(MARK));

/// The key that something belongs to, by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) provider: usize,
    pub(super) key: usize,
}

/// Whose it is, and its id as the provider knows it; `None` when it is nobody's, or another client's.
pub(super) fn owner<'s>(
    gateway: &Gateway,
    client: Option<&Client>,
    sealed: &'s str,
) -> Option<(Owner, &'s str)> {
    if !sealed.contains(MARK) {
        return None;
    }
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
        let Some((owner, id)) = owner(gateway, client, sealed) else {
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

/// Whether ids of this operation's answers are signed. Those of responses are as they came where they
/// can mean nothing else: with one key, for one client.
pub(super) fn are_signed(config: &Config, owner: Owner, operation: Operation) -> bool {
    match operation {
        Operation::Responses | Operation::StoredResponses => {
            config.clients.len() > 1 || config.providers[owner.provider].keys.len() > 1
        }
        Operation::Prediction
        | Operation::StoredPredictions
        | Operation::Files
        | Operation::Batches
        | Operation::MessageBatches
        | Operation::InvocationJobs => true,
        _ => false,
    }
}

/// Signs the ids of one answer.
#[derive(Debug)]
pub(super) struct Signing {
    gateway: Arc<Gateway>,
    owner: Owner,
    client: Option<Arc<str>>,
    operation: Operation,
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
        origin: String,
    ) -> Self {
        let rewriter = Rewriter::new(signed_members(operation));
        Self { gateway, owner, client, operation, origin, rewriter }
    }

    /// The next bytes of the answer with the ids in them signed; `last` says that no more come.
    pub(super) fn pass(&mut self, bytes: &[u8], last: bool) -> Bytes {
        let mut out = Vec::with_capacity(bytes.len() + 128);
        let Self { gateway, owner, client, operation, origin, rewriter } = self;
        let seal = gateway.providers[owner.provider].upstream.seal(owner.key);
        rewriter.push(bytes, &mut out, &mut |name, value| {
            let value = std::str::from_utf8(value).ok().filter(|value| !value.is_empty())?;
            let sign = |id: &str| seal.seal(client.as_deref(), id);
            if let Some(url) = address(*operation, name, value, &sign) {
                return Some(format!("{origin}{url}"));
            }
            let known = *operation != Operation::Responses || value.starts_with("resp_");
            (known && !value.contains("://") && !value.contains('\\')).then(|| sign(value))
        });
        if last {
            out.append(&mut rewriter.rest());
        }
        out.into()
    }
}

/// Which members of an answer hold ids, or addresses with ids in them.
fn signed_members(operation: Operation) -> fn(&[u8]) -> bool {
    match operation {
        Operation::Files => |name| matches!(name, b"id" | b"first_id" | b"last_id"),
        Operation::Batches => |name| {
            matches!(
                name,
                b"id"
                    | b"input_file_id"
                    | b"output_file_id"
                    | b"error_file_id"
                    | b"first_id"
                    | b"last_id"
            )
        },
        Operation::MessageBatches => {
            |name| matches!(name, b"id" | b"results_url" | b"first_id" | b"last_id")
        }
        Operation::Prediction | Operation::StoredPredictions => {
            |name| matches!(name, b"id" | b"get" | b"cancel" | b"stream")
        }
        Operation::InvocationJobs => |name| name == b"jobArn",
        _ => |name| matches!(name, b"id" | b"previous_response_id"),
    }
}

/// The path on this gateway that stands for an address in an answer; `None` for what is no address.
fn address(
    operation: Operation,
    name: &[u8],
    value: &str,
    sign: &dyn Fn(&str) -> String,
) -> Option<String> {
    let behind = |collection: &str| {
        let (_, behind) = value.split_once("://")?.1.split_once(collection)?;
        let (id, rest) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
        Some((sign(id), rest))
    };
    match (operation, name) {
        (Operation::MessageBatches, b"results_url") => {
            let (id, rest) = behind("/v1/messages/batches/")?;
            Some(format!("/v1/messages/batches/{id}{rest}"))
        }
        (Operation::Prediction | Operation::StoredPredictions, b"get" | b"cancel") => {
            let (id, rest) = behind("/v1/predictions/")?;
            Some(format!("/v1/predictions/{id}{rest}"))
        }
        // Its address has nothing of the prediction in it, so it is the id itself.
        (Operation::Prediction | Operation::StoredPredictions, b"stream") => {
            value.starts_with("http").then(|| {
                let id = BASE64_URL_SAFE_NO_PAD.encode(value);
                format!("/v1/predictions/{}/stream", sign(&id))
            })
        }
        _ => None,
    }
}

/// The address of a prediction's stream, out of its id.
pub(super) fn stream_address(id: &str) -> Option<String> {
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(id).ok()?).ok()
}
