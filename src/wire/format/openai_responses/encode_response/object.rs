//! The response object, which stands in a stream's first and last events and is a whole answer.

use super::write::{number, raw, text, value};
use crate::wire::failure::ProviderError;
use crate::wire::failure::class::Class;
use crate::wire::format::context::ResponseContext;
use crate::wire::format::openai_responses::decode_request::echo;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::Stop;

/// Tiers in the API's own words.
const TIERS: &[&str] = &["auto", "default", "flex", "scale", "priority"];

/// How far an answer is.
#[derive(Clone, Debug)]
pub(crate) enum Status {
    Going,
    Completed,
    /// For one of the API's two reasons, or another one.
    Incomplete(Option<&'static str>),
    Failed(Problem),
}

/// An error in the API's words.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) code: String,
    pub(crate) kind: String,
    pub(crate) param: Option<String>,
    pub(crate) message: String,
}

impl Status {
    /// What a stop is. Of a refusal without words nothing else would tell.
    pub(crate) fn of(stop: Option<Stop>, refused: bool) -> Status {
        match stop {
            None | Some(Stop::End | Stop::Sequence | Stop::Calls) => Status::Completed,
            Some(Stop::Refusal) if refused => Status::Completed,
            Some(Stop::Length | Stop::Window) => Status::Incomplete(Some("max_output_tokens")),
            Some(Stop::Refusal | Stop::Filter) => Status::Incomplete(Some("content_filter")),
            // The API has no word for it, but whole the answer is not.
            Some(Stop::Pause | Stop::Malformed | Stop::Other) => Status::Incomplete(None),
        }
    }

    /// In the API's word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Status::Going => "in_progress",
            Status::Completed => "completed",
            Status::Incomplete(_) => "incomplete",
            Status::Failed(_) => "failed",
        }
    }
}

impl Problem {
    /// By what it means first: clients look for these codes.
    pub(crate) fn of(told: &ProviderError) -> Problem {
        let (code, kind) = match told.failure.class {
            Class::Throttled => (Some("rate_limit_exceeded"), "rate_limit_error"),
            Class::NoCredit => (Some("insufficient_quota"), "insufficient_quota"),
            Class::ContextTooLong => (Some("context_length_exceeded"), "invalid_request_error"),
            Class::Caller => (None, "invalid_request_error"),
            Class::BadCredential | Class::NoAccess | Class::Trouble => (None, "server_error"),
        };
        let own = told.code.as_deref().or(told.kind.as_deref());
        Problem {
            code: code.or(own).unwrap_or("server_error").to_owned(),
            kind: told.kind.as_deref().unwrap_or(kind).to_owned(),
            param: told.param.clone(),
            message: told.message.clone(),
        }
    }
}

/// What stands in the object beside what is shown.
#[derive(Debug)]
pub(crate) struct State<'s> {
    pub(crate) status: &'s Status,
    /// Items that are whole.
    pub(crate) items: &'s [Vec<u8>],
    pub(crate) usage: Usage,
    pub(crate) tier: Option<&'s str>,
}

/// Writes the object.
pub(crate) fn object(shown: &ResponseContext, state: &State<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    value(out, &format_args!("resp_{}", shown.id).to_string());
    text(out, "object", "response");
    number(out, "created_at", shown.created);
    text(out, "status", state.status.name());
    out.extend_from_slice(b",\"background\":false,\"completed_at\":null");
    raw(out, "error", b"");
    match state.status {
        Status::Failed(problem) => {
            out.extend_from_slice(b"{\"code\":");
            value(out, &problem.code);
            text(out, "message", &problem.message);
            out.push(b'}');
        }
        _ => out.extend_from_slice(b"null"),
    }
    raw(out, "incomplete_details", b"");
    match state.status {
        Status::Incomplete(Some(reason)) => {
            out.extend_from_slice(b"{\"reason\":");
            value(out, reason);
            out.push(b'}');
        }
        _ => out.extend_from_slice(b"null"),
    }
    text(out, "model", &shown.model);
    raw(out, "output", b"[");
    for (place, item) in state.items.iter().filter(|item| !item.is_empty()).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
    out.extend_from_slice(b"],\"previous_response_id\":null,\"store\":false");
    raw(out, "service_tier", b"");
    tier(state, out);
    raw(out, "usage", b"");
    usage(state.usage, out);
    let echo = shown.echo.as_deref().unwrap_or(&echo::PLAIN);
    out.extend_from_slice(echo.members.as_bytes());
    out.push(b'}');
}

fn tier(state: &State<'_>, out: &mut Vec<u8>) {
    match state.tier {
        None => value(out, "auto"),
        Some(tier) if TIERS.contains(&tier) => value(out, tier),
        Some("standard" | "on_demand") => value(out, "default"),
        Some(_) => out.extend_from_slice(b"null"),
    }
}

/// The reference requires every count of a usage: what the provider did not tell is 0, unless it told
/// nothing at all.
fn usage(usage: Usage, out: &mut Vec<u8>) {
    let Usage { input, cached_input, cache_write, output, reasoning } = usage;
    if input.is_none() && output.is_none() {
        return out.extend_from_slice(b"null");
    }
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    out.extend_from_slice(b"{\"input_tokens\":");
    value(out, &input);
    out.extend_from_slice(b",\"input_tokens_details\":{\"cached_tokens\":");
    value(out, &cached_input.unwrap_or(0));
    number(out, "cache_write_tokens", cache_write.unwrap_or(0));
    out.push(b'}');
    number(out, "output_tokens", output);
    out.extend_from_slice(b",\"output_tokens_details\":{\"reasoning_tokens\":");
    value(out, &reasoning.unwrap_or(0));
    out.push(b'}');
    number(out, "total_tokens", input.saturating_add(output));
    out.push(b'}');
}
