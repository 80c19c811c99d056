//! Stop reasons and types of errors in the words of the API.
//! <https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons>,
//! <https://platform.claude.com/docs/en/api/errors>

use crate::wire::failure::ProviderError;
use crate::wire::failure::class::Class;
use crate::wire::ir::Stop;

/// Parses a `stop_reason`.
pub(super) fn parse(word: &str) -> Stop {
    match word {
        "end_turn" => Stop::End,
        "stop_sequence" => Stop::Sequence,
        "max_tokens" => Stop::Length,
        "model_context_window_exceeded" => Stop::Window,
        "tool_use" => Stop::Calls,
        "refusal" => Stop::Refusal,
        // After a compaction of the context the turn is to be continued as well.
        "pause_turn" | "compaction" => Stop::Pause,
        _ => Stop::Other,
    }
}

/// Returns the `stop_reason` for a caller. The API has none for damaged calls, nor for unknown reasons: for it
/// the turn is over.
pub(super) fn name_of(why: Stop) -> &'static str {
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

/// Returns the HTTP status of an error of this type.
pub(super) fn status(kind: &str) -> Option<u16> {
    ERRORS.iter().find(|(known, _)| *known == kind).map(|(_, status)| *status)
}

/// Returns the type of an error for a caller.
pub(super) fn error_type(error: &ProviderError) -> &'static str {
    let kind = error.kind.as_deref().unwrap_or_default();
    if let Some((known, _)) = ERRORS.iter().find(|(known, _)| *known == kind) {
        return known;
    }
    match error.failure.class {
        Class::Caller | Class::ContextTooLong => "invalid_request_error",
        Class::BadCredential => "authentication_error",
        Class::NoAccess => "not_found_error",
        Class::NoCredit => "billing_error",
        Class::Throttled => "rate_limit_error",
        Class::Trouble if matches!(error.status, Some(503 | 529)) => "overloaded_error",
        Class::Trouble => "api_error",
    }
}
