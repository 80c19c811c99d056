//! Opens connections to providers: DNS, TCP, a proxy, TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::config::Transport;
use crate::upstream::secret_header;

/// Opens connections: directly or through a proxy's CONNECT, with TLS for https URLs.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Connector {
    stack: Stack,
    timeout: Duration,
}

#[derive(Clone, Debug)]
enum Stack {
    Plain(TcpConnector),
    Tls(HttpsConnector<TcpConnector>),
}

#[derive(Clone, Debug)]
enum TcpConnector {
    Direct(HttpConnector),
    Proxy(Tunnel<HttpConnector>),
}

pub(in crate::upstream) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
pub(in crate::upstream) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(in crate::upstream) type Connecting<T> =
    Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl Connector {
    pub(in crate::upstream) fn new(transport: &Transport, tls: bool) -> io::Result<Self> {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_keepalive(Some(Duration::from_secs(30)));
        let tcp = match &transport.proxy {
            None => TcpConnector::Direct(http),
            Some(proxy) => {
                let tunnel = Tunnel::new(proxy.uri.clone(), http);
                TcpConnector::Proxy(match &proxy.credentials {
                    None => tunnel,
                    Some(secret) => tunnel.with_auth(secret_header::basic(secret)?),
                })
            }
        };
        let stack = if tls {
            let config = tls_config(transport.ca.as_deref())?;
            let https = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
            Stack::Tls(https.enable_all_versions().wrap_connector(tcp))
        } else {
            Stack::Plain(tcp)
        };
        Ok(Self { stack, timeout: transport.connect_timeout })
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
        let (stack, timeout) = (self.stack.clone(), self.timeout);
        Box::pin(async move {
            let connecting = async {
                match stack {
                    Stack::Plain(mut tcp) => Ok(MaybeHttpsStream::Http(tcp.call(uri).await?)),
                    Stack::Tls(mut https) => https.call(uri).await,
                }
            };
            // One limit for DNS, TCP, the proxy and the TLS handshake together.
            tokio::time::timeout(timeout, connecting).await?
        })
    }
}

impl Service<Uri> for TcpConnector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connecting<TokioIo<TcpStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let mut connector = self.clone();
        Box::pin(async move {
            Ok(match &mut connector {
                TcpConnector::Direct(http) => http.call(uri).await?,
                TcpConnector::Proxy(tunnel) => tunnel.call(uri).await?,
            })
        })
    }
}

/// Trusts only `ca` if the configuration sets it; else the system's certificates, or Mozilla's if the system
/// has none (an image built FROM scratch).
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
