//! `finishReason`. <https://ai.google.dev/api/generate-content#FinishReason>; Vertex has some more values.

use crate::wire::ir::Stop;

/// The values by their numbers on Vertex, of which answers with numbers are recorded.
const NUMBERED: [&str; 10] = [
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
];

/// Returns the name of a finish reason, which an answer contains as a name or as a number.
pub(super) fn name_of(json: &str) -> Option<String> {
    if let Ok(number) = json.parse::<usize>() {
        return Some(NUMBERED.get(number).copied().unwrap_or("OTHER").to_owned());
    }
    serde_json::from_str(json).ok()
}

/// Decodes a finish reason. `has_called`: the candidate contains a call. `None`: the answer goes on.
pub(super) fn decode(name: &str, has_called: bool) -> Option<Stop> {
    Some(match name {
        "" | "FINISH_REASON_UNSPECIFIED" => return None,
        "STOP" if has_called => Stop::Calls,
        "STOP" => Stop::End,
        "MAX_TOKENS" => Stop::Length,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => Stop::Filter,
        "MALFORMED_FUNCTION_CALL" | "MALFORMED_RESPONSE" | "UNEXPECTED_TOOL_CALL" => {
            Stop::Malformed
        }
        "CONTINUATION" => Stop::Pause,
        // OTHER, IMAGE_OTHER, NO_IMAGE, TOO_MANY_TOOL_CALLS, MISSING_THOUGHT_SIGNATURE, ESCALATION, and
        // values that are not known yet.
        _ => Stop::Other,
    })
}

/// Encodes a stop.
pub(super) fn encode(why: Stop) -> &'static str {
    match why {
        Stop::End | Stop::Sequence | Stop::Calls => "STOP",
        Stop::Length | Stop::Window => "MAX_TOKENS",
        Stop::Refusal | Stop::Filter => "SAFETY",
        Stop::Malformed => "MALFORMED_FUNCTION_CALL",
        Stop::Pause | Stop::Other => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_after_a_call_is_a_stop_for_calls() {
        assert_eq!(decode("STOP", false), Some(Stop::End));
        assert_eq!(decode("STOP", true), Some(Stop::Calls));
        assert_eq!(decode("SAFETY", true), Some(Stop::Filter));
        assert_eq!(decode("TO_COME", false), Some(Stop::Other));
        assert_eq!(decode("FINISH_REASON_UNSPECIFIED", false), None);
    }

    #[test]
    fn reasons_may_be_numbers() {
        assert_eq!(name_of("1").as_deref(), Some("STOP"));
        assert_eq!(name_of("99").as_deref(), Some("OTHER"));
        assert_eq!(name_of("\"SAFETY\"").as_deref(), Some("SAFETY"));
        assert_eq!(name_of("null"), None);
    }
}
