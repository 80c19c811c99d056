//! Sends one attempt to one provider: builds the request in the provider's form, with the key in it.
//! This is the only room that opens secrets; [`auth`] describes their way through it.
//!
//! ```text
//! attempt.rs        the request of one attempt, the same for every key
//! request_url.rs    URL and body for each kind of provider
//! auth.rs           the credential in the request
//! client.rs         connections
//! response_body.rs  the body of the answer
//! probe.rs          checks keys with calls that cost nothing
//! echo.rs           a provider inside this process
//! id_signer.rs      signs the ids of objects that a provider stores
//! carry_over.rs     pools and tokens that outlive a configuration
//! ```

mod attempt;
pub mod auth;
pub mod aws;
mod carry_over;
pub mod client;
pub mod echo;
mod error;
pub mod id_signer;
pub mod probe;
pub mod redact;
pub mod request_body;
mod request_url;
mod response_body;
pub mod secret_header;
pub mod token;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};

pub use attempt::{Attempt, RequestKind};
pub use carry_over::CarryOver;
pub use error::UpstreamError;
pub use request_url::segment;
pub use response_body::ResponseBody;

use self::auth::Credential;
use self::aws::Service;
use self::carry_over::Builder;
use self::client::HttpClient;
use self::id_signer::IdSigner;
use self::request_body::RequestBody;
use self::request_url::{Paths, Target};
use crate::config::{Key, Provider};
use crate::provider::Kind;
use crate::wire::api::Operation;

/// A provider, ready for requests.
#[derive(Debug)]
pub struct Upstream {
    kind: Kind,
    channel: Channel,
    headers: HeaderMap,
    keys: Vec<ReadyKey>,
}

#[derive(Debug)]
enum Channel {
    Http(Box<HttpClient>),
    Echo,
}

/// A key with everything that its requests have in common.
#[derive(Debug)]
struct ReadyKey {
    key: Arc<Key>,
    credential: Credential,
    paths: Paths,
    id_signer: IdSigner,
}

