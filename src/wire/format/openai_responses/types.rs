//! JSON shapes that are written: items of an answer. Shapes that are only read are in decode_response/types.rs,
//! those of a request in encode_request.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The one member of a function that replaces a custom tool, which takes plain text.
pub(super) const FREEFORM: &str = "input";

/// Value of `include`: reasoning items carry their signature, so that they can be sent back.
pub(super) const INCLUDE_ENCRYPTED: &str = "reasoning.encrypted_content";

/// Value of `include`: text parts carry the probabilities of their tokens.
pub(super) const INCLUDE_LOGPROBS: &str = "message.output_text.logprobs";

/// An item of the answer's `output`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutputItem<'a> {
    Message {
        id: &'a str,
        status: &'static str,
        role: &'static str,
        content: Vec<&'a RawValue>,
    },
    Reasoning {
        id: &'a str,
        summary: Vec<SummaryPart<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<Cow<'a, str>>,
    },
    FunctionCall {
        id: &'a str,
        status: &'static str,
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
    },
    CustomToolCall {
        id: &'a str,
        status: &'static str,
        call_id: &'a str,
        name: &'a str,
        input: &'a str,
    },
    ImageGenerationCall {
        id: &'a str,
        status: &'static str,
        output_format: &'a str,
        result: &'a str,
    },
}

/// A part of a reasoning item's `summary`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum SummaryPart<'a> {
    SummaryText { text: &'a str },
}

/// A part of an answer's message.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutputPart<'a> {
    OutputText { text: &'a str, annotations: &'a [Value], logprobs: &'a [Value] },
    Refusal { refusal: &'a str },
}
