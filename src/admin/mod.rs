//! The second listener: health, metrics, how the keys fare, the configuration in force with its secrets
//! hidden.

mod keys;

use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::sync::Semaphore;

use self::keys::Checks;
use crate::gateway::Live;
use crate::gateway::reload::Outcome;
use crate::gateway::serve::{Listener, Stream, Trouble};
use crate::secret::sha256;

/// Connections at once: a scraper, a prober, an operator or two.
const CONNECTIONS: usize = 64;
/// How long the head of a request may take, and a connection rest.
const HEAD: Duration = Duration::from_secs(10);
const CHECK: &str = "/keys/check";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// The text format that Prometheus asks for first.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the program ends.
pub async fn run(live: Arc<Live>, listener: Listener) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let checks = Arc::new(Checks::default());
    let mut trouble = Trouble::default();
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok(stream) => {
                let (live, checks) = (live.clone(), checks.clone());
                tokio::spawn(async move {
                    connection(live, checks, stream).await;
                    drop(permit);
                });
            }
            Err(error) => trouble.rest(&error).await,
        }
    }
}

async fn connection(live: Arc<Live>, checks: Arc<Checks>, stream: Stream) {
    let service = service_fn(|request: Request<Incoming>| {
        let (live, checks) = (&live, &checks);
        async move {
            let checks_keys = request.method() == Method::POST && request.uri().path() == CHECK;
            Ok::<_, Infallible>(if checks_keys && allowed(live, &request) {
                check(live, checks).await
            } else {
                answer(live, checks, &request)
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // A prober that leaves early is no news.
    let _ = served.await;
}

fn answer(live: &Live, checks: &Checks, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    match path {
        _ if !reads && path != CHECK => text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n"),
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => ready(live),
        _ if !allowed(live, request) => {
            text(StatusCode::UNAUTHORIZED, "send the admin token as `Authorization: Bearer …`\n")
        }
        "/metrics" => {
            live.gateway().measure();
            respond(StatusCode::OK, OPENMETRICS, live.metrics.text())
        }
        "/config" => configuration(live),
        "/keys" => known(live, checks),
        CHECK => text(StatusCode::METHOD_NOT_ALLOWED, "POST only\n"),
        "/" => text(StatusCode::OK, "keymux: /livez /readyz /metrics /config /keys /keys/check\n"),
        _ => text(StatusCode::NOT_FOUND, "/livez /readyz /metrics /config /keys /keys/check\n"),
    }
}

/// Whether the request carries the admin token, where one is set.
fn allowed(live: &Live, request: &Request<Incoming>) -> bool {
    let gateway = live.gateway();
    let Some(token) = &gateway.config.admin.token_sha256 else { return true };
    let shown = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let Some((scheme, shown)) = shown.and_then(|shown| shown.split_at_checked(7)) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"bearer ")
        && aws_lc_rs::constant_time::verify_slices_are_equal(token, &sha256(shown.trim_ascii()))
            .is_ok()
}

/// Ready to take requests; and how the latest change of the file fared, which makes nobody unready:
/// the last good configuration is in force.
fn ready(live: &Live) -> Response<Full<Bytes>> {
    let stopping = live.is_stopping();
    let hash = live.gateway().config.hash.clone();
    let reload = match &*live.reloaded.lock().unwrap_or_else(PoisonError::into_inner) {
        Outcome::Taken(at) => {
            json!({"result": "success", "at": humantime::format_rfc3339_seconds(*at).to_string()})
        }
        Outcome::Rejected(at, problems) => json!({
            "result": "rejected",
            "at": humantime::format_rfc3339_seconds(*at).to_string(),
            "problems": problems,
        }),
    };
    let status = if stopping { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let state = if stopping { "stopping" } else { "ready" };
    respond(
        status,
        JSON,
        json!({"status": state, "config": hash, "last_reload": reload}).to_string(),
    )
}

fn configuration(live: &Live) -> Response<Full<Bytes>> {
    let gateway = live.gateway();
    let body = json!({"hash": gateway.config.hash, "settings": gateway.config.effective});
    respond(StatusCode::OK, JSON, format!("{body:#}"))
}

fn known(live: &Live, checks: &Checks) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, JSON, format!("{:#}", keys::list(&live.gateway(), checks)))
}

/// Asks the providers about the keys, and answers as `/keys` does then.
async fn check(live: &Live, checks: &Checks) -> Response<Full<Bytes>> {
    if checks.run(live.gateway()).await {
        known(live, checks)
    } else {
        text(StatusCode::CONFLICT, "another check is under way\n")
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    respond(status, TEXT, body)
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