impl Upstream {
    /// Prepares a provider; pools and tokens come from `before` where they are the same. Fails on errors
    /// that only appear now: a certificate that the TLS library rejects, a secret that is no valid header
    /// value. Must be called within the runtime.
    pub fn new(
        provider: &Provider,
        next: &mut CarryOver,
        before: Option<&CarryOver>,
    ) -> io::Result<Self> {
        let mut builder = Builder { transport: &provider.transport, next, before };
        let channel = if provider.kind == Kind::Echo {
            Channel::Echo
        } else {
            // A probe of Bedrock calls STS, at another address than the endpoint.
            let tls = provider.kind == Kind::Bedrock
                || provider.keys.iter().any(|key| key.endpoint.scheme == http::uri::Scheme::HTTPS);
            Channel::Http(Box::new(builder.client(tls)?))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &provider.headers {
            headers.insert(name.clone(), secret_header::plain(value)?);
        }
        let ready = |key| ReadyKey::new(key, provider, &mut builder);
        let keys = provider.keys.iter().map(ready).collect::<io::Result<_>>()?;
        Ok(Self { kind: provider.kind, channel, headers, keys })
    }

    /// Sends the attempt with the key of this index and waits for the head of the answer. Builds and sends
    /// the request a second time if the provider closed an idle connection, and if it rejected a token.
    pub async fn send(
        &self,
        key: usize,
        attempt: Attempt<'_>,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        let key = &self.keys[key];
        let Channel::Http(client) = &self.channel else {
            return Ok(echo_response(&key.key, &attempt));
        };
        let (region, _) = key.key.region_and_model(attempt.model);
        let (mut is_stale, mut is_renewed) = (false, false);
        loop {
            let request = self.request(key, &attempt);
            let mut request = request.ok_or(UpstreamError::InvalidModelName)?;
            // Last, because it may sign the request.
            let sent = key.credential.authorize(&mut request, region, Service::Bedrock).await?;
            let response = if is_stale {
                client.send_on_new(request).await
            } else {
                client.send(request).await
            };
            match response {
                Err(UpstreamError::StaleConnection) if !is_stale => is_stale = true,
                Ok(response)
                    if !is_renewed && key.credential.renew_if_rejected(&response, &sent) =>
                {
                    is_renewed = true;
                }
                Ok(response) if self.is_anthropic_on_bedrock(&attempt) => {
                    return response_body::anthropic_from_bedrock(response).await;
                }
                response => return response.map(|response| response.map(ResponseBody::Http)),
            }
        }
    }

    /// Returns true if the answer is an Anthropic answer in Bedrock's envelope.
    fn is_anthropic_on_bedrock(&self, attempt: &Attempt<'_>) -> bool {
        self.kind == Kind::Bedrock && attempt.kind.operation() == Operation::Messages
    }

    /// Returns the body of an error without the key, which the provider may echo.
    pub fn redact(&self, key: usize, body: Bytes) -> Bytes {
        self.keys[key].credential.redact(body)
    }

    /// Returns the signer for ids in the answers to this key.
    pub fn id_signer(&self, key: usize) -> &IdSigner {
        &self.keys[key].id_signer
    }

    /// Builds the request, without the credential.
    fn request(&self, key: &ReadyKey, attempt: &Attempt<'_>) -> Option<Request<RequestBody>> {
        let Target { uri, body } = key.paths.target(self.kind, &key.key, attempt)?;
        let mut request = Request::new(body);
        *request.method_mut() = match attempt.kind {
            RequestKind::Operation { .. } => Method::POST,
            RequestKind::StoredObject { method, .. } => method.clone(),
        };
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        // Enough for most requests, and small enough that the allocator serves it from its thread cache.
        headers.reserve(8);
        for (name, value) in attempt.headers {
            if is_forwarded(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        Some(request)
    }
}

impl ReadyKey {
    fn new(key: &Arc<Key>, provider: &Provider, builder: &mut Builder<'_>) -> io::Result<Self> {
        let header_secrets = provider.headers.iter().map(|(_, value)| value);
        Ok(Self {
            credential: Credential::new(key, provider.kind, header_secrets, builder)?,
            paths: Paths::new(provider.kind, key)?,
            id_signer: IdSigner::for_key(key),
            key: key.clone(),
        })
    }
}

/// Returns true for the caller's headers that a provider receives. Not forwarded: the caller's credential
/// and cookies, hop-by-hop headers, `accept-encoding` (answers are read on their way), account choices such
/// as `openai-organization` (they belong to the key), and headers that keymux does not know.
fn is_forwarded(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "accept"
            | "accept-language"
            | "anthropic-beta"
            | "anthropic-version"
            | "content-type"
            | "idempotency-key"
            | "openai-beta"
            | "prefer"
            | "traceparent"
            | "tracestate"
            | "user-agent"
            | "x-amzn-bedrock-accept"
            | "x-amzn-bedrock-guardrailidentifier"
            | "x-amzn-bedrock-guardrailversion"
            | "x-amzn-bedrock-performanceconfig-latency"
            | "x-amzn-bedrock-service-tier"
            | "x-amzn-bedrock-trace"
            | "x-client-name"
            | "x-client-request-id"
            | "x-goog-api-client"
            | "x-ms-client-request-id"
    )
}

fn echo_response(key: &Key, attempt: &Attempt<'_>) -> Response<ResponseBody> {
    let body = match attempt.kind {
        RequestKind::Operation { address, peek } => {
            let model = key.deployment(attempt.model).unwrap_or(attempt.model);
            let (headers, body) = (attempt.headers, attempt.body);
            request_url::body(Kind::Echo, address, peek, headers, body, model).joined()
        }
        RequestKind::StoredObject { .. } => attempt.body.clone(),
    };
    let reply = echo::answer(attempt.kind.operation(), &body, attempt.id, attempt.now);
    let mut response = Response::new(ResponseBody::Buffered(reply.frames.into_iter()));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = HeaderValue::from_static(reply.content_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}
