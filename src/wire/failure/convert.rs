//! Converts a provider's error into the form of another API: translates class and status, keeps the message.

use serde_json::Value;

use super::class::{Class, Failure};
use super::{ProviderError, encode_error};
use crate::wire::api::Api;

/// The longest message that is passed on, in bytes.
const MAX_MESSAGE: usize = 8 * 1024;

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The HTTP status.
    pub status: u16,
    /// The body, in the API's own form.
    pub body: Vec<u8>,
    /// The name of Bedrock's exception, which is sent in a header.
    pub kind: Option<&'static str>,
}

/// Decodes an error response of a provider. `status` is absent for an error inside a stream.
pub fn read(status: Option<u16>, body: &[u8], failure: Failure) -> ProviderError {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    // Gemini's streams are arrays, also when they contain an error.
    let value = value.get(0).cloned().unwrap_or(value);
    let error = value.get("error").filter(|error| !error.is_null());
    let inner = error.unwrap_or(&value);
    let text = |at: &Value, names: &[&str]| {
        let found = names.iter().find_map(|name| at.get(*name).filter(|found| !found.is_null()));
        found.map(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    };
    // `message` of OpenAI and Anthropic, `Message` of AWS, `detail` of FastAPI and Replicate.
    let names = ["message", "Message", "detail", "title"];
    let message = inner.as_str().map(str::to_owned).or_else(|| text(inner, &names));
    let message = message.or_else(|| text(&value, &names)).unwrap_or_else(|| {
        let plain = value.is_null().then(|| String::from_utf8_lossy(body).trim().to_owned());
        plain
            .filter(|plain| !plain.is_empty())
            .unwrap_or_else(|| default_message(failure.class).to_owned())
    });
    ProviderError {
        failure,
        status,
        kind: text(inner, &["type", "status", "__type"]),
        code: text(inner, &["code"]),
        param: text(inner, &["param"]),
        message: truncate(message),
    }
}

/// Encodes an error response in the form of an API. `id` is the gateway's id of the request, for the forms
/// that contain one.
pub fn write(api: Api, error: &ProviderError, id: &str) -> Error {
    let (class, status, message) = (error.failure.class, status(api, error), &error.message);
    let body = match api {
        Api::OpenAi => {
            let (kind, code) = openai_type_and_code(class);
            encode_error::openai(message, kind, error.param.as_deref(), code)
        }
        Api::Anthropic => encode_error::anthropic(status, message, Some(id)),
        Api::Gemini => encode_error::gemini(status, message),
        Api::Bedrock => encode_error::bedrock(message),
        Api::Cohere => encode_error::cohere(message, id),
        Api::Replicate => encode_error::replicate(status, None, message),
    };
    let kind = (api == Api::Bedrock).then(|| bedrock_exception(class, status));
    Error { status, body: body.to_string().into_bytes(), kind }
}

/// Returns the status of the error in this API. The class decides, because the API may not use the provider's
/// status.
fn status(api: Api, error: &ProviderError) -> u16 {
    let given = error.status.filter(|status| *status >= 400);
    match (error.failure.class, api) {
        (Class::Caller, _) => match given {
            Some(given @ (404 | 413)) => given,
            Some(given @ (403 | 422)) if api == Api::OpenAi => given,
            _ => 400,
        },
        (Class::ContextTooLong, _) | (Class::NoCredit, Api::Bedrock) => 400,
        // <https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>
        (Class::BadCredential, Api::Bedrock) => 403,
        (Class::BadCredential, _) => 401,
        (Class::NoAccess, _) => given.filter(|given| *given == 403).unwrap_or(404),
        // <https://platform.claude.com/docs/en/api/errors>: billing_error.
        (Class::NoCredit, Api::Anthropic) => 402,
        (Class::NoCredit | Class::Throttled, _) => 429,
        (Class::Trouble, Api::Anthropic) => match given {
            Some(503 | 529) => 529,
            given => given.filter(|given| (500..505).contains(given)).unwrap_or(500),
        },
        (Class::Trouble, _) => match given {
            Some(529) => 503,
            given => given.filter(|given| (500..505).contains(given)).unwrap_or(502),
        },
    }
}

/// Returns OpenAI's `type` and `code`. <https://platform.openai.com/docs/guides/error-codes>
fn openai_type_and_code(class: Class) -> (&'static str, &'static str) {
    match class {
        Class::Caller => ("invalid_request_error", "invalid_request"),
        Class::ContextTooLong => ("invalid_request_error", "context_length_exceeded"),
        Class::BadCredential => ("invalid_request_error", "invalid_api_key"),
        Class::NoAccess => ("invalid_request_error", "model_not_found"),
        Class::NoCredit => ("insufficient_quota", "insufficient_quota"),
        Class::Throttled => ("rate_limit_error", "rate_limit_exceeded"),
        Class::Trouble => ("server_error", "upstream_error"),
    }
}

/// Returns the exception of the Bedrock runtime. Inside a stream its first letter is lower case.
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors>
fn bedrock_exception(class: Class, status: u16) -> &'static str {
    match (class, status) {
        (Class::BadCredential, _) => "UnrecognizedClientException",
        (Class::NoCredit, _) => "ServiceQuotaExceededException",
        (_, 403) => "AccessDeniedException",
        (_, 404) => "ResourceNotFoundException",
        (_, 429) => "ThrottlingException",
        (_, 400..=499) => "ValidationException",
        (_, 502 | 503) => "ServiceUnavailableException",
        (_, 504) => "ModelTimeoutException",
        _ => "InternalServerException",
    }
}

