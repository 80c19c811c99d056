//! Authenticates callers: by an API key, in the header of the caller's API, or by an AWS signature.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::config::Client;
use crate::gateway::Gateway;
use crate::gateway::response::refusal::Refusal;
use crate::secret::{Secret, sha256};
use crate::upstream::aws::caller_signature::CallerSignature;
use crate::wire::api::Api;

/// The headers in which callers of Anthropic's, Azure's and Google's APIs send their key.
const ANTHROPIC_KEY: HeaderName = HeaderName::from_static("x-api-key");
const AZURE_KEY: HeaderName = HeaderName::from_static("api-key");
pub(super) const GOOGLE_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// The sender of a request.
#[derive(Default)]
pub(super) struct Caller<'g, 'h> {
    /// The client and its index in the configuration; `None` where callers need no key.
    pub(super) client: Option<(usize, &'g Client)>,
    /// The signature to verify once the body has arrived, and the secret key for it.
    signature: Option<(CallerSignature<'h>, &'g Secret)>,
}

impl<'g> Caller<'g, '_> {
    pub(super) fn client(&self) -> Option<&'g Client> {
        self.client.map(|(_, client)| client)
    }

    /// Verifies the AWS signature of the request, if it has one.
    pub(super) async fn verify(&self, head: &Parts, body: &Bytes) -> Result<(), Refusal> {
        let Some((signature, secret)) = &self.signature else { return Ok(()) };
        signature.verify(head, body, secret).await.map_err(Refusal::Signature)
    }
}

/// Finds the client by the request head. On an open gateway an unknown key is ignored, since SDKs send some key
/// in any case; a disabled client is refused all the same.
pub(super) fn authenticate<'g, 'h>(
    gateway: &'g Gateway,
    head: &'h Parts,
    api: Api,
) -> Result<Caller<'g, 'h>, Refusal> {
    if gateway.config.clients.is_empty() {
        return Ok(Caller::default());
    }
    if let Some(signature) = CallerSignature::from_headers(&head.headers, SystemTime::now()) {
        let known = signature.map(|signature| (gateway.signer(signature.access_key()), signature));
        return match known {
            Ok((Some((at, client, secret)), signature)) if client.enabled => {
                Ok(Caller { client: Some((at, client)), signature: Some((signature, secret)) })
            }
            Ok((Some(_), _)) => Err(Refusal::UnknownSigner),
            Ok(_) | Err(_) if gateway.is_open() => Ok(Caller::default()),
            Ok(_) => Err(Refusal::UnknownSigner),
            Err(why) => Err(Refusal::Signature(why)),
        };
    }
    let key = api_key(head, api);
    match key.as_deref().and_then(|key| gateway.client(&sha256(key))) {
        Some((at, client)) if client.enabled => {
            Ok(Caller { client: Some((at, client)), signature: None })
        }
        Some(_) => Err(Refusal::UnknownKey),
        None if gateway.is_open() => Ok(Caller::default()),
        None if key.is_some() => Err(Refusal::UnknownKey),
        None => Err(Refusal::NoKey),
    }
}

/// Returns the API key of a request: from the header of any API, or from the query, as Google's API allows.
fn api_key(head: &Parts, api: Api) -> Option<Cow<'_, [u8]>> {
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
