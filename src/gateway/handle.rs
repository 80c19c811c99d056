//! One request, top to bottom.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::answer::{self, Refusal};
use super::attempt::{self, Answered, Call, Sealing, Understood, Walk};
use super::callers::Caller;
use super::conn::Busy;
use super::ids::{self, Owner, Signing};
use super::protocol::{HEAD, HEAD_LINES};
use super::record::Record;
use super::relay::{Body, Relay};
use super::rescue::{self, Rescue};
use super::stored::{self, Errand};
use super::{Gateway, Live, callers, contain, incoming, models};
use crate::config::{self, Client};
use crate::observe::access::End;
use crate::observe::unix_time;
use crate::route::{self, Plan};
use crate::upstream::What;
use crate::wire::address::{self, Address, Place};
use crate::wire::peek::{Peek, peek, peek_version};
use crate::wire::stored::Stored;
use crate::wire::translate::Wire;
use crate::wire::{Api, Operation, multipart};

/// The version header that every caller of Anthropic's API sends.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// Answers a request; never fails, for every failure has its answer.
pub(super) async fn handle(
    live: Arc<Live>,
    request: Request<Incoming>,
    busy: Busy,
) -> Response<Body> {
    let gateway = live.gateway();
    let mut record = Record::new(live, gateway.clone());
    let (head, body) = request.into_parts();
    let place = address::find(head.uri.path());
    let api = api_of(&head, place.as_ref());
    let answered = attended(&gateway, &head, place, body, api, &busy, &mut record).await;
    let mut response = match answered {
        Ok(response) => response,
        Err(refusal) => {
            record.end = refusal.end();
            if let Refusal::Fault = refusal {
                tracing::error!(id = record.id, "a request failed by a mistake in this program");
            }
            answer::refuse(&refusal, api, &record.id)
        }
    };
    // Nobody is there to see the answer to a body that broke off.
    let gone = record.end == End::CallerGone && record.tried.is_none();
    record.status = if gone { 0 } else { response.status().as_u16() };
    answer::name_request(response.headers_mut(), &record.id);
    name_attempts(response.headers_mut(), &gateway, &record);
    response.map(|body| body.of(record, busy))
}

