//! How a connection to a provider comes about: name lookup, TCP, a proxy, TLS.

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

/// Opens connections: directly or through a proxy's CONNECT, with TLS where the address says https.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Connector {
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
        let via = match &transport.proxy {
            None => Via::Direct(http),
            Some(proxy) => {
                let tunnel = Tunnel::new(proxy.uri.clone(), http);
                Via::Proxy(match &proxy.credentials {
                    None => tunnel,
                    Some(secret) => tunnel.with_auth(secret_header::basic(secret)?),
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
