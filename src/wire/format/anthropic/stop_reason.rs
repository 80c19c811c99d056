//! Why an answer is over, and what went wrong with it, in the words of the API.
//! <https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons>,
//! <https://platform.claude.com/docs/en/api/errors>

use crate::wire::failure::ProviderError;
use crate::wire::failure::class::Class;
use crate::wire::ir::Stop;

/// What a `stop_reason` means.
pub(crate) fn read(word: &str) -> Stop {
    match word {
        "end_turn" => Stop::End,
        "stop_sequence" => Stop::Sequence,
        "max_tokens" => Stop::Length,
        "model_context_window_exceeded" => Stop::Window,
        "tool_use" => Stop::Calls,
        "refusal" => Stop::Refusal,
        // The context was compacted, and the turn is to be continued as well.
        "pause_turn" | "compaction" => Stop::Pause,
        _ => Stop::Other,
    }
}

/// The `stop_reason` for a caller. The API has none for calls that came out damaged, nor for what is
/// unknown: the turn is over.
pub(crate) fn write(why: Stop) -> &'static str {
    match why {
        Stop::End | Stop::Malformed | Stop::Other => "end_turn",
        Stop::Sequence => "stop_sequence",
        Stop::Length => "max_tokens",
        Stop::Window => "model_context_window_exceeded",
        Stop::Calls => "tool_use",
        Stop::Refusal | Stop::Filter => "refusal",
        Stop::Pause => "pause_turn",
    }
}

const ERRORS: [(&str, u16); 10] = [
    ("invalid_request_error", 400),
    ("authentication_error", 401),
    ("billing_error", 402),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("request_too_large", 413),
    ("rate_limit_error", 429),
    ("api_error", 500),
    ("timeout_error", 504),
    ("overloaded_error", 529),
];

/// The status that an error of this type has.
pub(crate) fn status(kind: &str) -> Option<u16> {
    ERRORS.iter().find(|(own, _)| *own == kind).map(|(_, status)| *status)
}

/// The type of an error for a caller.
pub(crate) fn error_type(told: &ProviderError) -> &'static str {
    let kind = told.kind.as_deref().unwrap_or_default();
    if let Some((own, _)) = ERRORS.iter().find(|(own, _)| *own == kind) {
        return own;
    }
    match told.failure.class {
        Class::Caller | Class::ContextTooLong => "invalid_request_error",
        Class::BadCredential => "authentication_error",
        Class::NoAccess => "not_found_error",
        Class::NoCredit => "billing_error",
        Class::Throttled => "rate_limit_error",
        Class::Trouble if matches!(told.status, Some(503 | 529)) => "overloaded_error",
        Class::Trouble => "api_error",
    }
}
