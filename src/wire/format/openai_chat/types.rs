//! The messages and tools of a request, as serde writes them.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

#[expect(clippy::option_option, reason = "`null` is not the same as absent")]
#[derive(Default, Serialize)]
pub(super) struct Message<'r> {
    pub(super) role: &'static str,
    /// `Some(None)` is `null`: Mistral and DeepSeek want it beside calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Option<Content<'r>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_call_id: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_details: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<ToolCall<'r>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) prefix: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Content<'r> {
    Text(&'r str),
    Parts(Vec<Part<'r>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part<'r> {
    Text {
        text: &'r str,
    },
    /// Mistral's.
    Thinking {
        thinking: [ThinkingText<'r>; 1],
    },
    ImageUrl {
        image_url: Url<'r>,
    },
    InputAudio {
        input_audio: Audio<'r>,
    },
    File {
        file: File<'r>,
    },
    /// Mistral's.
    DocumentUrl {
        document_url: Cow<'r, str>,
    },
}

#[derive(Serialize)]
pub(super) struct ThinkingText<'r> {
    pub(super) r#type: &'static str,
    pub(super) text: &'r str,
}

#[derive(Serialize)]
pub(super) struct Url<'r> {
    pub(super) url: Cow<'r, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'r str>,
}

#[derive(Serialize)]
pub(super) struct Audio<'r> {
    pub(super) data: &'r str,
    pub(super) format: &'r str,
}

#[expect(clippy::struct_field_names, reason = "the API's names")]
#[derive(Serialize)]
pub(super) struct File<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filename: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_id: Option<&'r str>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ToolCall<'r> {
    Function {
        id: &'r str,
        r#type: &'static str,
        function: CalledFunction<'r>,
        #[serde(skip_serializing_if = "Option::is_none")]
        extra_content: Option<Value>,
    },
    Foreign(&'r Value),
}

#[derive(Serialize)]
pub(super) struct CalledFunction<'r> {
    pub(super) name: &'r str,
    pub(super) arguments: &'r str,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Tool<'r> {
    Function { r#type: &'static str, function: Function<'r> },
    Foreign(&'r Value),
}

#[derive(Serialize)]
pub(super) struct Function<'r> {
    pub(super) name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'r str>,
    pub(super) parameters: Cow<'r, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ResponseFormat<'r> {
    JsonObject,
    JsonSchema { json_schema: JsonSchema<'r> },
}

#[derive(Serialize)]
pub(super) struct JsonSchema<'r> {
    pub(super) name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'r str>,
    pub(super) schema: &'r Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict: Option<bool>,
}
