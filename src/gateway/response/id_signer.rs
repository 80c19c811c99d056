//! Signs the ids of stored objects in a response: each gets the mark of its key and its client before the caller
//! sees it. `request::resource_ids` removes the mark again. See [`id_signer`](crate::upstream::id_signer).

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;

use crate::config::Config;
use crate::gateway::record::Record;
use crate::gateway::{Gateway, KeyIndex};
use crate::wire::api::Operation;
use crate::wire::json::splice::{At, Rewriter};

/// Signs the ids of one response.
#[derive(Debug)]
pub(crate) struct ResponseIdSigner {
    gateway: Arc<Gateway>,
    owner: KeyIndex,
    client: Option<Arc<str>>,
    operation: Operation,
    /// True if ids are signed; else only URLs are rewritten.
    signs_ids: bool,
    /// True if the response is a stream.
    stream: bool,
    /// This gateway as the caller reaches it, such as `http://127.0.0.1:8787`. URLs in the response get it.
    origin: String,
    rewriter: Rewriter,
}

impl ResponseIdSigner {
    /// Returns the signer for a response by this key, or `None` if nothing in it needs to change.
    pub(crate) fn new(
        record: &Record,
        owner: KeyIndex,
        origin: impl FnOnce() -> String,
        operation: Operation,
        stream: bool,
    ) -> Option<Box<Self>> {
        let gateway = record.gateway().clone();
        let signs_ids = are_signed(&gateway.config, owner, operation);
        let has_urls = matches!(operation, Operation::Prediction | Operation::StoredPredictions);
        if !signs_ids && !has_urls {
            return None;
        }
        let client = record.client.map(|at| gateway.config.clients[at].name.clone());
        let (origin, rewriter) = (origin(), Rewriter::new(may_need_rewrite));
        Some(Box::new(Self {
            gateway,
            owner,
            client,
            operation,
            signs_ids,
            stream,
            origin,
            rewriter,
        }))
    }

    /// Returns the next bytes of the response with their ids signed. `is_last` flushes the rest.
    pub(crate) fn push(&mut self, bytes: &[u8], is_last: bool) -> Bytes {
        let mut out = Vec::with_capacity(bytes.len() + 128);
        let Self { gateway, owner, client, operation, signs_ids, stream, origin, rewriter } = self;
        let signer = gateway.providers[owner.provider].upstream.id_signer(owner.key);
        rewriter.push(bytes, &mut out, &mut |at, value| {
            let value = std::str::from_utf8(value).ok().filter(|value| !value.is_empty())?;
            let sign = |id: &str| signer.sign(client.as_deref(), id);
            let sign_if_needed = |id: &str| if *signs_ids { sign(id) } else { id.to_owned() };
            let is_response =
                matches!(operation, Operation::Responses | Operation::StoredResponses);
            match member_kind(*operation, *stream, at) {
                Member::Url => {
                    Some(format!("{origin}{}", own_path(at.name, value, &sign, &sign_if_needed)?))
                }
                Member::Id if is_response && !value.starts_with("resp_") => None,
                Member::Id => (!value.contains('\\')).then(|| sign_if_needed(value)),
                Member::Other => None,
            }
        });
        if is_last {
            out.append(&mut rewriter.rest());
        }
        out.into()
    }
}

/// Returns true if ids in responses of this operation are signed. Those of responses and predictions stay as they
/// are where they are unambiguous: with one key and one client.
fn are_signed(config: &Config, owner: KeyIndex, operation: Operation) -> bool {
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

/// Returns true for the names of members that contain ids: `id`, `file_id`, `previous_response_id`, and so on.
pub(crate) fn is_id_name(name: &[u8]) -> bool {
    name == b"id" || name.ends_with(b"_id")
}

/// Returns true for members that may contain ids or URLs in a response of any operation.
fn may_need_rewrite(name: &[u8]) -> bool {
    is_id_name(name) || matches!(name, b"results_url" | b"get" | b"cancel" | b"stream" | b"jobArn")
}

/// The kinds of members of a response.
enum Member {
    Id,
    Url,
    Other,
}

/// Returns the kind of a member by its position. A response repeats what the caller or a model has written, so
/// ids count only where the provider itself sets them: else a caller could have any id signed.
fn member_kind(operation: Operation, stream: bool, at: At<'_>) -> Member {
    let set_by_provider = (at.depth == 1 && !stream)
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
            if set_by_provider =>
        {
            Member::Id
        }
        (Operation::MessageBatches, b"results_url") if set_by_provider => Member::Url,
        (Operation::Prediction | Operation::StoredPredictions, b"get" | b"cancel" | b"stream")
            if at.depth == 2 && at.within == b"urls" =>
        {
            Member::Url
        }
        _ => Member::Other,
    }
}

/// Returns the path on this gateway for a URL of the provider, or `None` if its form is unknown.
fn own_path(
    name: &[u8],
    value: &str,
    sign: &dyn Fn(&str) -> String,
    sign_if_needed: &dyn Fn(&str) -> String,
) -> Option<String> {
    if name == b"stream" {
        // The URL does not contain the prediction's id, so the whole URL is the id. It is always signed, so no
        // caller can make one up and have the key sent elsewhere.
        let id = BASE64_URL_SAFE_NO_PAD.encode(value);
        return value.starts_with("http").then(|| format!("/v1/predictions/{}/stream", sign(&id)));
    }
    let collections = ["/v1/messages/batches/", "/v1/predictions/"];
    let (_, url) = value.split_once("://")?;
    let (collection, tail) =
        collections.iter().find_map(|path| Some((path, url.split_once(path)?.1)))?;
    let (id, rest) = tail.split_at(tail.find('/').unwrap_or(tail.len()));
    Some(format!("{collection}{}{rest}", sign_if_needed(id)))
}

/// Decodes the URL of a prediction's stream from its id.
pub(crate) fn stream_url(id: &str) -> Option<String> {
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(id).ok()?).ok()
}