/// [`serve`], whatever happens in it, and until the drain time is over.
async fn attended(
    gateway: &Gateway,
    head: &Parts,
    place: Option<Place<'_>>,
    body: Incoming,
    api: Api,
    busy: &Busy,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    let live = record.live_handle();
    if busy.is_framed_twice() {
        return Err(Refusal::FramedTwice);
    }
    // Over HTTP/1 the library counts them.
    if head.headers.len() > HEAD_LINES {
        return Err(Refusal::LargeHead { size: HEAD, lines: HEAD_LINES });
    }
    let mut serving = pin!(serve(gateway, head, place, body, api, record));
    // Connections and HTTP/2 streams are woken when the drain time is over.
    poll_fn(|cx| match contain::poll(serving.as_mut(), cx) {
        Poll::Ready(answered) => Poll::Ready(answered.unwrap_or(Err(Refusal::Fault))),
        Poll::Pending if live.is_cut() => Poll::Ready(Err(Refusal::Stopping)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

async fn serve(
    gateway: &Gateway,
    head: &Parts,
    place: Option<Place<'_>>,
    body: Incoming,
    api: Api,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    one_host(head)?;
    let place = with_method(head, place)?;
    if let Place::Presence = place {
        return Ok(page(record, "presence", Response::new(Body::whole(Bytes::new()))));
    }
    let caller = callers::authenticate(gateway, head, api)?;
    record.client = caller.client.map(|(at, _)| at);
    let client = caller.client.map(|(_, client)| client);
    if let Place::Models | Place::Model(_) | Place::Presence = place {
        caller.verify(head, &Bytes::new()).await?;
    }
    match place {
        Place::Operation(address) => {
            record.operation = Some(address.operation);
            let body = read(gateway, head, body, &caller, record).await?;
            admit(gateway, &caller, record).await?;
            operation(gateway, head, address, &caller, body, record).await
        }
        Place::Stored(stored) => {
            record.operation = Some(stored.operation);
            let body = read(gateway, head, body, &caller, record).await?;
            admit(gateway, &caller, record).await?;
            kept(gateway, head, stored, client, body, record).await
        }
        Place::Models | Place::Presence => {
            let list = models::list(gateway, client, api);
            Ok(page(record, "models", answer::json_response(StatusCode::OK, &list)))
        }
        Place::Model(id) => {
            let model = models::one(gateway, client, api, id)?;
            Ok(page(record, "models", answer::json_response(StatusCode::OK, &model)))
        }
    }
}

/// A small answer of our own.
fn page(record: &mut Record, name: &'static str, response: Response<Body>) -> Response<Body> {
    record.page = Some(name);
    record.end = End::Complete;
    response
}

/// The caller's body, from a caller that it shows to be who it says.
async fn read(
    gateway: &Gateway,
    head: &Parts,
    body: Incoming,
    caller: &Caller<'_, '_>,
    record: &mut Record,
) -> Result<Bytes, Refusal> {
    let (server, store) = (&gateway.config.server, &record.live().bodies);
    uncompressed(&head.headers)?;
    let body = incoming::read(body, server.max_body, server.body_timeout, store).await?;
    record.bytes_in = body.len() as u64;
    caller.verify(head, &body).await?;
    Ok(body)
}

/// Takes one of the client's places. Whoever only says that it is the client has none, and a body that is
/// slow to come takes none.
async fn admit(
    gateway: &Gateway,
    caller: &Caller<'_, '_>,
    record: &mut Record,
) -> Result<(), Refusal> {
    let Some((at, client)) = caller.client else { return Ok(()) };
    let places = &gateway.client_places[at];
    let by = Instant::now() + gateway.config.server.queue_timeout;
    let Some(place) = attempt::place(places, by).await else {
        let limit = places.limit().unwrap_or_default();
        return Err(Refusal::ClientBusy { client: client.name.clone(), limit });
    };
    record.place = Some(place);
    Ok(())
}

/// An answer of a model.
async fn operation(
    gateway: &Gateway,
    head: &Parts,
    address: Address<'_>,
    caller: &Caller<'_, '_>,
    body: Bytes,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    let operation = address.operation;
    let client = caller.client.map(|(_, client)| client);
    let (body, pin) = match ids::unsealed(gateway, client, &body)? {
        Some((plain, owner)) => (plain, Some(owner)),
        None => (body, None),
    };
    let peek = look_into(&address, &head.headers, &body)?;
    let asked_for = address.model.as_deref().or(peek.model.as_deref());
    let asked_for = asked_for.or(operation.default_model()).ok_or(Refusal::NoModel)?;
    record.asked(asked_for);
    let asked = gateway.config.resolve_model(asked_for).map_err(Refusal::NotFound)?;
    if let Some(client) = client {
        route::authorize_model(client, &gateway.config, asked_for, &asked).map_err(|refused| {
            Refusal::MayNot(refused, record.model.clone().unwrap_or_default())
        })?;
    }

    let call = Call {
        gateway,
        client,
        what: What::Operation { address: &address, peek: &peek },
        asked_for,
        body_wire: body_wire(&address, &peek),
        understood: Understood::default(),
        query: head.uri.query(),
        headers: &head.headers,
        body: &body,
        pin,
        now: unix_time(),
    };
    let turn = gateway.turns.next();
    let plan = Plan::new(&asked, turn);
    let mut walk = Walk::new(&call, plan.route);
    let answered = walk.next(&call, &plan, record).await?;
    let owner = record.tried.map(|(provider, key)| Owner { provider, key });
    let stream = answered.listener.framing().is_stream();
    let origin = || own_origin(head, gateway.tls.is_some());
    let owner = owner.filter(|_| !answered.is_foreign);
    let signing = owner.and_then(|owner| signing(record, owner, origin, operation, stream));
    let mode = plan.route.map_or(config::Rescue::None, |route| route.rescue);
    if !Rescue::is_for(mode, &answered, operation) {
        return Ok(pass_on(answered, record, signing, Body::relay));
    }
    let request = rescue::Request {
        gateway: record.gateway().clone(),
        client: record.client,
        operation,
        uri: head.uri.clone(),
        headers: head.headers.clone(),
        model: asked_for.to_owned(),
        turn,
        pin,
        now: call.now,
        origin: origin(),
        body: body.clone(),
    };
    let body = |relay| Body::rescue(Rescue::new(mode, request, walk, relay));
    Ok(pass_on(answered, record, signing, body))
}

/// Something that a provider keeps.
async fn kept(
    gateway: &Gateway,
    head: &Parts,
    stored: Stored<'_>,
    client: Option<&Client>,
    body: Bytes,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    let (operation, part) = (stored.operation, stored.part);
    let errand = Errand { gateway, client, stored, head, body, now: unix_time() };
    let (answered, owner) = stored::serve(errand, record).await?;
    // What was left there in full has no ids of the provider's in it.
    let full = matches!(part, "content" | "results" | "stream");
    let stream = answered.listener.framing().is_stream();
    let origin = || own_origin(head, gateway.tls.is_some());
    let signing = signing(record, owner, origin, operation, stream).filter(|_| !full);
    Ok(pass_on(answered, record, signing, Body::relay))
}

/// What signs the ids of an answer of this key's.
pub(super) fn signing(
    record: &Record,
    owner: Owner,
    origin: impl FnOnce() -> String,
    operation: Operation,
    stream: bool,
) -> Option<Box<Signing>> {
    if !ids::are_changed(&record.gateway().config, owner, operation) {
        return None;
    }
    let gateway = record.gateway().clone();
    let client = record.client.map(|at| gateway.config.clients[at].name.clone());
    Some(Box::new(Signing::new(gateway, owner, client, operation, stream, origin())))
}

/// Where the caller reached this gateway.
fn own_origin(head: &Parts, tls: bool) -> String {
    let forwarded = head.headers.get("x-forwarded-proto").map(HeaderValue::as_bytes);
    let scheme = if tls || forwarded == Some(b"https") { "https" } else { "http" };
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(head.uri.authority().map(http::uri::Authority::as_str));
    format!("{scheme}://{}", host.unwrap_or_default())
}

/// Whose shapes the caller expects, of errors and of the models list.
fn api_of(head: &Parts, place: Option<&Place<'_>>) -> Api {
    let by_path = place.and_then(Place::api).or_else(|| address::api_of(head.uri.path()));
    if let Some(api) = by_path {
        api
    } else if head.headers.contains_key(&ANTHROPIC_VERSION) {
        Api::Anthropic
    } else if head.headers.contains_key(&callers::GOOGLE_KEY) {
        Api::Gemini
    } else {
        Api::OpenAi
    }
}

/// RFC 9112, section 3.2. HTTP/2 has `:authority` in its place.
fn one_host(head: &Parts) -> Result<(), Refusal> {
    if head.version == Version::HTTP_11 && head.headers.get_all(HOST).iter().count() != 1 {
        return Err(Refusal::Host);
    }
    Ok(())
}

fn with_method<'p>(head: &Parts, place: Option<Place<'p>>) -> Result<Place<'p>, Refusal> {
    let method = &head.method;
    // Its target is a host and no path.
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
    // Mostly it is the only one.
    if allowed == method.as_str() || allowed.split(", ").any(|name| name == method.as_str()) {
        Ok(place)
    } else {
        Err(Refusal::Method(allowed))
    }
}

fn uncompressed(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Refusal::Compressed)
        }
        _ => Ok(()),
    }
}