/// Returns the message of an error that the provider sent without one.
fn default_message(class: Class) -> &'static str {
    match class {
        Class::Caller => "The provider rejected the request.",
        Class::ContextTooLong => "The prompt is too long for the model.",
        Class::BadCredential => "The provider rejected the gateway's key.",
        Class::NoAccess => "The gateway's key has no access to the model.",
        Class::NoCredit => "The account of the gateway's key has no credit left.",
        Class::Throttled => "The gateway's key is over the provider's rate limit.",
        Class::Trouble => "The provider failed.",
    }
}

fn truncate(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(class: Class, status: u16, body: &str) -> ProviderError {
        read(Some(status), body.as_bytes(), Failure { class, retry_after: None })
    }

    #[test]
    fn the_message_is_found_in_every_form() {
        for body in [
            r#"{"error":{"message":"wording","type":"t"}}"#,
            r#"{"type":"error","error":{"type":"t","message":"wording"}}"#,
            r#"{"error":"wording"}"#,
            r#"[{"error":{"code":400,"message":"wording","status":"INVALID_ARGUMENT"}}]"#,
            r#"{"message":"wording"}"#,
            r#"{"Message":"wording"}"#,
            r#"{"detail":"wording"}"#,
            "wording",
        ] {
            assert_eq!(error(Class::Caller, 400, body).message, "wording", "{body}");
        }
        assert_eq!(error(Class::Trouble, 500, "").message, "The provider failed.");
    }

    #[test]
    fn class_and_status_are_translated() {
        let overloaded = error(Class::Trouble, 529, r#"{"error":{"message":"Overloaded"}}"#);
        assert_eq!(write(Api::OpenAi, &overloaded, "r").status, 503);
        assert_eq!(write(Api::Anthropic, &overloaded, "r").status, 529);
        // A bad key is a 400 at Gemini.
        let key = error(Class::BadCredential, 400, r#"{"error":{"message":"API key not valid."}}"#);
        assert_eq!(write(Api::OpenAi, &key, "r").status, 401);
        assert_eq!(write(Api::Bedrock, &key, "r").kind, Some("UnrecognizedClientException"));
        let credit = error(Class::NoCredit, 400, r#"{"error":{"message":"balance too low"}}"#);
        assert_eq!(write(Api::OpenAi, &credit, "r").status, 429);
        assert_eq!(write(Api::Anthropic, &credit, "r").status, 402);
    }

    #[test]
    fn the_body_has_the_form_of_the_api() {
        let slow = error(Class::Throttled, 429, r#"{"message":"Slow down"}"#);
        let body = |api| String::from_utf8(write(api, &slow, "req").body).unwrap();
        assert_eq!(
            body(Api::OpenAi),
            r#"{"error":{"message":"Slow down","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#
        );
        assert_eq!(
            body(Api::Anthropic),
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"},"request_id":"req"}"#
        );
        assert_eq!(
            body(Api::Gemini),
            r#"{"error":{"code":429,"message":"Slow down","status":"RESOURCE_EXHAUSTED"}}"#
        );
        assert_eq!(body(Api::Bedrock), r#"{"message":"Slow down"}"#);
    }
}
