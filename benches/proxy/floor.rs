//! The least that a proxy on hyper can do: another target, another `Authorization`, and both bodies
//! streamed through as they come. What keymux costs beyond this is its own.

use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::http::uri::{Authority, Scheme};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::role::serve;
use crate::{Result, mock};

/// Serves for ever.
pub(crate) async fn run(upstream: SocketAddr) -> Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let to = Authority::try_from(upstream.to_string())?;
    serve(move || {
        let (client, to) = (client.clone(), to.clone());
        service_fn(move |request| forward(client.clone(), to.clone(), request))
    })
    .await
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
