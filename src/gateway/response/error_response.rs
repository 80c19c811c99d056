//! An error of our own, in the caller's format.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::body::CallerBody;
use super::headers::ATTEMPTS;
use super::refusal::Refusal;
use super::started::AMZN_ERROR_TYPE;
use crate::upstream::aws::caller_signature::SignatureError;
use crate::wire::api::Api;

/// Read by the official SDKs: false means that a retry is pointless.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Returns the response to a request that keymux refuses. `id` is our id of the request.
pub(crate) fn refuse(refusal: &Refusal, api: Api, id: &str) -> Response<CallerBody> {
    let status = refusal.status();
    let mut response = json_response(status, &error_body(refusal, status, api, id));
    let headers = response.headers_mut();
    if api == Api::Bedrock {
        headers.insert(AMZN_ERROR_TYPE, HeaderValue::from_static(amzn_error(refusal, status)));
    }
    match refusal {
        Refusal::Method(allowed) => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Refusal::CoolingDown(all) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(all.retry_after().as_secs()));
            headers.insert(ATTEMPTS, HeaderValue::from_static("0"));
            if !all.is_worth_a_retry() {
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
        }
        Refusal::Failed { retry_after: Some(wait), .. } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        // The bytes that follow may be the body or another request.
        Refusal::FramedTwice => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Refusal::BodyMemoryFull | Refusal::Stopping | Refusal::ClientBusy { .. } => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Refusal::NoKey | Refusal::UnknownKey | Refusal::UnknownSigner | Refusal::Signature(_) => {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        _ => {}
    }
    response
}

/// Returns the body of [`refuse`].
pub(crate) fn body_text(refusal: &Refusal, api: Api, id: &str) -> String {
    error_body(refusal, refusal.status(), api, id).to_string()
}

/// Returns a JSON response of our own.
pub(crate) fn json_response(status: StatusCode, value: &Value) -> Response<CallerBody> {
    let mut response = Response::new(CallerBody::whole(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns the error name of the Bedrock runtime, which AWS SDKs turn into an exception.
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

fn error_body(refusal: &Refusal, status: StatusCode, api: Api, id: &str) -> Value {
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
