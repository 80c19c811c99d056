//! The connections to providers: one client, and so one pool, for each way of getting there.
//!
//! A pool outlives the configuration it was made for: a new configuration takes over every client
//! whose [`Transport`] it still needs. HTTP/1.1 connections are driven by the task that serves the
//! caller; hosts that choose HTTP/2 are left to hyper-util's client.

pub(super) mod connect;
mod fetch;
pub(super) mod h1_connection;
mod pool;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{Request, Response, Uri};
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::client::legacy::{self, Client as Pooled};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use self::connect::Connector;
use self::h1_connection::{Inline, Link};
use self::pool::{IDLE, IDLE_PER_HOST, Place, Pool};
use super::Arriving;
use super::request_body::Outgoing;
use super::token::NoToken;
use crate::config::Transport;

/// HTTP/2 connections are pinged that often while requests are open, so that a dead peer shows.
const PING: Duration = Duration::from_secs(20);

/// A pool of connections for one [`Transport`].
#[derive(Clone, Debug)]
pub struct Client {
    connector: Connector,
    pool: Arc<Pool>,
    /// For hosts that speak HTTP/2.
    pooled: Pooled<Connector, Outgoing>,
}

impl Client {
    /// Sends a request on a kept connection, where there is one, and waits for the head of its answer.
    /// [`Broken::Stale`] says that the provider had left that connection: then [`Client::send_anew`] does
    /// not meet the same.
    pub async fn send(&self, request: Request<Outgoing>) -> Result<Response<Arriving>, Broken> {
        let place = self.pool.place(request.uri()).ok_or(Broken::Connect)?;
        let Some(mut link) = place.pop() else { return self.connect(request, place).await };
        match link.send(addressed(request, &place)).await {
            Ok(response) => Ok(inline(response, link, place)),
            Err(_) if link.is_unheard() => Err(Broken::Stale),
            Err(_) => Err(Broken::Lost),
        }
    }

    /// Sends a request on a connection of its own.
    pub async fn send_anew(
        &self,
        request: Request<Outgoing>,
    ) -> Result<Response<Arriving>, Broken> {
        let place = self.pool.place(request.uri()).ok_or(Broken::Connect)?;
        self.connect(request, place).await
    }

    // In a box: it happens seldom, and is larger than all else that a request waits for.
    fn connect(
        &self,
        request: Request<Outgoing>,
        place: Arc<Place>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Arriving>, Broken>> + Send + '_>> {
        Box::pin(self.send_to(request, place))
    }

    /// Sends a request on a new connection, or leaves it to the client for HTTP/2.
    async fn send_to(
        &self,
        request: Request<Outgoing>,
        place: Arc<Place>,
    ) -> Result<Response<Arriving>, Broken> {
        if place.speaks_h2() {
            return self.send_pooled(request).await;
        }
        let connecting = self.connector.clone().call(request.uri().clone());
        let stream = connecting.await.map_err(|_| Broken::Connect)?;
        if stream.connected().is_negotiated_h2() {
            place.set_h2();
            return self.send_pooled(request).await;
        }
        self.pool.keep_swept();
        let mut link = Link::new(stream).await.map_err(|_| Broken::Connect)?;
        let response = link.send(addressed(request, &place)).await.map_err(|_| Broken::Lost)?;
        Ok(inline(response, link, place))
    }

    /// What opens its connections, for libraries that bring a client of their own.
    pub(super) fn connector(&self) -> Connector {
        self.connector.clone()
    }

    async fn send_pooled(&self, request: Request<Outgoing>) -> Result<Response<Arriving>, Broken> {
        let response = self.pooled.request(request).await;
        Ok(response.map_err(|error| Broken::of(&error))?.map(Arriving::Http))
    }
}

/// The request in the form it has on an HTTP/1.1 connection: a path, and the host in a header.
fn addressed(mut request: Request<Outgoing>, place: &Place) -> Request<Outgoing> {
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    request.headers_mut().entry(HOST).or_insert_with(|| place.host());
    request
}

fn inline(
    response: Response<hyper::body::Incoming>,
    link: Link,
    place: Arc<Place>,
) -> Response<Arriving> {
    response.map(|body| Arriving::Inline(Inline::new(body, link, place)))
}

/// Why no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The model's name can stand in no address of the provider's; it was not asked.
    Name,
    /// No connection came about.
    Connect,
    /// The connection broke before the head of an answer.
    Lost,
    /// A connection kept from an earlier request was closed, and not a byte of an answer came.
    Stale,
    /// Nothing came in time.
    Silent,
    /// The issuer of its tokens refuses the key's credential; the provider was not asked.
    Refused,
    /// The issuer of its tokens gave none; the provider was not asked.
    NoToken,
}

impl Broken {
    fn of(error: &legacy::Error) -> Self {
        if error.is_connect() { Broken::Connect } else { Broken::Lost }
    }

    /// The failure in words for the caller; the library's own text may name addresses.
    pub fn words(self) -> &'static str {
        match self {
            Broken::Name => "was not asked: it has no address for a model of this name",
            Broken::Connect => "could not be reached",
            Broken::Lost | Broken::Stale => "closed the connection before it answered",
            Broken::Silent => "did not answer in time",
            Broken::Refused => {
                "was not asked: the issuer of its tokens refuses the key's credential"
            }
            Broken::NoToken => "was not asked: the issuer of its tokens gave none",
        }
    }
}

impl From<NoToken> for Broken {
    fn from(why: NoToken) -> Self {
        match why {
            NoToken::Refused(_) => Broken::Refused,
            NoToken::Unreachable(_) | NoToken::Silent => Broken::NoToken,
        }
    }
}

/// The clients of one configuration.
#[derive(Debug, Default)]
pub struct Clients {
    known: Vec<(Transport, bool, Client)>,
}

impl Clients {
    /// The client for this way of getting there: one made before, or from `before`, or a new one.
    pub fn client(
        &mut self,
        transport: &Transport,
        tls: bool,
        before: Option<&Clients>,
    ) -> io::Result<Client> {
        let same =
            |(t, with_tls, _): &&(Transport, bool, Client)| t == transport && *with_tls == tls;
        if let Some((_, _, client)) = self.known.iter().find(same) {
            return Ok(client.clone());
        }
        let kept = before.and_then(|clients| clients.known.iter().find(same));
        let client = match kept {
            Some((_, _, client)) => client.clone(),
            None => build(transport, tls)?,
        };
        self.known.push((transport.clone(), tls, client.clone()));
        Ok(client)
    }
}

fn build(transport: &Transport, tls: bool) -> io::Result<Client> {
    let connector = Connector::new(transport, tls)?;
    let pooled = Pooled::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .http2_keep_alive_interval(PING)
        .http2_adaptive_window(true)
        .build(connector.clone());
    Ok(Client { connector, pool: Arc::default(), pooled })
}

#[cfg(test)]
mod tests;
