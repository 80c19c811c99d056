//! One request, top to bottom.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::answer::{self, Refusal};
use super::attempt::{self, Answered, Call};
use super::conn::Busy;
use super::record::Record;
use super::relay::{Body, Relay};
use super::{Gateway, Live, incoming, models};
use crate::config::{Asked, Client};
use crate::observe::access::End;
use crate::observe::unix_time;
use crate::route::{self, Plan};
use crate::secret::digest;
use crate::wire::address::{self, Address, Place};
use crate::wire::peek::{Peek, peek};
use crate::wire::{Api, Operation, multipart};

/// The version header that every caller of Anthropic's API sends.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// Where callers of Anthropic's, Azure's and Google's APIs show their key.
const ANTHROPIC_KEY: HeaderName = HeaderName::from_static("x-api-key");
const AZURE_KEY: HeaderName = HeaderName::from_static("api-key");
const GOOGLE_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// Answers a request; never fails, for every failure has its answer.
pub(super) async fn handle(
    live: Arc<Live>,
    request: Request<Incoming>,
    busy: Busy,
) -> Response<Body> {
    let gateway = live.gateway();
    let mut record = Record::new(live, gateway.clone());
    let (head, body) = request.into_parts();
    let api = api_of(&head);
    let answered = serve(&gateway, &head, body, api, &mut record).await;
    let mut response = answered.unwrap_or_else(|refusal| {
        record.end = End::Refused;
        answer::refuse(&refusal, api, &record.id)
    });
    record.status = response.status().as_u16();
    answer::name_request(response.headers_mut(), &record.id);
    name_attempts(response.headers_mut(), &gateway, &record);
    response.map(|body| body.of(record, busy))
}

async fn serve(
    gateway: &Gateway,
    head: &http::request::Parts,
    body: Incoming,
    api: Api,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    one_host(head)?;
    let place = place(&head.method, head.uri.path())?;
    if let Place::Presence = place {
        record.page = Some("presence");
        record.end = End::Complete;
        return Ok(Response::new(Body::whole(bytes::Bytes::new())));
    }
    let client = authenticate(gateway, head, api)?;
    record.client = client.map(|(at, _)| at);
    let client = client.map(|(_, client)| client);
    let address = match place {
        Place::Operation(address) => address,
        Place::Stored(_) => return Err(Refusal::Path(head.uri.path().to_owned())),
        Place::Models | Place::Presence => {
            record.page = Some("models");
            record.end = End::Complete;
            return Ok(answer::json_response(StatusCode::OK, &models::list(gateway, client, api)));
        }
        Place::Model(id) => {
            record.page = Some("models");
            let model = models::one(gateway, client, api, id)?;
            record.end = End::Complete;
            return Ok(answer::json_response(StatusCode::OK, &model));
        }
    };
    let operation = address.operation;
    record.operation = Some(operation);

    let server = &gateway.config.server;
    uncompressed(&head.headers)?;
    let body = incoming::read(body, server.max_body, server.body_timeout).await?;
    record.bytes_in = body.len() as u64;
    let peek = look_into(&address, &head.headers, &body)?;
    let asked_for = address.model.as_deref().or(peek.model.as_deref());
    let asked_for = asked_for.or(operation.default_model()).ok_or(Refusal::NoModel)?;
    record.asked(asked_for);
    let asked = gateway.config.resolve(asked_for).map_err(Refusal::NotFound)?;
    if let Some(client) = client {
        route::may_ask(client, &gateway.config, asked_for, &asked).map_err(|refused| {
            Refusal::MayNot(refused, record.model.clone().unwrap_or_default())
        })?;
    }

    let call = Call {
        gateway,
        client,
        address: &address,
        query: head.uri.query(),
        headers: &head.headers,
        body: &body,
        peek: &peek,
        now: unix_time(),
    };
    let answered = attempt::run(&call, plan(gateway, &asked), record).await?;
    Ok(pass_on(answered, operation, record))
}

/// Whose shapes the caller expects, of errors and of the models list.
fn api_of(head: &http::request::Parts) -> Api {
    if let Some(api) = address::api_of(head.uri.path()) {
        api
    } else if head.headers.contains_key(&ANTHROPIC_VERSION) {
        Api::Anthropic
    } else if head.headers.contains_key(&GOOGLE_KEY) {
        Api::Gemini
    } else {
        Api::OpenAi
    }
}

/// RFC 9112, section 3.2. HTTP/2 has `:authority` in its place.
fn one_host(head: &http::request::Parts) -> Result<(), Refusal> {
    if head.version == Version::HTTP_11 && head.headers.get_all(HOST).iter().count() != 1 {
        return Err(Refusal::Host);
    }
    Ok(())
}

