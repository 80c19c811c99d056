//! Classification of failures: status, body and headers of an error answer -> [`Failure`].

use super::class::{Class, Failure};
use super::error_body::Words;
use super::google::GoogleError;
use crate::wire::api::Api;
use crate::wire::json::walk::members;

/// How much of an error body is looked at.
const LOOKED_AT: usize = 64 * 1024;

/// Says what an error answer means. `header` gives an answer header's value by its lower-case name.
///
/// Status, code and message are read together, because each alone misleads: an empty account is a 429
/// at OpenAI and a 400 at Anthropic, a wrong key a 400 at xAI and Gemini, an expired one a 403 at Bedrock.
/// The shape of the error comes before the API that was spoken: Google and AWS answer in their own way
/// for the credential and the quota, whatever the API behind them.
pub fn classify<'h>(
    api: Api,
    status: u16,
    body: &[u8],
    header: &dyn Fn(&str) -> Option<&'h str>,
) -> Failure {
    let body = &body[..body.len().min(LOOKED_AT)];
    let words = Words::of_body(body);
    let told = super::retry_after::retry_after(header);
    if let Some(error) = GoogleError::read(body) {
        let class = error.class(status).unwrap_or_else(|| class(status, &words));
        return Failure { class, retry_after: told.or(error.retry_after) };
    }
    let name = header("x-amzn-errortype").or(words.aws_type());
    let class = if api == Api::Bedrock || name.is_some() {
        super::aws::class(name.unwrap_or_default(), &words).unwrap_or_else(|| class(status, &words))
    } else {
        of_api(api, status, &words).unwrap_or_else(|| class(status, &words))
    };
    Failure { class, retry_after: told }
}

/// Says what an error that came within a stream of OpenAI's means: the `error` value of its event.
pub(crate) fn classify_in_stream(error: &[u8]) -> Failure {
    let words = Words::of_body(&error[..error.len().min(LOOKED_AT)]);
    Failure { class: class(words.status(), &words), retry_after: None }
}

/// Says what an error means that came within a stream and has the form of an error answer.
pub(crate) fn classify_told(api: Api, body: &[u8]) -> Failure {
    let body = &body[..body.len().min(LOOKED_AT)];
    classify(api, Words::of_body(body).status(), body, &|_| None)
}

/// Says what an exception within an AWS event stream means.
pub(crate) fn classify_named(name: &str, payload: &[u8]) -> Failure {
    let words = Words::of_body(&payload[..payload.len().min(LOOKED_AT)]);
    let class = super::aws::class(name, &words).unwrap_or(Class::Trouble);
    Failure { class, retry_after: None }
}

/// Whether a whole answer that begins so may be an error: the cheap look before [`in_whole`].
pub fn may_be_error(begin: &[u8]) -> bool {
    memchr::memmem::find(&begin[..begin.len().min(64)], b"\"error\"").is_some()
}

/// What a whole answer means that said it was none, and is an error: nothing else than errors has `error`
/// at its beginning and neither choices nor output (recorded of Azure and of OpenRouter).
pub fn in_whole(api: Api, body: &[u8]) -> Option<Failure> {
    let [error, choices, output] = members(body, ["error", "choices", "output"]);
    let error = error.filter(|error| matches!(error, [b'{' | b'"', ..]))?;
    if choices.is_some() || output.is_some() {
        return None;
    }
    // The status that it should have had.
    let [status] = members(error, ["status"]);
    let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    Some(match status {
        Some(status @ 400..=599) => classify(api, status, body, &|_| None),
        _ => classify_told(api, body),
    })
}

/// Where an API means something else by a status or a phrase than the table has it.
fn of_api(api: Api, status: u16, words: &Words) -> Option<Class> {
    match (api, status) {
        // <https://docs.cohere.com/reference/errors>: 498, blocked input or output. A trial key's limit
        // ends with the month, any other within a minute.
        (Api::Cohere, 498) => Some(Class::Caller),
        (Api::Cohere, 429) if words.said(&["/ month", "per month"]) => Some(Class::NoCredit),
        // A version that is not there is a 422, a model a 404 of no more words than "could not be found".
        (Api::Replicate, 404) => Some(Class::NoAccess),
        (Api::Replicate, 422) if words.said(&["version does not exist"]) => Some(Class::NoAccess),
        // "This organization has been disabled."
        (Api::Anthropic, 400) if words.said(&["organization has been disabled"]) => {
            Some(Class::BadCredential)
        }
        _ => None,
    }
}

