//! Stop reasons and the exceptions of a stream, both ways.

use crate::wire::failure::ProviderError;
use crate::wire::failure::class::Class;
use crate::wire::ir::Stop;

/// Decodes a `StopReason`.
pub(super) fn decode(reason: &str) -> Stop {
    match reason {
        "end_turn" => Stop::End,
        "tool_use" => Stop::Calls,
        "max_tokens" => Stop::Length,
        "stop_sequence" => Stop::Sequence,
        "guardrail_intervened" | "content_filtered" => Stop::Filter,
        "malformed_model_output" | "malformed_tool_use" => Stop::Malformed,
        "model_context_window_exceeded" => Stop::Window,
        _ => Stop::Other,
    }
}

/// Encodes a `StopReason`. A reason that the format lacks stays the provider's word `raw`: SDKs accept unknown
/// ones. To clients that run tools an answer with calls is not over, whatever the provider calls its end.
pub(super) fn encode(why: Stop, raw: Option<&str>, has_calls: bool) -> &str {
    match why {
        Stop::End if has_calls => "tool_use",
        Stop::End => "end_turn",
        Stop::Sequence => "stop_sequence",
        Stop::Length => "max_tokens",
        Stop::Window => "model_context_window_exceeded",
        Stop::Calls => "tool_use",
        Stop::Filter if raw == Some("guardrail_intervened") => "guardrail_intervened",
        Stop::Refusal | Stop::Filter => "content_filtered",
        Stop::Malformed if raw == Some("malformed_model_output") => "malformed_model_output",
        Stop::Malformed => "malformed_tool_use",
        Stop::Pause => "pause_turn",
        Stop::Other if has_calls => raw.unwrap_or("tool_use"),
        Stop::Other => raw.unwrap_or("end_turn"),
    }
}

/// Returns the exception that ends a caller's stream. The API has these five; `modelStreamErrorException`
/// reports all that the caller did not cause.
pub(super) fn exception(error: &ProviderError) -> &'static str {
    match error.failure.class {
        Class::Caller | Class::ContextTooLong => "validationException",
        Class::Throttled | Class::NoCredit => "throttlingException",
        Class::Trouble if matches!(error.status, Some(503 | 529)) => "serviceUnavailableException",
        Class::Trouble if error.status == Some(500) => "internalServerException",
        Class::Trouble | Class::BadCredential | Class::NoAccess => "modelStreamErrorException",
    }
}

/// Returns the status of an exception in a stream, as the API's model defines it.
pub(super) fn exception_status(exception: &str) -> Option<u16> {
    Some(match exception {
        "internalServerException" => 500,
        "modelStreamErrorException" => 424,
        "validationException" => 400,
        "throttlingException" => 429,
        "serviceUnavailableException" => 503,
        _ => return None,
    })
}
