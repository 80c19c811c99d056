//! One attempt against one provider: the request as that provider wants it, with the key in it.

mod arriving;
pub mod auth;
pub mod aws;
pub mod client;
pub mod echo;
pub mod outgoing;
pub mod probe;
pub mod seal;
mod target;
pub mod token;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};

pub use arriving::Arriving;
pub use client::{Broken, Clients};
pub use outgoing::Outgoing;
pub use target::segment;

use self::auth::{Credential, ResponseContext};
use self::client::Client;
use self::seal::Seal;
use self::target::{Paths, Target};
use self::token::Cells;
use crate::config::{Key, Provider};
use crate::provider::Kind;
use crate::wire::api::Operation;
use crate::wire::api::resources::StoredObject;
use crate::wire::api::routes::Address;
use crate::wire::inspect::model::Peek;

/// What the next configuration takes over where it is the same.
#[derive(Debug, Default)]
pub struct Kept {
    /// The connections.
    pub clients: Clients,
    /// The tokens that go into `authorization`.
    pub bearers: Cells<HeaderValue>,
    /// The credentials that requests to AWS are signed with.
    pub aws: Cells<aws::Keys>,
}

/// A provider as requests reach it.
#[derive(Debug)]
pub struct Upstream {
    kind: Kind,
    channel: Channel,
    headers: HeaderMap,
    keys: Vec<Ready>,
}

#[derive(Debug)]
enum Channel {
    Http(Box<Client>),
    Echo,
}

/// A key with all that its requests have in common.
#[derive(Debug)]
struct Ready {
    key: Arc<Key>,
    credential: Credential,
    paths: Paths,
    seal: Seal,
}

/// What one attempt asks, whatever the key.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// What is asked for.
    pub what: What<'a>,
    /// The model asked of the provider, before `deployments` maps it.
    pub model: &'a str,
    /// The caller's query string.
    pub query: Option<&'a str>,
    /// The caller's headers.
    pub headers: &'a HeaderMap,
    /// The caller's body.
    pub body: &'a Bytes,
    /// The id that an answer made here is to carry.
    pub id: &'a str,
    /// Unix time in seconds, for an answer made here.
    pub now: u64,
}

/// What an attempt asks for.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// An answer of a model.
    Operation {
        /// As the caller's path has it.
        address: &'a Address<'a>,
        /// What was found in the body.
        peek: &'a Peek<'a>,
    },
    /// Something that the provider keeps.
    Stored {
        /// With `id` as the provider knows it.
        stored: &'a StoredObject<'a>,
        /// The caller's method.
        method: &'a Method,
    },
}

impl What<'_> {
    /// What it is in the table of operations.
    pub fn operation(&self) -> Operation {
        match self {
            What::Operation { address, .. } => address.operation,
            What::Stored { stored, .. } => stored.operation,
        }
    }

    /// Whether the answer is asked for as a stream.
    pub fn streams(&self) -> bool {
        match self {
            What::Operation { address, peek } => peek.stream || address.operation.streams(),
            What::Stored { .. } => false,
        }
    }
}

