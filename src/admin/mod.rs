//! The admin listener: health, metrics, the state of the keys, and the active configuration with its
//! secrets replaced by fingerprints.

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
use crate::gateway::server::{AcceptErrors, Listener, Socket};
use crate::gateway::{Live, ReloadOutcome};
use crate::secret::sha256;

/// Highest number of open connections: a scraper, a prober and a few operators.
const MAX_CONNECTIONS: usize = 64;
/// Longest time for the head of a request, and for an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const CHECK_PATH: &str = "/keys/check";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// The text format that Prometheus prefers.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the process ends.
pub async fn run(live: Arc<Live>, listener: Listener) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let checks = Arc::new(Checks::default());
    let mut errors = AcceptErrors::default();
    loop {
        let Ok(permit) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok(stream) => {
                let (live, checks) = (live.clone(), checks.clone());
                tokio::spawn(async move {
                    serve_connection(live, checks, stream).await;
                    drop(permit);
                });
            }
            Err(error) => errors.back_off(&error).await,
        }
    }
}

async fn serve_connection(live: Arc<Live>, checks: Arc<Checks>, stream: Socket) {
    let service = service_fn(|request: Request<Incoming>| {
        let (live, checks) = (&live, &checks);
        async move {
            let is_check = request.method() == Method::POST && request.uri().path() == CHECK_PATH;
            Ok::<_, Infallible>(if is_check && is_authorized(live, &request) {
                run_check(live, checks).await
            } else {
                answer(live, checks, &request)
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A prober that disconnects early is not worth a log line.
    let _ = served.await;
}

fn answer(live: &Live, checks: &Checks, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    match path {
        _ if !is_read && path != CHECK_PATH => text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n"),
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(live),
        _ if !is_authorized(live, request) => {
            text(StatusCode::UNAUTHORIZED, "send the admin token as `Authorization: Bearer …`\n")
        }
        "/metrics" => {
            live.gateway().update_key_gauges();
            respond(StatusCode::OK, OPENMETRICS, live.metrics.encode())
        }
        "/config" => configuration(live),
        "/keys" => key_states(live, checks),
        CHECK_PATH => text(StatusCode::METHOD_NOT_ALLOWED, "POST only\n"),
        "/" => text(StatusCode::OK, "keymux: /livez /readyz /metrics /config /keys /keys/check\n"),
        _ => text(StatusCode::NOT_FOUND, "/livez /readyz /metrics /config /keys /keys/check\n"),
    }
}

/// Returns true if the request contains the admin token, or none is configured.
fn is_authorized(live: &Live, request: &Request<Incoming>) -> bool {
    let gateway = live.gateway();
    let Some(token) = &gateway.config.admin.token_sha256 else { return true };
    let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let Some((scheme, sent)) = header.and_then(|value| value.split_at_checked(7)) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"bearer ")
        && aws_lc_rs::constant_time::verify_slices_are_equal(token, &sha256(sent.trim_ascii()))
            .is_ok()
}

/// Reports whether the process accepts requests, and the result of the latest reload. A rejected reload
/// does not make it unready: the last valid configuration stays active.
fn readiness(live: &Live) -> Response<Full<Bytes>> {
    let stopping = live.is_stopping();
    let hash = live.gateway().config.hash.clone();
    let reload = match &*live.last_reload.lock().unwrap_or_else(PoisonError::into_inner) {
        ReloadOutcome::Applied(at) => {
            json!({"result": "success", "at": humantime::format_rfc3339_seconds(*at).to_string()})
        }
        ReloadOutcome::Rejected(at, problems) => json!({
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

fn key_states(live: &Live, checks: &Checks) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, JSON, format!("{:#}", keys::list(&live.gateway(), checks)))
}

/// Checks the keys at their providers and answers like `/keys`.
async fn run_check(live: &Live, checks: &Checks) -> Response<Full<Bytes>> {
    if checks.run(live.gateway()).await {
        key_states(live, checks)
    } else {
        text(StatusCode::CONFLICT, "another check is running\n")
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
