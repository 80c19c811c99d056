//! `finishReason`. <https://ai.google.dev/api/generate-content#FinishReason> and the same of Vertex, which
//! has some more.

use crate::wire::ir::Stop;

/// The words by their numbers, as Vertex counts them: of it answers are recorded that have numbers.
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

/// The word that stands in an answer.
pub(crate) fn word(json: &str) -> Option<String> {
    if let Ok(number) = json.parse::<usize>() {
        return Some(NUMBERED.get(number).copied().unwrap_or("OTHER").to_owned());
    }
    serde_json::from_str(json).ok()
}

/// What a word of Google's means, where the model has called or not; `None`: the answer goes on.
pub(crate) fn read(word: &str, called: bool) -> Option<Stop> {
    Some(match word {
        "" | "FINISH_REASON_UNSPECIFIED" => return None,
        "STOP" if called => Stop::Calls,
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
        // what is new.
        _ => Stop::Other,
    })
}

/// Google's word.
pub(crate) fn write(why: Stop) -> &'static str {
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
    fn a_stop_with_calls_is_another() {
        assert_eq!(read("STOP", false), Some(Stop::End));
        assert_eq!(read("STOP", true), Some(Stop::Calls));
        assert_eq!(read("SAFETY", true), Some(Stop::Filter));
        assert_eq!(read("TO_COME", false), Some(Stop::Other));
        assert_eq!(read("FINISH_REASON_UNSPECIFIED", false), None);
    }

    #[test]
    fn words_may_be_numbers() {
        assert_eq!(word("1").as_deref(), Some("STOP"));
        assert_eq!(word("99").as_deref(), Some("OTHER"));
        assert_eq!(word("\"SAFETY\"").as_deref(), Some("SAFETY"));
        assert_eq!(word("null"), None);
    }
}
