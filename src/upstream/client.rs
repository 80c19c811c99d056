//! The connections to providers: one client, and so one pool, for each [`Transport`].
//!
//! A pool outlives the configuration it was made for: the next configuration takes over every client
//! whose [`Transport`] it still uses. HTTP/1.1 connections are driven by the task that serves the
//! caller; hosts that negotiate HTTP/2 are left to hyper-util's client.
//!
//! ```text
//! client/connect.rs        opens a connection: DNS, TCP, proxy, TLS
//! client/h1_connection.rs  an HTTP/1.1 connection without a task of its own
//! client/pool.rs           idle HTTP/1.1 connections by host
//! client/body.rs           the body of an answer; returns its connection to the pool
//! ```

mod body;
pub(super) mod connect;
mod h1_connection;
mod pool;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use self::body::H1Body;
pub use self::body::HttpBody;
use self::connect::Connector;
use self::h1_connection::H1Connection;
use self::pool::{Host, IDLE, IDLE_PER_HOST, Pool};
use super::error::UpstreamError;
use super::request_body::RequestBody;
use crate::config::Transport;

/// Interval of pings on HTTP/2 connections with open requests, so that a dead peer is detected.
const PING: Duration = Duration::from_secs(20);
/// Bytes read of a short answer: a token, a list of models, an error.
const SHORT: usize = 64 * 1024;

type Sent = Result<Response<HttpBody>, UpstreamError>;

/// A pool of connections for one [`Transport`].
#[derive(Clone, Debug)]
pub struct HttpClient {
    connector: Connector,
    pool: Arc<Pool>,
    /// For hosts that negotiate HTTP/2.
    pooled: Pooled<Connector, RequestBody>,
}

impl HttpClient {
    /// Sends a request, on an idle connection if there is one, and waits for the head of its answer.
    /// After [`UpstreamError::StaleConnection`] send the request again with [`HttpClient::send_on_new`],
    /// which cannot fail that way.
    pub async fn send(&self, request: Request<RequestBody>) -> Sent {
        let host = self.pool.host(request.uri()).ok_or(UpstreamError::Connect)?;
        let Some(mut connection) = host.pop() else { return self.connect(request, host).await };
        match connection.send(in_origin_form(request, &host)).await {
            Ok(response) => Ok(with_h1_body(response, connection, host)),
            Err(_) if connection.has_read() => Err(UpstreamError::ConnectionLost),
            Err(_) => Err(UpstreamError::StaleConnection),
        }
    }

    /// Sends a request on a new connection.
    pub async fn send_on_new(&self, request: Request<RequestBody>) -> Sent {
        let host = self.pool.host(request.uri()).ok_or(UpstreamError::Connect)?;
        self.connect(request, host).await
    }

    /// Sends a request on a new connection and reads its answer, at most its first 64 KiB. The caller
    /// sets the time limit.
    pub async fn fetch(&self, request: Request<Bytes>) -> Result<Response<Bytes>, UpstreamError> {
        let response = self.send_on_new(request.map(RequestBody::whole)).await?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, read_short(body).await?))
    }

    /// Returns the connector, for libraries that have their own client.
    pub(super) fn connector(&self) -> Connector {
        self.connector.clone()
    }

    // In a box: it is rare, and larger than everything else that a request's future holds.
    fn connect(
        &self,
        request: Request<RequestBody>,
        host: Arc<Host>,
    ) -> Pin<Box<dyn Future<Output = Sent> + Send + '_>> {
        Box::pin(self.connect_and_send(request, host))
    }

    /// Sends a request on a new connection, or with hyper-util's client if the host negotiates HTTP/2.
    async fn connect_and_send(&self, request: Request<RequestBody>, host: Arc<Host>) -> Sent {
        if host.supports_h2() {
            return self.send_pooled(request).await;
        }
        let connecting = self.connector.clone().call(request.uri().clone());
        let stream = connecting.await.map_err(|_| UpstreamError::Connect)?;
        if stream.connected().is_negotiated_h2() {
            host.set_h2();
            return self.send_pooled(request).await;
        }
        self.pool.start_sweeper();
        let mut connection = H1Connection::new(stream).await.map_err(|_| UpstreamError::Connect)?;
        let response = connection.send(in_origin_form(request, &host)).await;
        let response = response.map_err(|_| UpstreamError::ConnectionLost)?;
        Ok(with_h1_body(response, connection, host))
    }

    async fn send_pooled(&self, request: Request<RequestBody>) -> Sent {
        let response = self.pooled.request(request).await.map_err(|error| {
            if error.is_connect() { UpstreamError::Connect } else { UpstreamError::ConnectionLost }
        })?;
        Ok(response.map(HttpBody::Pooled))
    }
}

/// Reads a body to its end, or its first 64 KiB.
pub(super) async fn read_short(mut body: HttpBody) -> Result<Bytes, UpstreamError> {
    let mut out = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| UpstreamError::ConnectionLost)?;
        let bytes = frame.into_data().unwrap_or_default();
        let room = SHORT - out.len();
        out.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            break;
        }
    }
    Ok(out.freeze())
}

/// Changes the URI to the path alone and adds the Host header, as HTTP/1.1 requires.
fn in_origin_form(mut request: Request<RequestBody>, host: &Host) -> Request<RequestBody> {
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    request.headers_mut().entry(HOST).or_insert_with(|| host.header());
    request
}

fn with_h1_body(
    response: Response<hyper::body::Incoming>,
    connection: H1Connection,
    host: Arc<Host>,
) -> Response<HttpBody> {
    response.map(|body| HttpBody::H1(H1Body::new(body, connection, host)))
}

/// The clients of one configuration.
#[derive(Debug, Default)]
pub struct HttpClients {
    clients: Vec<(Transport, bool, HttpClient)>,
}

impl HttpClients {
    /// Returns the client for this transport: from this configuration, else from `before`, else a new
    /// one.
    pub fn client(
        &mut self,
        transport: &Transport,
        tls: bool,
        before: Option<&HttpClients>,
    ) -> io::Result<HttpClient> {
        if let Some(client) = self.find(transport, tls) {
            return Ok(client);
        }
        let client = match before.and_then(|before| before.find(transport, tls)) {
            Some(client) => client,
            None => new_client(transport, tls)?,
        };
        self.clients.push((transport.clone(), tls, client.clone()));
        Ok(client)
    }

    fn find(&self, transport: &Transport, tls: bool) -> Option<HttpClient> {
        let mut clients = self.clients.iter();
        let found = clients.find(|(own, with_tls, _)| own == transport && *with_tls == tls);
        found.map(|(_, _, client)| client.clone())
    }
}

fn new_client(transport: &Transport, tls: bool) -> io::Result<HttpClient> {
    let connector = Connector::new(transport, tls)?;
    let pooled = Pooled::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .http2_keep_alive_interval(PING)
        .http2_adaptive_window(true)
        .build(connector.clone());
    Ok(HttpClient { connector, pool: Arc::default(), pooled })
}

#[cfg(test)]
mod tests;