impl Upstream {
    /// The provider made ready. Fails on what only shows when it is made: a certificate that the TLS
    /// library refuses, a secret that no header can carry. Must be called within the runtime.
    pub fn new(provider: &Provider, kept: &mut Kept, before: Option<&Kept>) -> io::Result<Self> {
        let channel = if provider.kind == Kind::Echo {
            Channel::Echo
        } else {
            // Who AWS's credentials are is asked of another address than what they are used at.
            let tls = provider.kind == Kind::Bedrock
                || provider.keys.iter().any(|key| key.endpoint.scheme == http::uri::Scheme::HTTPS);
            let clients = before.map(|kept| &kept.clients);
            Channel::Http(Box::new(kept.clients.client(&provider.transport, tls, clients)?))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &provider.headers {
            headers.insert(name.clone(), auth::header(value)?);
        }
        let ready = |key| Ready::new(key, provider, kept, before);
        let keys = provider.keys.iter().map(ready).collect::<io::Result<_>>()?;
        Ok(Self { kind: provider.kind, channel, headers, keys })
    }

    /// Sends the attempt with that key, by its place, and waits for the head of the answer. It is sent once
    /// more, made anew, when the provider had left the connection, and when it does not take the token any
    /// more.
    pub async fn send(
        &self,
        key: usize,
        attempt: Attempt<'_>,
    ) -> Result<Response<Arriving>, Broken> {
        let Channel::Http(client) = &self.channel else {
            return Ok(echoed(&self.keys[key].key, &attempt));
        };
        let ready = &self.keys[key];
        let (mut stale, mut renewed) = (false, false);
        loop {
            let mut request = self.request(ready, &attempt).ok_or(Broken::Name)?;
            let shown = ready.authorize(&mut request, &attempt).await?;
            let sent =
                if stale { client.send_anew(request).await } else { client.send(request).await };
            match sent {
                Err(Broken::Stale) if !stale => stale = true,
                Ok(response) if !renewed && ready.credential.answered(&response, &shown) => {
                    renewed = true;
                }
                Ok(response) if self.packs(&attempt) => return arriving::unpacked(response).await,
                sent => return sent,
            }
        }
    }

    /// Whether the answer comes in another envelope than the caller's.
    fn packs(&self, attempt: &Attempt<'_>) -> bool {
        self.kind == Kind::Bedrock && attempt.what.operation() == Operation::Messages
    }

    /// The body of an error without the key that it may echo.
    pub fn redact(&self, key: usize, body: Bytes) -> Bytes {
        self.keys[key].credential.redact(body)
    }

    /// Signs the ids that a key's requests are given.
    pub fn seal(&self, key: usize) -> &Seal {
        &self.keys[key].seal
    }

    /// The request, without the credential.
    fn request(&self, key: &Ready, attempt: &Attempt<'_>) -> Option<Request<Outgoing>> {
        let Target { uri, body } = key.paths.target(self.kind, &key.key, attempt)?;
        let mut request = Request::new(body);
        *request.method_mut() = match attempt.what {
            What::Operation { .. } => Method::POST,
            What::Stored { method, .. } => method.clone(),
        };
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        // Most requests have fewer, and more would be past what the allocator keeps at hand.
        headers.reserve(8);
        for (name, value) in attempt.headers {
            if goes_upstream(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        Some(request)
    }
}

impl Ready {
    fn new(
        key: &Arc<Key>,
        provider: &Provider,
        kept: &mut Kept,
        before: Option<&Kept>,
    ) -> io::Result<Self> {
        let others = provider.headers.iter().map(|(_, value)| value);
        let transport = &provider.transport;
        Ok(Self {
            credential: Credential::of(key, provider.kind, others, transport, kept, before)?,
            paths: Paths::new(provider.kind, key)?,
            seal: Seal::of(key),
            key: key.clone(),
        })
    }

    /// Comes last of all that is done to a request: it may be signed.
    async fn authorize(
        &self,
        request: &mut Request<Outgoing>,
        attempt: &Attempt<'_>,
    ) -> Result<ResponseContext, Broken> {
        let (region, _) = self.key.region_and_model(attempt.model);
        self.credential.authorize(request, region).await
    }
}

/// Which of a caller's headers a provider gets to see. All others stay here: the caller's credential
/// and cookies, hop-by-hop headers, `accept-encoding` (answers are listened to on their way), account
/// choices such as `openai-organization` (they belong to the key), and what we do not know.
fn goes_upstream(name: &HeaderName) -> bool {
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

fn echoed(key: &Key, attempt: &Attempt<'_>) -> Response<Arriving> {
    let operation = attempt.what.operation();
    let body = match attempt.what {
        What::Operation { address, peek } => {
            let model = key.deployment(attempt.model).unwrap_or(attempt.model);
            target::body(Kind::Echo, address, peek, attempt.headers, attempt.body, model).joined()
        }
        What::Stored { .. } => attempt.body.clone(),
    };
    let reply = echo::answer(operation, &body, attempt.id, attempt.now);
    let mut response = Response::new(Arriving::Made(reply.frames.into_iter()));
    *response.status_mut() =
        http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = HeaderValue::from_static(reply.content_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}