/// The table. Rows are asked in order: what the provider says in words comes before its status.
#[expect(clippy::match_same_arms, reason = "the rows are asked in order")]
fn class(status: u16, words: &Words) -> Class {
    match status {
        402 => Class::NoCredit,
        400..=499 if words.no_credit() => Class::NoCredit,
        400 | 413 | 422 | 500 if words.too_long() => Class::ContextTooLong,
        401 => Class::BadCredential,
        400 | 403 | 422 if words.bad_credential() => Class::BadCredential,
        403 if words.content_policy() => Class::Caller,
        400 | 403 | 404 | 410 | 422 if words.no_such_model(status) => Class::NoAccess,
        403 => Class::BadCredential,
        // 498: Groq's "flex tier capacity exceeded". A 413 with the code of a rate limit is one request
        // over the tokens that this account may use in a minute.
        429 | 498 => Class::Throttled,
        413 if words.rate_limit() => Class::Throttled,
        // What the official clients try again by themselves: timeout, conflict of two requests, too early.
        408 | 409 | 425 => Class::Trouble,
        400..=499 => Class::Caller,
        _ => Class::Trouble,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn class_of(api: Api, status: u16, body: &Value) -> Class {
        classify(api, status, body.to_string().as_bytes(), &|_| None).class
    }

    fn anthropic(status: u16, kind: &str, message: &str) -> Class {
        let error = json!({ "type": kind, "message": message });
        class_of(Api::Anthropic, status, &json!({ "type": "error", "error": error }))
    }

    /// <https://platform.claude.com/docs/en/api/errors>
    #[test]
    fn anthropic_has_one_status_for_many_failures() {
        let invalid = |message| anthropic(400, "invalid_request_error", message);
        let credit = "Your credit balance is too low to access the Anthropic API.";
        assert_eq!(invalid(credit), Class::NoCredit);
        let limit = "You have reached your specified API usage limits. You will regain access on 2026-12-01.";
        assert_eq!(invalid(limit), Class::NoCredit);
        assert_eq!(invalid("This organization has been disabled."), Class::BadCredential);
        let context = "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000";
        assert_eq!(invalid(context), Class::ContextTooLong);
        assert_eq!(invalid("messages: at least one message is required"), Class::Caller);
        let denied = "Your API key does not have permission to use the specified resource.";
        assert_eq!(anthropic(403, "permission_error", denied), Class::BadCredential);
        assert_eq!(anthropic(413, "request_too_large", "Request too large"), Class::Caller);
        assert_eq!(anthropic(404, "not_found_error", "model: claude-0"), Class::NoAccess);
        assert_eq!(anthropic(404, "not_found_error", "Not Found"), Class::Caller);
        assert_eq!(anthropic(402, "billing_error", "x"), Class::NoCredit);
        assert_eq!(anthropic(529, "overloaded_error", "Overloaded"), Class::Trouble);
    }

    #[test]
    fn google_answers_in_its_own_form_for_whatever_api() {
        let missing =
            "Publisher Model `projects/p/locations/l/publishers/anthropic/models/m` was not found.";
        let body = json!({"error": {"code": 404, "message": missing, "status": "NOT_FOUND"}});
        for api in [Api::Gemini, Api::Anthropic, Api::OpenAi] {
            assert_eq!(class_of(api, 404, &body), Class::NoAccess);
            assert_eq!(class_of(api, 404, &json!([body])), Class::NoAccess);
        }
        let exhausted = json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED",
            "message": "You exceeded your current quota", "details": [{"retryDelay": "36s"}]}});
        let failure = classify(Api::OpenAi, 429, exhausted.to_string().as_bytes(), &|_| None);
        let wait = Some(Duration::from_secs(36));
        assert_eq!(failure, Failure { class: Class::Throttled, retry_after: wait });
    }

    #[test]
    fn aws_is_known_by_its_header_for_whatever_api() {
        let expired = json!({"message": "The security token included in the request is expired"});
        let name = "ExpiredTokenException:http://internal.amazon.com/coral/";
        for api in [Api::Bedrock, Api::OpenAi] {
            let header = |wanted: &str| (wanted == "x-amzn-errortype").then_some(name);
            let failure = classify(api, 403, expired.to_string().as_bytes(), &header);
            assert_eq!(failure.class, Class::BadCredential);
        }
        let typed = json!({"__type": "com.amazon.coral.service#AccessDeniedException",
            "Message": "You don't have access to the model with the specified model ID."});
        assert_eq!(class_of(Api::Bedrock, 403, &typed), Class::NoAccess);
        assert_eq!(class_of(Api::Bedrock, 503, &json!({"message": "x"})), Class::Trouble);
    }

    #[test]
    fn azure_means_another_endpoint_may_have_it() {
        let azure = |status, code: &str, message: &str| {
            class_of(Api::OpenAi, status, &json!({"error": {"code": code, "message": message}}))
        };
        let missing = "The API deployment for this resource does not exist.";
        assert_eq!(azure(404, "DeploymentNotFound", missing), Class::NoAccess);
        assert_eq!(azure(404, "404", "Resource not found"), Class::NoAccess);
        let filtered = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.";
        assert_eq!(azure(400, "content_filter", filtered), Class::Caller);
        let role = "The principal lacks the required data action";
        assert_eq!(azure(401, "PermissionDenied", role), Class::BadCredential);
    }

    #[test]
    fn cohere_and_replicate_mean_something_else_by_some() {
        let cohere =
            |status, message: &str| class_of(Api::Cohere, status, &json!({ "message": message }));
        let trial = "You are using a Trial key, which is limited to 1000 API calls / month.";
        assert_eq!(cohere(429, trial), Class::NoCredit);
        assert_eq!(cohere(429, "limited to 20 API calls / minute"), Class::Throttled);
        assert_eq!(cohere(498, "blocked output"), Class::Caller);
        let replicate =
            |status, detail: &str| class_of(Api::Replicate, status, &json!({ "detail": detail }));
        assert_eq!(replicate(404, "The requested resource could not be found."), Class::NoAccess);
        let version = "The specified version does not exist (or perhaps you don't have permission to use it?)";
        assert_eq!(replicate(422, version), Class::NoAccess);
        assert_eq!(replicate(422, "prompt is required"), Class::Caller);
        assert_eq!(replicate(402, "You have reached the free time limit"), Class::NoCredit);
    }
}
