//! Sends one request, and reads its response as far as the head and, for a stream, the first event.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use tokio::time::{Instant, timeout_at};

use super::call::Call;
use super::context::AttemptContext;
use super::failed::FailedAttempt;
use super::read;
use super::read::NotStarted;
use super::translated::TranslatedRequest;
use crate::gateway::Provider;
use crate::gateway::response::passage::Passage;
use crate::gateway::response::started::StartedResponse;
use crate::observe::unix_time;
use crate::upstream::{Attempt, RequestKind, ResponseBody, UpstreamError};
use crate::wire::api::{Framing, Operation};
use crate::wire::failure::class::Failure;
use crate::wire::failure::classify::classify;
use crate::wire::failure::rate_limits;

/// One body of a translated request.
#[derive(Clone, Copy)]
pub(super) struct Part<'w> {
    pub(super) request: &'w TranslatedRequest,
    pub(super) index: usize,
}

/// Sends a request. `part`: the translated request, unless the provider gets the caller's bytes.
pub(super) async fn send(
    attempt: AttemptContext<'_>,
    part: Option<Part<'_>>,
) -> Result<StartedResponse, FailedAttempt> {
    let AttemptContext { call, target, key, deadlines, request_id: id } = attempt;
    let (provider, model, now) = (attempt.provider(), target.model, call.now);
    let sent = match part {
        None => {
            let Call { what, query, headers, body, .. } = *call;
            let upstream_request = Attempt { kind: what, model, query, headers, body, id, now };
            timeout_at(deadlines.first_byte, send_upstream(provider, key, upstream_request)).await
        }
        Some(Part { request, index }) => {
            let body = &request.bodies()[index];
            let (address, peek) = (request.address(), request.peek(body));
            let what = RequestKind::Operation { address: &address, peek: &peek };
            let (query, headers) = (request.query(), request.headers());
            let upstream_request = Attempt { kind: what, model, query, headers, body, id, now };
            timeout_at(deadlines.first_byte, send_upstream(provider, key, upstream_request)).await
        }
    };
    let response = sent
        .unwrap_or(Err(UpstreamError::Timeout))
        .map_err(|error| FailedAttempt::no_response(attempt, error))?;
    learn_limits(provider, key, model, response.headers());
    let request = part.map(|part| part.request);
    let operation = request.map_or_else(|| call.what.operation(), TranslatedRequest::operation);
    let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let framing = Framing::of(operation, content_type);
    let is_json = content_type.is_some_and(|media| media.starts_with(b"application/json"));
    let mut passage = Passage::verbatim(operation, framing);
    passage.read_head(&|name| response.headers().get(name)?.to_str().ok());
    let started = StartedResponse {
        passage,
        response,
        early: Vec::new(),
        is_translated: request.is_some(),
        idle: deadlines.idle,
        deadline: deadlines.total,
    };
    if !started.response.status().is_success() {
        return Err(error_response(attempt, started, request, operation).await);
    }
    wait_for_start(attempt, started, request, operation, is_json).await
}

/// Waits until the response has begun.
async fn wait_for_start(
    attempt: AttemptContext<'_>,
    mut started: StartedResponse,
    request: Option<&TranslatedRequest>,
    operation: Operation,
    is_json: bool,
) -> Result<StartedResponse, FailedAttempt> {
    let deadlines = attempt.deadlines;
    let framing = started.passage.provider_framing();
    let begun = match (framing, request) {
        (Framing::Whole, None) if is_json => {
            read::short_response(&mut started, operation.api(), deadlines).await
        }
        // A whole response that is translated is read to its end first.
        (Framing::Whole, _) => Ok(()),
        (Framing::Events | Framing::Array | Framing::Aws, _) => {
            read::first_event(&mut started, deadlines.first_byte).await
        }
    };
    match begun {
        Ok(()) => Ok(started),
        Err(NotStarted::NoResponse(error)) => Err(FailedAttempt::no_response(attempt, error)),
        Err(NotStarted::Failed(failure)) if framing == Framing::Whole => {
            let body = attempt.redact(started.early.concat().into());
            Err(FailedAttempt::in_response(started, operation, body, failure))
        }
        Err(NotStarted::Failed(failure)) => {
            Err(error_event(attempt, started, request, operation, failure))
        }
    }
}

/// Records the rate limits that the response headers report.
fn learn_limits(provider: &Provider, key: usize, model: &str, headers: &HeaderMap) {
    let each = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    if let Some(limits) = rate_limits::read(each, unix_time()) {
        provider.pool.record_reported_limits(key, model, limits, Instant::now().into_std());
    }
}

async fn send_upstream(
    provider: &Provider,
    key: usize,
    request: Attempt<'_>,
) -> Result<Response<ResponseBody>, UpstreamError> {
    #[cfg(test)]
    if let Some(script) = &provider.script {
        return script.play(key, &request).await;
    }
    provider.upstream.send(key, request).await
}

/// Handles a stream whose first event is an error. The caller gets it as an error response with the right status.
fn error_event(
    attempt: AttemptContext<'_>,
    started: StartedResponse,
    request: Option<&TranslatedRequest>,
    operation: Operation,
    failure: Failure,
) -> FailedAttempt {
    let Some(error) = started.passage.provider_error().cloned() else {
        return FailedAttempt::without_error(attempt, failure);
    };
    let started =
        if request.is_none() { started.with_error_head(&error, failure) } else { started };
    let body = attempt.redact(error.body.into());
    if let Some(request) = request {
        return request.failed(attempt, started, None, &body, failure);
    }
    let started = started.with_body(operation, Framing::Whole, body);
    FailedAttempt::with_response(failure, started)
}

/// Handles an error response: reads it whole, classifies it, and keeps it for the caller without the key that it may
/// repeat.
async fn error_response(
    attempt: AttemptContext<'_>,
    mut started: StartedResponse,
    request: Option<&TranslatedRequest>,
    operation: Operation,
) -> FailedAttempt {
    let status = started.response.status();
    let body = read::error_body(started.response.body_mut(), attempt.deadlines).await;
    let headers = started.response.headers();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bytes = body.as_deref().unwrap_or_default();
    let failure = classify(operation.api(), status.as_u16(), bytes, &header);
    let Some(body) = body else { return FailedAttempt::without_error(attempt, failure) };
    let body = attempt.redact(body);
    if let Some(request) = request {
        return request.failed(attempt, started, Some(status), &body, failure);
    }
    let started = started.with_body(operation, Framing::Whole, body);
    FailedAttempt::with_response(failure, started)
}
