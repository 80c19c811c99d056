//! One attempt against one provider: the request as that provider wants it, with the key in it.

pub mod auth;
pub mod client;
pub mod echo;
pub mod outgoing;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};

pub use client::{Broken, Clients};
pub use outgoing::Outgoing;

use self::auth::Credential;
use self::client::Client;
use crate::config::{Endpoint, Key, Provider};
use crate::provider::{Auth, Kind};
use crate::wire::Operation;

/// A provider as requests reach it.
#[derive(Debug)]
pub struct Upstream {
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
    credential: Credential,
    endpoint: Arc<Endpoint>,
    paths: [PathAndQuery; Operation::ALL.len()],
}

/// What one attempt sends, whatever the key.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// What is asked for.
    pub operation: Operation,
    /// The caller's query string.
    pub query: Option<&'a str>,
    /// The caller's headers.
    pub headers: &'a HeaderMap,
    /// The caller's body with this attempt's model in it.
    pub body: Outgoing,
    /// The id that an answer made here is to carry.
    pub id: &'a str,
    /// Unix time in seconds, for an answer made here.
    pub now: u64,
}

/// An answer's body as it arrives.
#[derive(Debug)]
pub enum Arriving {
    /// From a connection that a task of its own drives.
    Http(hyper::body::Incoming),
    /// From a connection that is driven by whoever reads the body.
    Inline(client::link::Inline),
    /// Made in this process.
    Made(std::vec::IntoIter<Bytes>),
}

impl Upstream {
    /// The provider made ready. Fails on what only shows when it is made: a certificate that the TLS
    /// library refuses, a secret that no header can carry.
    pub fn new(
        provider: &Provider,
        clients: &mut Clients,
        before: Option<&Clients>,
    ) -> io::Result<Self> {
        let (_, auth) = provider.kind.row().served.ok_or_else(|| {
            io::Error::other(format!("providers of kind {} are not served", provider.kind))
        })?;
        let channel = if provider.kind == Kind::Echo {
            Channel::Echo
        } else {
            let tls =
                provider.keys.iter().any(|key| key.endpoint.scheme == http::uri::Scheme::HTTPS);
            Channel::Http(Box::new(clients.client(&provider.transport, tls, before)?))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &provider.headers {
            headers.insert(name.clone(), auth::header(value)?);
        }
        let keys = provider
            .keys
            .iter()
            .map(|key| Ready::new(key, auth, provider))
            .collect::<io::Result<_>>()?;
        Ok(Self { channel, headers, keys })
    }

    /// Sends the attempt with that key, by its place, and waits for the head of the answer.
    pub async fn send(
        &self,
        key: usize,
        attempt: Attempt<'_>,
    ) -> Result<Response<Arriving>, Broken> {
        match &self.channel {
            Channel::Http(client) => {
                let request = self.request(&self.keys[key], attempt).ok_or(Broken::Connect)?;
                client.send(request).await
            }
            Channel::Echo => Ok(echoed(&attempt)),
        }
    }

    /// The body of an error without the key that it may echo.
    pub fn redact(&self, key: usize, body: Bytes) -> Bytes {
        self.keys[key].credential.redact(body)
    }

    fn request(&self, key: &Ready, attempt: Attempt<'_>) -> Option<Request<Outgoing>> {
        let mut request = Request::new(attempt.body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = key.uri(attempt.operation, attempt.query)?;
        let headers = request.headers_mut();
        headers.reserve(12);
        for (name, value) in attempt.headers {
            if goes_upstream(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        key.credential.apply(headers);
        Some(request)
    }
}

impl Ready {
    fn new(key: &Key, auth: Auth, provider: &Provider) -> io::Result<Self> {
        let path = |operation: Operation| {
            let path = format!("{}{}", key.endpoint.prefix, operation.path());
            PathAndQuery::try_from(path).map_err(io::Error::other)
        };
        let mut paths = [const { PathAndQuery::from_static("/") }; Operation::ALL.len()];
        for operation in Operation::ALL {
            paths[operation as usize] = path(operation)?;
        }
        Ok(Self {
            credential: Credential::of(key, auth, provider.headers.iter().map(|(_, value)| value))?,
            endpoint: key.endpoint.clone(),
            paths,
        })
    }

    fn uri(&self, operation: Operation, query: Option<&str>) -> Option<Uri> {
        let path = &self.paths[operation as usize];
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.endpoint.scheme.clone());
        parts.authority = Some(self.endpoint.authority.clone());
        parts.path_and_query = Some(match query {
            None => path.clone(),
            Some(query) => PathAndQuery::try_from(format!("{path}?{query}")).ok()?,
        });
        Uri::from_parts(parts).ok()
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
            | "content-type"
            | "idempotency-key"
            | "openai-beta"
            | "traceparent"
            | "tracestate"
            | "user-agent"
            | "x-client-request-id"
    )
}

fn echoed(attempt: &Attempt<'_>) -> Response<Arriving> {
    let reply = echo::answer(attempt.operation, &attempt.body.joined(), attempt.id, attempt.now);
    let mut response = Response::new(Arriving::Made(reply.frames.into_iter()));
    *response.status_mut() =
        http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = HeaderValue::from_static(reply.content_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Arriving::Http(incoming) => std::pin::Pin::new(incoming).poll_frame(cx),
            Arriving::Inline(inline) => {
                inline.poll_data(cx).map(|next| next.map(|data| data.map(hyper::body::Frame::data)))
            }
            Arriving::Made(frames) => std::task::Poll::Ready(
                frames.next().map(|bytes| Ok(hyper::body::Frame::data(bytes))),
            ),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Arriving::Http(incoming) => incoming.is_end_stream(),
            Arriving::Inline(inline) => inline.is_over(),
            Arriving::Made(frames) => frames.as_slice().is_empty(),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Arriving::Http(incoming) => incoming.size_hint(),
            Arriving::Inline(inline) => inline.left(),
            Arriving::Made(frames) => hyper::body::SizeHint::with_exact(
                frames.as_slice().iter().map(|frame| frame.len() as u64).sum(),
            ),
        }
    }
}
