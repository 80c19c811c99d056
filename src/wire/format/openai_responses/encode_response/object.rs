//! The response object: it is in the first and last events of a stream, and it is a whole answer.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::wire::failure::ProviderError;
use crate::wire::failure::class::Class;
use crate::wire::format::context::ResponseContext;
use crate::wire::format::openai_responses::decode_request::echo;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::Stop;
use crate::wire::json::write::put;

/// The API's words for service tiers.
const TIERS: &[&str] = &["auto", "default", "flex", "scale", "priority"];

/// How far an answer has come.
#[derive(Clone, Debug)]
pub(super) enum Status {
    InProgress,
    Completed,
    /// With the API's reason; `None`: the API has no word for the reason.
    Incomplete(Option<&'static str>),
    Failed(ErrorObject),
}

/// An error in the API's words.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ErrorObject {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) param: Option<String>,
}

impl Status {
    /// Returns the status of an answer that ended for this reason. A refusal without a refusal text is reported
    /// as a content filter, because nothing else in the answer would show it.
    pub(super) fn from_stop(stop: Option<Stop>, has_refusal: bool) -> Status {
        match stop {
            None | Some(Stop::End | Stop::Sequence | Stop::Calls) => Status::Completed,
            Some(Stop::Refusal) if has_refusal => Status::Completed,
            Some(Stop::Length | Stop::Window) => Status::Incomplete(Some("max_output_tokens")),
            Some(Stop::Refusal | Stop::Filter) => Status::Incomplete(Some("content_filter")),
            Some(Stop::Pause | Stop::Malformed | Stop::Other) => Status::Incomplete(None),
        }
    }

    /// Returns the API's word for it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Status::InProgress => "in_progress",
            Status::Completed => "completed",
            Status::Incomplete(_) => "incomplete",
            Status::Failed(_) => "failed",
        }
    }
}

impl ErrorObject {
    /// Converts a provider's error. Its class decides about the code first, because clients look for these codes.
    pub(super) fn new(error: &ProviderError) -> ErrorObject {
        let (code, kind) = match error.failure.class {
            Class::Throttled => (Some("rate_limit_exceeded"), "rate_limit_error"),
            Class::NoCredit => (Some("insufficient_quota"), "insufficient_quota"),
            Class::ContextTooLong => (Some("context_length_exceeded"), "invalid_request_error"),
            Class::Caller => (None, "invalid_request_error"),
            Class::BadCredential | Class::NoAccess | Class::Trouble => (None, "server_error"),
        };
        let provider_code = error.code.as_deref().or(error.kind.as_deref());
        ErrorObject {
            kind: error.kind.as_deref().unwrap_or(kind).to_owned(),
            code: code.or(provider_code).unwrap_or("server_error").to_owned(),
            message: error.message.clone(),
            param: error.param.clone(),
        }
    }
}

/// What the object holds beside the context of the response.
#[derive(Debug)]
pub(super) struct State<'s> {
    pub(super) status: &'s Status,
    /// Items that are done.
    pub(super) items: Vec<&'s RawValue>,
    pub(super) usage: Usage,
    pub(super) tier: Option<&'s str>,
}

#[derive(Serialize)]
struct ResponseObject<'s> {
    id: String,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    background: bool,
    completed_at: (),
    error: Option<Value>,
    incomplete_details: Option<Value>,
    model: &'s str,
    output: Vec<&'s RawValue>,
    previous_response_id: (),
    store: bool,
    service_tier: Option<&'s str>,
    usage: Option<Value>,
}

/// Writes the object.
pub(super) fn write(context: &ResponseContext, state: State<'_>, out: &mut Vec<u8>) {
    let object = ResponseObject {
        id: format!("resp_{}", context.id),
        object: "response",
        created_at: context.created,
        status: state.status.name(),
        background: false,
        completed_at: (),
        error: match state.status {
            Status::Failed(ErrorObject { code, message, .. }) => {
                Some(json!({ "code": code, "message": message }))
            }
            _ => None,
        },
        incomplete_details: match state.status {
            Status::Incomplete(Some(reason)) => Some(json!({ "reason": reason })),
            _ => None,
        },
        model: &context.model,
        output: state.items,
        previous_response_id: (),
        store: false,
        service_tier: service_tier(state.tier),
        usage: usage(state.usage),
    };
    put(out, &object);
    // The members that repeat the request are JSON text, each with a comma before it.
    out.pop();
    let echo = context.echo.as_deref().unwrap_or(&echo::PLAIN);
    out.extend_from_slice(echo.members.as_bytes());
    out.push(b'}');
}

/// Returns the API's word for the tier that served; `None`: it has no word for it.
fn service_tier(tier: Option<&str>) -> Option<&str> {
    match tier {
        None => Some("auto"),
        Some("standard" | "on_demand") => Some("default"),
        Some(tier) => Some(tier).filter(|tier| TIERS.contains(tier)),
    }
}

/// The reference requires every count: a count that the provider did not report is 0, unless it reported none.
fn usage(usage: Usage) -> Option<Value> {
    let Usage { input, cached_input, cache_write, output, reasoning } = usage;
    if input.is_none() && output.is_none() {
        return None;
    }
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    Some(json!({
        "input_tokens": input,
        "input_tokens_details": {
            "cached_tokens": cached_input.unwrap_or(0),
            "cache_write_tokens": cache_write.unwrap_or(0),
        },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": reasoning.unwrap_or(0) },
        "total_tokens": input.saturating_add(output),
    }))
}
