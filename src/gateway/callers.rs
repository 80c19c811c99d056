//! Who calls: by a key, in the header of whichever API is spoken, or by a signature in the manner of AWS.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::Gateway;
use super::answer::Refusal;
use crate::config::Client;
use crate::secret::{Secret, sha256};
use crate::upstream::aws::verify::Shown;
use crate::wire::Api;

/// Where callers of Anthropic's, Azure's and Google's APIs show their key.
const ANTHROPIC_KEY: HeaderName = HeaderName::from_static("x-api-key");
const AZURE_KEY: HeaderName = HeaderName::from_static("api-key");
pub(super) const GOOGLE_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// Whoever sends a request.
#[derive(Default)]
pub(super) struct Caller<'g, 'h> {
    /// The client, with its place in the configuration; `None` where callers need no key.
    pub(super) client: Option<(usize, &'g Client)>,
    /// The signature to be verified once the body is there, and what it must be made with.
    signature: Option<(Shown<'h>, &'g Secret)>,
}

impl Caller<'_, '_> {
    /// Whether a caller that signs its requests signed this one.
    pub(super) async fn verify(&self, head: &Parts, body: &Bytes) -> Result<(), Refusal> {
        let Some((shown, secret)) = &self.signature else { return Ok(()) };
        shown.verify(head, body, secret).await.map_err(Refusal::Signature)
    }
}

/// Who calls, as far as the head says. Where callers need no key, one that is nobody's is as good as
/// none, for SDKs send some key in any case; a client that is disabled stays out.
pub(super) fn authenticate<'g, 'h>(
    gateway: &'g Gateway,
    head: &'h Parts,
    api: Api,
) -> Result<Caller<'g, 'h>, Refusal> {
    if gateway.config.clients.is_empty() {
        return Ok(Caller::default());
    }
    if let Some(shown) = Shown::in_headers(&head.headers, SystemTime::now()) {
        return match shown.map(|shown| (gateway.signer(shown.access_key()), shown)) {
            Ok((Some((at, client, secret)), shown)) if client.enabled => {
                Ok(Caller { client: Some((at, client)), signature: Some((shown, secret)) })
            }
            Ok((Some(_), _)) => Err(Refusal::UnknownSigner),
            Ok(_) | Err(_) if gateway.is_open() => Ok(Caller::default()),
            Ok(_) => Err(Refusal::UnknownSigner),
            Err(why) => Err(Refusal::Signature(why)),
        };
    }
    let shown = shown_key(head, api);
    match shown.as_deref().and_then(|key| gateway.client(&sha256(key))) {
        Some((at, client)) if client.enabled => {
            Ok(Caller { client: Some((at, client)), signature: None })
        }
        Some(_) => Err(Refusal::UnknownKey),
        None if gateway.is_open() => Ok(Caller::default()),
        None if shown.is_some() => Err(Refusal::UnknownKey),
        None => Err(Refusal::NoKey),
    }
}

/// The key a caller shows, in the header of whichever API it speaks, or in the query as Google's API
/// allows it.
fn shown_key(head: &Parts, api: Api) -> Option<Cow<'_, [u8]>> {
    if let Some(value) = head.headers.get(AUTHORIZATION) {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        return scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii().into());
    }
    let header = [ANTHROPIC_KEY, AZURE_KEY, GOOGLE_KEY]
        .iter()
        .find_map(|name| head.headers.get(name))
        .map(|value| value.as_bytes().trim_ascii().into());
    let query = || head.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("key="));
    header.or_else(|| Some(percent_decode_str(query().filter(|_| api == Api::Gemini)?).into()))
}