fn place<'p>(method: &Method, path: &'p str) -> Result<Place<'p>, Refusal> {
    // Its target is a host and no path.
    if method == Method::CONNECT {
        return Err(Refusal::Method("GET, HEAD, POST"));
    }
    let place = address::find(path).ok_or_else(|| Refusal::Path(path.to_owned()))?;
    let allowed = match place {
        Place::Presence => "GET, HEAD",
        Place::Models | Place::Model(_) => "GET",
        Place::Operation(_) => "POST",
        Place::Stored(ref stored) => stored.methods(),
    };
    if allowed.split(", ").any(|name| name == method.as_str()) {
        Ok(place)
    } else {
        Err(Refusal::Method(allowed))
    }
}

/// Who calls. Where callers need no key, one that is nobody's is as good as none, for SDKs send some
/// key in any case; a client that is disabled stays out.
fn authenticate<'g>(
    gateway: &'g Gateway,
    head: &http::request::Parts,
    api: Api,
) -> Result<Option<(usize, &'g Client)>, Refusal> {
    if gateway.config.clients.is_empty() {
        return Ok(None);
    }
    let shown = shown_key(head, api);
    match shown.as_deref().and_then(|key| gateway.client(&digest(key))) {
        Some((at, client)) if client.enabled => Ok(Some((at, client))),
        Some(_) => Err(Refusal::UnknownKey),
        None if gateway.is_open() => Ok(None),
        None if shown.is_some() => Err(Refusal::UnknownKey),
        None => Err(Refusal::NoKey),
    }
}

/// The key a caller shows, in the header of whichever API it speaks, or in the query as Google's API
/// allows it.
fn shown_key(head: &http::request::Parts, api: Api) -> Option<Cow<'_, [u8]>> {
    if let Some(value) = head.headers.get(AUTHORIZATION) {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        return scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii().into());
    }
    let header = [ANTHROPIC_KEY, AZURE_KEY, GOOGLE_KEY]
        .iter()
        .find_map(|name| head.headers.get(name))
        .map(|value| value.as_bytes().trim_ascii().into());
    let query = || head.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("key="));
    header.or_else(|| Some(percent_decode_str(query().filter(|_| api == Api::Gemini)?).into()))
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
fn look_into<'b>(
    address: &Address<'_>,
    headers: &HeaderMap,
    body: &'b bytes::Bytes,
) -> Result<Peek<'b>, Refusal> {
    if address.model.is_some() && address.operation.api() != Api::OpenAi {
        return Ok(Peek::unread(address.operation.streams()));
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match content_type.and_then(multipart::boundary) {
        Some(boundary) => multipart::peek(body, boundary).map_err(Refusal::Malformed),
        None => peek(body).map_err(Refusal::Malformed),
    }
}

fn plan<'a>(gateway: &'a Gateway, asked: &Asked<'a, 'a>) -> Plan<'a> {
    Plan::new(asked, gateway.turns.next())
}

/// A provider's answer as the caller gets it: its status, its headers but for those that speak for
/// another host, its bytes.
fn pass_on(answered: Answered, operation: Operation, record: &mut Record) -> Response<Body> {
    let Answered { response, early, listener, stream, idle, deadline } = answered;
    let (mut head, arriving) = response.into_parts();
    head.version = Version::HTTP_11;
    head.extensions.clear();
    if let Some(id) = head.headers.get(answer::REQUEST_ID) {
        record.upstream_id = id.to_str().ok().map(str::to_owned);
    }
    let left = answer::left_out(&head.headers);
    for name in left {
        head.headers.remove(name);
    }
    if stream {
        head.headers.remove(CONTENT_LENGTH);
    }
    record.stream = stream;
    record.end = End::CallerGone;
    let relay = Relay {
        early: early.into_iter(),
        arriving,
        listener,
        operation,
        stream,
        idle,
        deadline,
        alarm: Alarm::default(),
        last: Instant::now(),
        ended: false,
    };
    Response::from_parts(head, Body::relay(relay))
}

/// Says who answered and after how many attempts.
fn name_attempts(headers: &mut HeaderMap, gateway: &Gateway, record: &Record) {
    let Some((provider, key)) = record.tried else { return };
    let provider = &gateway.providers[provider];
    let (provider_name, key_name) = provider.names[key].clone();
    headers.insert(answer::PROVIDER, provider_name);
    headers.insert(answer::KEY, key_name);
    headers.insert(answer::ATTEMPTS, HeaderValue::from(record.attempts));
}
