//! Requests for a model: chats, embeddings, token counts, images, and so on.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Response, Uri};

use super::resource_ids::remove_signatures;
use super::respond::{own_origin, respond};
use crate::config::{Client, Rescue};
use crate::gateway::attempt::{AttemptLoop, Call, DecodedRequest};
use crate::gateway::record::Record;
use crate::gateway::response::body::CallerBody;
use crate::gateway::response::id_signer::ResponseIdSigner;
use crate::gateway::response::refusal::Refusal;
use crate::gateway::response::rescue::{HeldRequest, HeldStream, Retry, RetryFuture};
use crate::gateway::response::started::StartedResponse;
use crate::gateway::{Gateway, KeyIndex};
use crate::observe::unix_time;
use crate::route;
use crate::route::Plan;
use crate::share::Turn;
use crate::upstream::RequestKind;
use crate::wire::api::routes::{Address, Place};
use crate::wire::api::{Api, Format, Framing, Operation, routes};
use crate::wire::inspect::model::{Peek, peek, peek_version};
use crate::wire::inspect::multipart;

/// Answers a request for a model.
pub(super) async fn answer(
    gateway: &Gateway,
    head: &Parts,
    address: Address<'_>,
    client: Option<&Client>,
    body: Bytes,
    record: &mut Record,
) -> Result<Response<CallerBody>, Refusal> {
    let operation = address.operation;
    let (body, pinned_key) = match remove_signatures(gateway, client, &body)? {
        Some((plain, owner)) => (plain, Some(owner)),
        None => (body, None),
    };
    let peek = peek_body(&address, &head.headers, &body)?;
    let model = address.model.as_deref().or(peek.model.as_deref());
    let model = model.or(operation.default_model()).ok_or(Refusal::NoModel)?;
    record.set_model(model);
    let resolved = gateway.config.resolve_model(model).map_err(Refusal::NotFound)?;
    if let Some(client) = client {
        route::authorize_model(client, &gateway.config, model, &resolved).map_err(|refused| {
            Refusal::ModelNotAllowed(refused, record.model.clone().unwrap_or_default())
        })?;
    }

    let call = Call {
        gateway,
        client,
        what: RequestKind::Operation { address: &address, peek: &peek },
        requested_model: model,
        body_format: body_format(&address, &peek),
        decoded: DecodedRequest::default(),
        query: head.uri.query(),
        headers: &head.headers,
        body: &body,
        pinned_key,
        now: unix_time(),
    };
    let turn = gateway.turns.next();
    let plan = Plan::new(&resolved, turn);
    let mut attempts = AttemptLoop::new(&call, plan.route);
    let started = attempts.next(&call, &plan, record).await?;

    let stream = started.passage.is_stream();
    let origin = || own_origin(head, gateway.tls.is_some());
    let owner = record.last_key.filter(|_| !started.is_translated);
    let id_signer =
        owner.and_then(|owner| ResponseIdSigner::new(record, owner, origin, operation, stream));
    let holds = plan.route.is_some_and(|route| route.rescue != Rescue::None);
    if !holds || !HeldStream::applies_to(&started) {
        return Ok(respond(started, record, id_signer, CallerBody::relay));
    }
    let retry = OperationRetry {
        gateway: record.gateway().clone(),
        client: record.client,
        uri: head.uri.clone(),
        headers: head.headers.clone(),
        model: model.to_owned(),
        turn,
        pinned_key,
        now: call.now,
        body: body.clone(),
        attempts,
    };
    let request = HeldRequest { operation, origin: origin(), retry: Box::new(retry) };
    let deliver = |relay| CallerBody::held(HeldStream::new(request, relay));
    Ok(respond(started, record, id_signer, deliver))
}

/// Finds the model and the stream flag, where the path does not contain both. A body without a content type is
/// parsed as JSON; so is a form's type, which `curl -d` sends with JSON.
fn peek_body<'b>(
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

/// Returns the format of the body, if it is another than that of the address.
fn body_format(address: &Address<'_>, peek: &Peek<'_>) -> Option<Format> {
    (address.operation == Operation::Chat && peek.is_of_responses)
        .then_some(Format::OpenAiResponses)
}

/// Everything for further attempts of a request whose stream broke off.
struct OperationRetry {
    gateway: Arc<Gateway>,
    /// The index of the client.
    client: Option<usize>,
    /// Its path contains the operation.
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    /// The requested model; a route.
    model: String,
    /// The turn among the route's targets.
    turn: Turn,
    pinned_key: Option<KeyIndex>,
    now: u64,
    attempts: AttemptLoop,
}

impl Retry for OperationRetry {
    fn retry<'a>(
        &'a mut self,
        stalled: bool,
        framing: Framing,
        record: &'a mut Record,
    ) -> RetryFuture<'a> {
        self.attempts.stream_broke(stalled);
        // Boxed: an attempt is large, and most streams need no second one.
        Box::pin(self.next(framing, record))
    }
}

impl OperationRetry {
    /// Returns the next response that can replace the broken stream. The request is parsed again, with the same
    /// result as before.
    async fn next(&mut self, framing: Framing, record: &mut Record) -> Option<StartedResponse> {
        let Some(Place::Operation(address)) = routes::find(self.uri.path()) else { return None };
        let peek = peek_body(&address, &self.headers, &self.body).ok()?;
        let resolved = self.gateway.config.resolve_model(&self.model).ok()?;
        let call = Call {
            gateway: &self.gateway,
            client: self.client.map(|at| &self.gateway.config.clients[at]),
            what: RequestKind::Operation { address: &address, peek: &peek },
            requested_model: &self.model,
            body_format: body_format(&address, &peek),
            decoded: DecodedRequest::default(),
            query: self.uri.query(),
            headers: &self.headers,
            body: &self.body,
            pinned_key: self.pinned_key,
            now: self.now,
        };
        let plan = Plan::new(&resolved, self.turn);
        let started = self.attempts.next(&call, &plan, record).await.ok()?;
        let is_success = started.response.status().is_success();
        if !is_success || started.passage.framing() != framing {
            record.release(started.passage.usage());
            return None;
        }
        Some(started)
    }
}
