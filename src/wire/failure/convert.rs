//! A provider's error in the form of another API: its class and status brought over, its wording kept.

use serde_json::{Value, json};

use super::ProviderError;
use super::class::{Class, Failure};
use crate::wire::api::Api;

/// The longest message that is passed on.
const MESSAGE: usize = 8 * 1024;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The status.
    pub status: u16,
    /// The body, in the API's own form.
    pub body: Vec<u8>,
    /// Its name, which AWS has in a header.
    pub kind: Option<&'static str>,
}

/// Reads an error answer of a provider; `status`: absent for an error within a stream.
pub fn read(status: Option<u16>, body: &[u8], failure: Failure) -> ProviderError {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    // Gemini's streams are arrays, of errors as well.
    let value = value.get(0).cloned().unwrap_or(value);
    let error = value.get("error").filter(|error| !error.is_null());
    let inner = error.unwrap_or(&value);
    let text = |at: &Value, names: &[&str]| {
        let found = names.iter().find_map(|name| at.get(*name).filter(|found| !found.is_null()));
        found.map(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    };
    // OpenAI's and Anthropic's `message`, AWS's `Message`, FastAPI's and Replicate's `detail`.
    let names = ["message", "Message", "detail", "title"];
    let message = inner.as_str().map(str::to_owned).or_else(|| text(inner, &names));
    let message = message.or_else(|| text(&value, &names)).unwrap_or_else(|| {
        let plain = value.is_null().then(|| String::from_utf8_lossy(body).trim().to_owned());
        plain
            .filter(|plain| !plain.is_empty())
            .unwrap_or_else(|| of_class(failure.class).to_owned())
    });
    ProviderError {
        failure,
        status,
        kind: text(inner, &["type", "status", "__type"]),
        code: text(inner, &["code"]),
        param: text(inner, &["param"]),
        message: cut(message),
    }
}

/// Writes an error answer in the form of an API. `id`: our id of the request, where the form has one.
pub fn write(api: Api, told: &ProviderError, id: &str) -> Error {
    let status = status(api, told);
    let message = &told.message;
    let (body, kind) = match api {
        Api::OpenAi => {
            let (kind, code) = openai(told);
            let error =
                json!({"message": message, "type": kind, "param": told.param, "code": code});
            (json!({"error": error}), None)
        }
        Api::Anthropic => {
            let error = json!({"type": anthropic(told), "message": message});
            (json!({"type": "error", "error": error, "request_id": id}), None)
        }
        Api::Gemini => {
            let error = json!({"code": status, "message": message, "status": gemini(told)});
            (json!({"error": error}), None)
        }
        Api::Bedrock => (json!({"message": message}), Some(bedrock(told))),
        Api::Cohere => (json!({"id": id, "message": message}), None),
        Api::Replicate => (json!({"detail": message, "status": status}), None),
    };
    Error { status, body: body.to_string().into_bytes(), kind }
}

/// The status of an error in an API that may not know the provider's: the class decides.
fn status(api: Api, told: &ProviderError) -> u16 {
    let given = told.status.filter(|status| *status >= 400);
    match (told.failure.class, api) {
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

/// OpenAI's `type` and `code`. <https://platform.openai.com/docs/guides/error-codes>
pub fn openai(told: &ProviderError) -> (&'static str, &'static str) {
    match told.failure.class {
        Class::Caller => ("invalid_request_error", "invalid_request"),
        Class::ContextTooLong => ("invalid_request_error", "context_length_exceeded"),
        Class::BadCredential => ("invalid_request_error", "invalid_api_key"),
        Class::NoAccess => ("invalid_request_error", "model_not_found"),
        Class::NoCredit => ("insufficient_quota", "insufficient_quota"),
        Class::Throttled => ("rate_limit_error", "rate_limit_exceeded"),
        Class::Trouble => ("server_error", "upstream_error"),
    }
}

/// Anthropic's `type`. <https://platform.claude.com/docs/en/api/errors>
pub fn anthropic(told: &ProviderError) -> &'static str {
    match (told.failure.class, status(Api::Anthropic, told)) {
        (Class::BadCredential, _) => "authentication_error",
        (Class::NoCredit, _) => "billing_error",
        (Class::Throttled, _) => "rate_limit_error",
        (_, 403) => "permission_error",
        (_, 404) => "not_found_error",
        (_, 413) => "request_too_large",
        (_, 504) => "timeout_error",
        (_, 529) => "overloaded_error",
        (_, 400..=499) => "invalid_request_error",
        _ => "api_error",
    }
}

/// Google's `status`. <https://ai.google.dev/gemini-api/docs/troubleshooting>
pub fn gemini(told: &ProviderError) -> &'static str {
    match status(Api::Gemini, told) {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        400..=499 => "INVALID_ARGUMENT",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

/// The exception of the Bedrock runtime. Within a stream its first letter is small.
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors>
pub fn bedrock(told: &ProviderError) -> &'static str {
    match (told.failure.class, status(Api::Bedrock, told)) {
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

/// What is said of a failure that came without a word.
fn of_class(class: Class) -> &'static str {
    match class {
        Class::Caller => "The provider refused the request.",
        Class::ContextTooLong => "The prompt is too long for the model.",
        Class::BadCredential => "The provider refused the gateway's key.",
        Class::NoAccess => "The gateway's key has no access to the model.",
        Class::NoCredit => "The account of the gateway's key has no credit left.",
        Class::Throttled => "The provider throttles the gateway's key.",
        Class::Trouble => "The provider failed.",
    }
}

fn cut(mut message: String) -> String {
    if message.len() > MESSAGE {
        let end = (0..=MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(class: Class, status: u16, body: &str) -> ProviderError {
        read(Some(status), body.as_bytes(), Failure { class, retry_after: None })
    }

    #[test]
    fn the_wording_is_found_in_every_shape() {
        for body in [
            r#"{"error":{"message":"words","type":"t"}}"#,
            r#"{"type":"error","error":{"type":"t","message":"words"}}"#,
            r#"{"error":"words"}"#,
            r#"[{"error":{"code":400,"message":"words","status":"INVALID_ARGUMENT"}}]"#,
            r#"{"message":"words"}"#,
            r#"{"Message":"words"}"#,
            r#"{"detail":"words"}"#,
            "words",
        ] {
            assert_eq!(told(Class::Caller, 400, body).message, "words", "{body}");
        }
        assert_eq!(told(Class::Trouble, 500, "").message, "The provider failed.");
    }

    #[test]
    fn class_and_status_are_brought_over() {
        let overloaded = told(Class::Trouble, 529, r#"{"error":{"message":"Overloaded"}}"#);
        assert_eq!(write(Api::OpenAi, &overloaded, "r").status, 503);
        assert_eq!(write(Api::Anthropic, &overloaded, "r").status, 529);
        // A bad key is a 400 at Gemini.
        let key = told(Class::BadCredential, 400, r#"{"error":{"message":"API key not valid."}}"#);
        assert_eq!(write(Api::OpenAi, &key, "r").status, 401);
        assert_eq!(write(Api::Bedrock, &key, "r").kind, Some("UnrecognizedClientException"));
        let credit = told(Class::NoCredit, 400, r#"{"error":{"message":"balance too low"}}"#);
        assert_eq!(write(Api::OpenAi, &credit, "r").status, 429);
        assert_eq!(write(Api::Anthropic, &credit, "r").status, 402);
    }

    #[test]
    fn each_api_has_its_own_form() {
        let slow = told(Class::Throttled, 429, r#"{"message":"Slow down"}"#);
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
