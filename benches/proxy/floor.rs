//! The least that a proxy on hyper can do: another target, another `Authorization`, and both bodies
//! streamed through as they come. What keymux costs beyond this is its own.

use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::http::uri::{Authority, Scheme};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::role::listen;
use crate::{Result, mock};

/// Serves for ever.
pub(crate) async fn run(upstream: SocketAddr) -> Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let to = Authority::try_from(upstream.to_string())?;
    let listener = listen().await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, to) = (client.clone(), to.clone());
        let service = service_fn(move |request| forward(client.clone(), to.clone(), request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // What goes wrong here is seen by the callers, who compare whole answers.
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn forward(
    client: Client<HttpConnector, Incoming>,
    to: Authority,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>> {
    let mut target = std::mem::take(request.uri_mut()).into_parts();
    target.scheme = Some(Scheme::HTTP);
    target.authority = Some(to);
    *request.uri_mut() = Uri::from_parts(target)?;
    let shown = HeaderValue::try_from(format!("Bearer {}", mock::KEYS[0]))?;
    request.headers_mut().insert(AUTHORIZATION, shown);
    // The client writes it anew, for the target.
    request.headers_mut().remove(HOST);
    Ok(client.request(request).await?)
}
