//! The connections to providers: one hyper client, and so one pool, for each way of getting there.
//!
//! A pool outlives the configuration it was made for: a new configuration takes over every client
//! whose [`Transport`] it still needs. How a request travels is known in this file only, so that the
//! client can be replaced by one that drives the connection in the caller's own task.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{self, Client as Pooled};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tower_service::Service;

use super::auth;
use super::outgoing::Outgoing;
use crate::config::Transport;

/// Idle connections kept for each host. More than that were in use at once a moment ago; the pool
/// closes them after [`IDLE`].
const IDLE_PER_HOST: usize = 1024;
/// How long an idle connection is kept: under the 60 s after which common load balancers drop it.
const IDLE: Duration = Duration::from_secs(55);
/// HTTP/2 connections are pinged that often while requests are open, so that a dead peer shows.
const PING: Duration = Duration::from_secs(20);

/// A pool of connections for one [`Transport`].
#[derive(Clone, Debug)]
pub struct Client {
    pooled: Pooled<Connector, Outgoing>,
}

impl Client {
    /// Sends a request and waits for the head of its answer.
    pub async fn send(&self, request: Request<Outgoing>) -> Result<Response<Incoming>, Broken> {
        self.pooled.request(request).await.map_err(|error| Broken::of(&error))
    }
}

/// Why no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// No connection came about.
    Connect,
    /// The connection broke before the head of an answer.
    Lost,
    /// Nothing came in time.
    Silent,
}

impl Broken {
    fn of(error: &legacy::Error) -> Self {
        if error.is_connect() { Broken::Connect } else { Broken::Lost }
    }

    /// The failure in words for the caller; the library's own text may name addresses.
    pub fn words(self) -> &'static str {
        match self {
            Broken::Connect => "could not be reached",
            Broken::Lost => "closed the connection before it answered",
            Broken::Silent => "did not answer in time",
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
    let pooled = Pooled::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .http2_keep_alive_interval(PING)
        .http2_adaptive_window(true)
        .build(Connector::new(transport, tls)?);
    Ok(Client { pooled })
}

/// Opens connections: directly or through a proxy's CONNECT, with TLS where the address says https.
#[derive(Clone, Debug)]
struct Connector {
    path: Path,
    timeout: Duration,
}

#[derive(Clone, Debug)]
enum Path {
    Plain(Via),
    Tls(HttpsConnector<Via>),
}

#[derive(Clone, Debug)]
enum Via {
    Direct(HttpConnector),
    Proxy(Tunnel<HttpConnector>),
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl Connector {
    fn new(transport: &Transport, tls: bool) -> io::Result<Self> {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_keepalive(Some(Duration::from_secs(30)));
        let via = match &transport.proxy {
            None => Via::Direct(http),
            Some(proxy) => {
                let tunnel = Tunnel::new(proxy.uri.clone(), http);
                Via::Proxy(match &proxy.credentials {
                    None => tunnel,
                    Some(secret) => tunnel.with_auth(auth::proxy(secret)?),
                })
            }
        };
        let path = if tls {
            let config = tls_config(transport.ca.as_deref())?;
            let https = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
            Path::Tls(https.enable_all_versions().wrap_connector(via))
        } else {
            Path::Plain(via)
        };
        Ok(Self { path, timeout: transport.connect_timeout })
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting<Stream> {
        let (path, timeout) = (self.path.clone(), self.timeout);
        Box::pin(async move {
            let connecting = async {
                match path {
                    Path::Plain(mut via) => Ok(MaybeHttpsStream::Http(via.call(uri).await?)),
                    Path::Tls(mut https) => https.call(uri).await,
                }
            };
            // One limit for name lookup, TCP, the proxy and the TLS handshake together.
            tokio::time::timeout(timeout, connecting).await?
        })
    }
}

impl Service<Uri> for Via {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connecting<TokioIo<TcpStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let mut via = self.clone();
        Box::pin(async move {
            Ok(match &mut via {
                Via::Direct(http) => http.call(uri).await?,
                Via::Proxy(tunnel) => tunnel.call(uri).await?,
            })
        })
    }
}

/// Trusts `ca` alone when the file names one; else the system's certificates, or Mozilla's where the
/// system has none (an image built FROM scratch).
fn tls_config(ca: Option<&[CertificateDer<'static>]>) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(certificates) = ca {
        for certificate in certificates {
            roots.add(certificate.clone()).map_err(io::Error::other)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
