//! Reasons why an answer stops.

use crate::wire::ir::Stop;

/// Reads a `finish_reason`: the words of OpenAI, Mistral (`model_length`), Together (`eos`), DeepSeek
/// (`insufficient_system_resource`), Z.ai (`sensitive`, `model_context_window_exceeded`, `network_error`), vLLM
/// and SGLang (`abort`), and of the APIs that OpenRouter and Vertex pass on.
pub(super) fn decode(word: &str) -> Stop {
    match word.to_ascii_lowercase().as_str() {
        "stop" | "eos" | "end_turn" | "stop_token" | "complete" => Stop::End,
        "stop_sequence" => Stop::Sequence,
        "length" | "max_tokens" => Stop::Length,
        "model_length" | "model_context_window_exceeded" => Stop::Window,
        "tool_calls" | "function_call" | "tool_use" => Stop::Calls,
        "refusal" => Stop::Refusal,
        "content_filter" | "sensitive" | "safety" | "recitation" | "blocklist"
        | "prohibited_content" | "spii" | "image_safety" => Stop::Filter,
        "malformed_function_call" => Stop::Malformed,
        _ => Stop::Other,
    }
}

/// Returns the `finish_reason` of an answer. The format has five words, two of them for calls. Clients of typed
/// languages refuse others, so a reason without a word is `stop`. `has_refusal`: the message has a refusal.
pub(super) fn encode(why: Stop, has_refusal: bool) -> &'static str {
    match why {
        Stop::Length | Stop::Window => "length",
        Stop::Calls => "tool_calls",
        // An answer with a `refusal` ends with `stop` (recorded).
        Stop::Refusal if has_refusal => "stop",
        Stop::Refusal | Stop::Filter => "content_filter",
        Stop::End | Stop::Sequence | Stop::Pause | Stop::Malformed | Stop::Other => "stop",
    }
}
