//! One request, from top to bottom.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::authenticate::{Caller, GOOGLE_KEY, authenticate};
use super::body::BodyLimits;
use super::{body, models, objects, operation};
use crate::gateway::record::Record;
use crate::gateway::response::body::CallerBody;
use crate::gateway::response::error_response::{json_response, refuse};
use crate::gateway::response::headers::{set_attempts, set_request_id};
use crate::gateway::response::refusal::Refusal;
use crate::gateway::{Gateway, Live, attempt, catch_panic};
use crate::observe::access::End;
use crate::wire::api::routes::Place;
use crate::wire::api::{Api, routes};

/// The version header that every caller of Anthropic's API sends.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// Answers a request. It never fails: every failure has its response. `head_check` is the server's check of the
/// request head.
pub(crate) async fn handle(
    live: Arc<Live>,
    request: Request<Incoming>,
    head_check: Result<(), Refusal>,
) -> Response<CallerBody> {
    let gateway = live.gateway();
    let mut record = Record::new(live, gateway.clone());
    let (head, body) = request.into_parts();
    let place = routes::find(head.uri.path());
    let api = caller_api(&head, place.as_ref());
    let result = match head_check {
        Ok(()) => answer_or_stop(&gateway, &head, place, body, api, &mut record).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = result.unwrap_or_else(|refusal| {
        record.end = refusal.end();
        if let Refusal::Bug = refusal {
            tracing::error!(id = record.id, "a bug in keymux made a request fail");
        }
        refuse(&refusal, api, &record.id)
    });
    // A caller that disconnected before its body was complete sees no status.
    let is_gone = record.end == End::CallerGone && record.last_key.is_none();
    record.status = if is_gone { 0 } else { response.status().as_u16() };
    set_request_id(response.headers_mut(), &record.id);
    set_attempts(response.headers_mut(), &gateway, &record);
    response.map(|body| body.with_record(record))
}

/// Runs [`answer`], and ends it with a refusal when it panics or when the drain timeout has passed.
async fn answer_or_stop(
    gateway: &Gateway,
    head: &Parts,
    place: Option<Place<'_>>,
    body: Incoming,
    api: Api,
    record: &mut Record,
) -> Result<Response<CallerBody>, Refusal> {
    let live = record.live_handle();
    let mut answer = pin!(answer(gateway, head, place, body, api, record));
    // Connections and HTTP/2 streams are woken when the drain timeout has passed.
    poll_fn(|cx| match catch_panic::poll(answer.as_mut(), cx) {
        Poll::Ready(response) => Poll::Ready(response.unwrap_or(Err(Refusal::Bug))),
        Poll::Pending if live.is_cut() => Poll::Ready(Err(Refusal::Stopping)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

async fn answer(
    gateway: &Gateway,
    head: &Parts,
    place: Option<Place<'_>>,
    body: Incoming,
    api: Api,
    record: &mut Record,
) -> Result<Response<CallerBody>, Refusal> {
    check_host(head)?;
    let place = check_path_and_method(head, place)?;
    if let Place::Presence = place {
        return Ok(own_page(record, "presence", Response::new(CallerBody::whole(Bytes::new()))));
    }
    let caller = authenticate(gateway, head, api)?;
    record.client = caller.client.map(|(at, _)| at);
    match place {
        Place::Operation(address) => {
            record.operation = Some(address.operation);
            let body = read_body(gateway, head, body, &caller, record).await?;
            acquire_client_permit(gateway, &caller, record).await?;
            operation::answer(gateway, head, address, caller.client(), body, record).await
        }
        Place::Stored(stored) => {
            record.operation = Some(stored.operation);
            let body = read_body(gateway, head, body, &caller, record).await?;
            acquire_client_permit(gateway, &caller, record).await?;
            objects::answer(gateway, head, stored, caller.client(), body, record).await
        }
        Place::Models | Place::Presence => {
            caller.verify(head, &Bytes::new()).await?;
            let list = models::list(gateway, caller.client(), api);
            Ok(own_page(record, "models", json_response(StatusCode::OK, &list)))
        }
        Place::Model(id) => {
            caller.verify(head, &Bytes::new()).await?;
            let model = models::get(gateway, caller.client(), api, id)?;
            Ok(own_page(record, "models", json_response(StatusCode::OK, &model)))
        }
    }
}

/// Records a small response of our own.
fn own_page(
    record: &mut Record,
    name: &'static str,
    response: Response<CallerBody>,
) -> Response<CallerBody> {
    record.page = Some(name);
    record.end = End::Complete;
    response
}

/// Reads the body, and verifies the caller's signature over it.
async fn read_body(
    gateway: &Gateway,
    head: &Parts,
    body: Incoming,
    caller: &Caller<'_, '_>,
    record: &mut Record,
) -> Result<Bytes, Refusal> {
    check_uncompressed(&head.headers)?;
    let server = &gateway.config.server;
    let limits = BodyLimits {
        max_body: server.max_body,
        pause: server.body_timeout,
        memory: &record.live().body_memory,
    };
    let body = body::read(body, limits).await?;
    record.bytes_in = body.len() as u64;
    caller.verify(head, &body).await?;
    Ok(body)
}

/// Acquires a permit of the client's `max_concurrent`. Acquired after authentication and after the body has
/// arrived, so neither impostors nor slow uploads occupy a permit.
async fn acquire_client_permit(
    gateway: &Gateway,
    caller: &Caller<'_, '_>,
    record: &mut Record,
) -> Result<(), Refusal> {
    let Some((at, client)) = caller.client else { return Ok(()) };
    let limit = &gateway.client_limits[at];
    let by = Instant::now() + gateway.config.server.queue_timeout;
    let Some(permit) = attempt::acquire(limit, by).await else {
        let limit = limit.limit().unwrap_or_default();
        return Err(Refusal::ClientBusy { client: client.name.clone(), limit });
    };
    record.client_permit = Some(permit);
    Ok(())
}

/// Returns the API whose formats the caller expects, of errors and of the models list.
fn caller_api(head: &Parts, place: Option<&Place<'_>>) -> Api {
    let by_path = place.and_then(Place::api).or_else(|| routes::api_of(head.uri.path()));
    if let Some(api) = by_path {
        api
    } else if head.headers.contains_key(&ANTHROPIC_VERSION) {
        Api::Anthropic
    } else if head.headers.contains_key(&GOOGLE_KEY) {
        Api::Gemini
    } else {
        Api::OpenAi
    }
}

/// Requires exactly one `host` (RFC 9112, section 3.2). HTTP/2 has `:authority` instead.
fn check_host(head: &Parts) -> Result<(), Refusal> {
    if head.version == Version::HTTP_11 && head.headers.get_all(HOST).iter().count() != 1 {
        return Err(Refusal::Host);
    }
    Ok(())
}

fn check_path_and_method<'p>(head: &Parts, place: Option<Place<'p>>) -> Result<Place<'p>, Refusal> {
    let method = &head.method;
    // The target of CONNECT is a host, not a path.
    if method == Method::CONNECT {
        return Err(Refusal::Method("GET, HEAD, POST"));
    }
    let place = place.ok_or_else(|| Refusal::Path(head.uri.path().to_owned()))?;
    let allowed = match place {
        Place::Presence => "GET, HEAD",
        Place::Models | Place::Model(_) => "GET",
        Place::Operation(_) => "POST",
        Place::Stored(ref stored) => stored.methods(),
    };
    // Compares first without a split: most paths allow one method.
    if allowed == method.as_str() || allowed.split(", ").any(|name| name == method.as_str()) {
        Ok(place)
    } else {
        Err(Refusal::Method(allowed))
    }
}

fn check_uncompressed(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Refusal::Compressed)
        }
        _ => Ok(()),
    }
}