/// The model and the stream flag, where the path does not say both. A body without content type is taken for JSON, as `curl -d` sends
/// JSON under a form's type.
pub(super) fn look_into<'b>(
    address: &Address<'_>,
    headers: &HeaderMap,
    body: &'b Bytes,
) -> Result<Peek<'b>, Refusal> {
    if address.model.is_some() && address.operation.api() != Api::OpenAi {
        return Ok(Peek::unread(address.operation.streams()));
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match content_type.and_then(multipart::boundary) {
        Some(boundary) => multipart::peek(body, boundary).map_err(Refusal::Malformed),
        None if address.operation == Operation::Prediction => {
            peek_version(body).map_err(Refusal::Malformed)
        }
        None => peek(body).map_err(Refusal::Malformed),
    }
}

/// The format of the body, where it is another than that of the address.
pub(super) fn body_wire(address: &Address<'_>, peek: &Peek<'_>) -> Option<Wire> {
    (address.operation == Operation::Chat && peek.is_of_responses).then_some(Wire::OpenAiResponses)
}

/// A provider's answer as the caller gets it: its status, its headers but for those that speak for
/// another host, its bytes.
fn pass_on(
    mut answered: Answered,
    record: &mut Record,
    signing: Option<Box<Signing>>,
    body: impl FnOnce(Relay) -> Body,
) -> Response<Body> {
    let stream = answered.listener.framing().is_stream();
    let status = answered.response.status();
    let mut headers = std::mem::take(answered.response.headers_mut());
    if let Some(id) = headers.get(answer::REQUEST_ID) {
        record.upstream_id = id.to_str().ok().map(str::to_owned);
    }
    for name in answer::left_out(&headers) {
        headers.remove(name);
    }
    let signing = signing.filter(|_| status.is_success() && is_text(&headers));
    if stream || signing.is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    record.stream = stream;
    record.end = End::CallerGone;
    let sealing = Sealing::new(record).filter(|_| status.is_success());
    let mut response = Response::new(body(Relay::new(answered, signing, sealing)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Whether an answer holds JSON, whole or in events; a file's content has no ids of the provider's in it.
fn is_text(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is = |name: &[u8]| value.get(..name.len()).is_some_and(|v| v.eq_ignore_ascii_case(name));
    is(b"application/json") || is(b"text/event-stream")
}

/// Says who answered and after how many attempts.
fn name_attempts(headers: &mut HeaderMap, gateway: &Gateway, record: &Record) {
    let Some((provider, key)) = record.tried else { return };
    let provider = &gateway.providers[provider];
    let (provider_name, key_name) = provider.names[key].clone();
    headers.insert(answer::PROVIDER, provider_name);
    headers.insert(answer::KEY, key_name);
    if !record.dropped.is_empty()
        && let Ok(names) = HeaderValue::from_str(&dropped(&record.dropped))
    {
        headers.insert(answer::DROPPED, names);
    }
    let attempts = match record.attempts {
        1 => HeaderValue::from_static("1"),
        many => HeaderValue::from(many),
    };
    headers.insert(answer::ATTEMPTS, attempts);
}

/// What was left out, in one header: names that no header can carry are escaped, and a long list is cut.
fn dropped(names: &[String]) -> String {
    const LONGEST: usize = 1024;
    let mut list = String::new();
    for name in names {
        let name = name.escape_default().to_string();
        if list.len() + name.len() > LONGEST {
            list.push_str(", ...");
            break;
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(&name);
    }
    list
}
