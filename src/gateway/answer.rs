//! Everything that keymux says itself, and the only place that chooses a status code; refusal.rs: for
//! which reason.

mod refusal;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::relay::Body;
use crate::upstream::aws::caller_signature::SignatureError;
use crate::wire::api::Api;
use crate::wire::failure::class::Class;
use crate::wire::failure::convert;
use crate::wire::inspect::observer::Told;

pub(super) use refusal::{Refusal, status_of};

/// Our own id of the request, on every answer.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The same, where the provider's own id has taken `x-request-id`.
pub(super) const KEYMUX_REQUEST_ID: HeaderName = HeaderName::from_static("x-keymux-request-id");
/// The provider that answered.
pub(super) const PROVIDER: HeaderName = HeaderName::from_static("x-keymux-provider");
/// The name of its key.
pub(super) const KEY: HeaderName = HeaderName::from_static("x-keymux-key");
/// How many attempts it took.
pub(super) const ATTEMPTS: HeaderName = HeaderName::from_static("x-keymux-attempts");
/// What of a request was left out for a provider of another format.
pub(super) const DROPPED: HeaderName = HeaderName::from_static("x-keymux-dropped");
/// Read by the official SDKs: whether they should try again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

const AMZN_ERROR: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Turns the head of a stream into that of an error which the provider told within it.
pub(super) fn as_error<B>(
    mut head: Response<B>,
    told: &Told,
    class: Class,
    retry_after: Option<Duration>,
) -> Response<B> {
    *head.status_mut() = status_of(class);
    head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(Ok(kind)) = told.kind.as_deref().map(HeaderValue::from_str) {
        head.headers_mut().insert(AMZN_ERROR, kind);
    }
    if let Some(span) = retry_after {
        head.headers_mut().insert(RETRY_AFTER, HeaderValue::from(span.as_secs().max(1)));
    }
    head
}

/// Turns the head of an answer into that of an error that was written anew, and gives its body.
pub(super) fn as_foreign_error<B>(head: &mut Response<B>, error: convert::Error) -> Bytes {
    let convert::Error { status, body, kind } = error;
    *head.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = head.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.remove(AMZN_ERROR);
    if let Some(kind) = kind {
        headers.insert(AMZN_ERROR, HeaderValue::from_static(kind));
    }
    body.into()
}

/// The answer to a request that keymux does not pass on, in the caller's own shape of errors.
pub(super) fn refuse(refusal: &Refusal, api: Api, id: &str) -> Response<Body> {
    let status = refusal.status();
    let mut response = json_response(status, &body(refusal, status, api, id));
    let headers = response.headers_mut();
    if api == Api::Bedrock {
        // What AWS SDKs make an exception of.
        headers.insert(AMZN_ERROR, HeaderValue::from_static(amzn_error(refusal, status)));
    }
    match refusal {
        Refusal::Method(allowed) => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Refusal::Resting(all) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(all.retry_after().as_secs()));
            headers.insert(ATTEMPTS, HeaderValue::from_static("0"));
            if !all.is_worth_a_retry() {
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
        }
        Refusal::Failed { retry_after: Some(span), .. } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(span.as_secs().max(1)));
        }
        // What follows may be a body or a request.
        Refusal::FramedTwice => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Refusal::Crowded | Refusal::Stopping | Refusal::ClientBusy { .. } => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Refusal::NoKey | Refusal::UnknownKey | Refusal::UnknownSigner | Refusal::Signature(_) => {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        _ => {}
    }
    response
}

/// The body of [`refuse`].
pub(super) fn words(refusal: &Refusal, api: Api, id: &str) -> String {
    body(refusal, refusal.status(), api, id).to_string()
}

/// The errors of the Bedrock runtime.
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>
fn amzn_error(refusal: &Refusal, status: StatusCode) -> &'static str {
    match refusal {
        Refusal::UnknownSigner => return "UnrecognizedClientException",
        Refusal::Signature(SignatureError::Malformed) => return "IncompleteSignatureException",
        Refusal::Signature(_) => return "InvalidSignatureException",
        _ => {}
    }
    match status.as_u16() {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 | 504 => "ModelTimeoutException",
        429 => "ThrottlingException",
        400..=499 => "ValidationException",
        502 | 503 => "ServiceUnavailableException",
        _ => "InternalServerException",
    }
}

fn body(refusal: &Refusal, status: StatusCode, api: Api, id: &str) -> serde_json::Value {
    let message = refusal.message();
    match api {
        Api::OpenAi => {
            let (kind, code) = refusal.type_and_code();
            json!({"error": {"message": message, "type": kind, "param": refusal.param(), "code": code}})
        }
        Api::Anthropic => {
            let kind = match status.as_u16() {
                401 => "authentication_error",
                403 => "permission_error",
                404 => "not_found_error",
                413 => "request_too_large",
                429 => "rate_limit_error",
                400..=499 => "invalid_request_error",
                _ => "api_error",
            };
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": id})
        }
        // <https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>
        Api::Bedrock => json!({"message": message}),
        Api::Cohere => json!({"id": id, "message": message}),
        // RFC 9457.
        Api::Replicate => {
            let title = status.canonical_reason().unwrap_or_default();
            json!({"title": title, "detail": message, "status": status.as_u16()})
        }
        Api::Gemini => {
            let name = match status.as_u16() {
                401 => "UNAUTHENTICATED",
                403 => "PERMISSION_DENIED",
                404 => "NOT_FOUND",
                429 => "RESOURCE_EXHAUSTED",
                400..=499 => "INVALID_ARGUMENT",
                502 | 503 => "UNAVAILABLE",
                504 => "DEADLINE_EXCEEDED",
                _ => "INTERNAL",
            };
            json!({"error": {"code": status.as_u16(), "message": message, "status": name}})
        }
    }
}

/// A JSON answer of our own.
pub(super) fn json_response(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Headers of a provider's answer that stay here: what belongs to the connection, also by the provider's
/// own word (RFC 9110, section 7.6.1), and what speaks for the provider's host and not for this one.
pub(super) fn left_out(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok());
    // The body's length is our own matter and not the provider's to take away.
    let named = named.filter(|name| *name != CONTENT_LENGTH && *name != CONTENT_TYPE);
    headers.keys().filter(|name| stays_here(name)).cloned().chain(named).collect()
}

fn stays_here(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "alt-svc"
            | "set-cookie"
            | "server"
            | "strict-transport-security"
            | "nel"
            | "report-to"
    )
}

/// Names the request in an answer: our id, beside the provider's own if it has one.
pub(super) fn name_request(headers: &mut HeaderMap, id: &str) {
    let Ok(id) = HeaderValue::from_str(id) else { return };
    if !headers.contains_key(REQUEST_ID) {
        headers.insert(REQUEST_ID, id.clone());
    }
    headers.insert(KEYMUX_REQUEST_ID, id);
}
